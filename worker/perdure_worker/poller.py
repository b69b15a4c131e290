"""Keeps a poll open, so that tasks and pushes can come at any time.

An answer is followed at once by the next poll, for the slots that are left; a poll for none stays for pushes. When a
kind of slot becomes free that the open poll did not ask for, a second poll goes out beside it. A poll that introduces
the worker does not wait, so that its answer says soon that the service knows the session; the responder waits for
that. This module does not know what becomes of a task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final

import msgspec

from perdure.exceptions import RPCError
from perdure_proto.errors import Code
from perdure_proto.tasks import PollAnswer, PollRequest
from perdure_worker.exchange import Exchange
from perdure_worker.session import Session
from perdure_worker.shares import Ask, Share
from perdure_worker.slots import NOTHING, Offer

POLL_WAIT: Final = timedelta(seconds=60)
SILENCE_MAX: Final = 5.0
"""Seconds past its wait after which a poll is abandoned and repeated."""
POLLS_OPEN_MAX: Final = 3
ACKNOWLEDGE_WITHIN: Final = 0.1
"""As of responds."""

_answers = msgspec.json.Decoder(PollAnswer)


class Poller:
    """The polls of one link. `run` goes on until it is cancelled or the service refuses for good."""

    def __init__(
        self, session: Session, exchange: Exchange, share: Share, *, queue_path: str, take: Callable[[PollAnswer], None]
    ) -> None:
        self._session = session
        self._exchange = exchange
        self._share = share
        self._path = f"{queue_path}/poll"
        self._take = take
        self._open: dict[asyncio.Task[None], Ask] = {}
        self._changed = asyncio.Event()
        self._overdue = False
        """Whether an answer was not acknowledged in time, because other polls are open."""
        session.when_unknown(self._abandon)
        share.when_free, share.is_live = self._reconsider, lambda: session.is_introduced

    async def run(self) -> None:
        """Opens polls whenever one is due."""
        try:
            while True:
                while self._is_due():
                    self._open_poll()
                await self._changed.wait()
                self._changed.clear()
                self._put_away_answered()
        finally:
            self._abandon()

    def _reconsider(self) -> None:
        """Slots became free, or were closed."""
        if self._open and self._is_due():
            self._changed.set()

    def _is_due(self) -> bool:
        """Whether no poll is open, or those that are ask for nothing of a kind that is free, or too much."""
        if not self._open:
            return True
        if len(self._open) >= POLLS_OPEN_MAX or not self._session.is_introduced:
            return False
        if self._overdue:
            return True
        if self._share.closed:
            return all(ask.offer != NOTHING for ask in self._open.values())
        free = self._share.unasked
        return (free.workflows > 0 and not any(ask.offer.workflows for ask in self._open.values())) or (
            free.activities > 0 and not any(ask.offer.activities for ask in self._open.values())
        )

    def _open_poll(self) -> None:
        self._overdue = False
        ask = self._share.begin_poll()
        poll = asyncio.get_running_loop().create_task(self._poll(self._request(ask.offer)))
        self._open[poll] = ask
        poll.add_done_callback(partial(self._on_end, ask))

    def _on_end(self, ask: Ask, _: asyncio.Task[None]) -> None:
        """The poll may have been put away before this callback runs."""
        self._share.end(ask)
        self._changed.set()

    async def _poll(self, request: PollRequest) -> None:
        acquaintance = self._session.acquaintance
        patience = request.wait.total_seconds() + SILENCE_MAX
        try:
            answer = await self._exchange.ask(self._path, request, _answers, patience=patience)
        except RPCError as error:
            if error.code != Code.SESSION_UNKNOWN:
                raise
            self._session.unknown(acquaintance)
            return
        if request.worker is not None:
            self._session.confirmed()
        self._take(answer)
        self._session.received(request.sequence)
        if len(self._open) > 1 and (answer.tasks or answer.pushes):
            asyncio.get_running_loop().call_later(ACKNOWLEDGE_WITHIN, self._acknowledge, request.sequence)

    def _request(self, offer: Offer) -> PollRequest:
        worker = self._session.introduction()
        return PollRequest(
            session=self._session.id,
            sequence=self._session.next_sequence(),
            acknowledged=self._session.take_acknowledged(),
            workflow_slots=offer.workflows,
            activity_slots=offer.activities,
            wait=POLL_WAIT if worker is None else timedelta(0),
            worker=worker,
            held=self._session.take_held(),
        )

    def _acknowledge(self, sequence: int) -> None:
        """Opens a poll when nothing else has carried the acknowledgement: the others may stay open for long."""
        if self._session.owes_acknowledgement(sequence):
            self._overdue = True
            self._changed.set()

    def _put_away_answered(self) -> None:
        """Forgets polls that are answered; raises what the service refused for good."""
        for poll in [poll for poll in self._open if poll.done()]:
            del self._open[poll]
            if not poll.cancelled():
                poll.result()

    def _abandon(self) -> None:
        """Drops the open polls: the service does not know them, or the worker has left. It delivers again elsewhere."""
        for poll in self._open:
            if poll is not asyncio.current_task():
                poll.cancel()
