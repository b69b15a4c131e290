"""Hands completions to the service in batches and keeps them until it has answered.

An idle responder sends at once. While as many batches as allowed are in flight, what comes is gathered for the next,
so batches grow under load and are single completions without it. Each batch offers the free slots, and its answer may
bring new tasks. A batch that the service refuses as a whole is sent again in halves, until the guilty completion
stands alone; that one is replaced by a failure that says why.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from perdure.exceptions import RPCError
from perdure_proto.errors import Code
from perdure_proto.tasks import AnyCompletion, CompletionResult, RespondAnswer, RespondRequest
from perdure_worker.exchange import Exchange
from perdure_worker.refusals import replacement, weight
from perdure_worker.session import Session
from perdure_worker.shares import Ask, Share
from perdure_worker.slots import Offer
from perdure_worker.telemetry import BATCH_REFUSED, COMPLETION_REFUSED, log

IN_FLIGHT_MAX: Final = 2
COMPLETIONS_MAX: Final = 500
BATCH_BYTES_MAX: Final = 4_000_000
"""Half of the largest request body that the service takes by default."""
PATIENCE: Final = 30.0
ACKNOWLEDGE_WITHIN: Final = 0.1
"""Seconds within which an answer that brought tasks is acknowledged, should no other request do it."""

_answers = msgspec.json.Decoder(RespondAnswer)

Then = Callable[[CompletionResult], None]


def forget(result: CompletionResult) -> None:
    """Nobody asked what became of it."""


class Kept(NamedTuple):
    """A completion that is not answered yet, and who wants to know."""

    completion: AnyCompletion
    then: Then


class Flight(NamedTuple):
    """A batch that is on its way, and what its answer may bring."""

    batch: list[Kept]
    ask: Ask


class Responder:
    """The completions of one link on their way to its server."""

    def __init__(
        self,
        session: Session,
        exchange: Exchange,
        share: Share,
        *,
        queue_path: str,
        take: Callable[[RespondAnswer], None],
    ) -> None:
        self._session = session
        self._exchange = exchange
        self._share = share
        self._path = f"{queue_path}/respond"
        self._take = take
        self._gathered: deque[Kept] = deque()
        self._in_flight: dict[asyncio.Task[None], Flight] = {}
        self._scheduled = False
        self._stopped = False
        self._idle = asyncio.Event()
        self._idle.set()

    def submit(self, completion: AnyCompletion, then: Then = forget) -> None:
        """Takes a completion, to be sent with what else gathers in this turn of the loop."""
        if self._stopped:
            return
        self._gathered.append(Kept(completion, then))
        self._idle.clear()
        self._schedule()

    @property
    def is_idle(self) -> bool:
        """Whether every completion is answered."""
        return self._idle.is_set()

    async def flushed(self) -> None:
        """Waits until every completion is answered."""
        await self._idle.wait()

    def stop(self) -> None:
        """Gives up what is in flight: the worker has left."""
        self._stopped = True
        self._gathered.clear()
        for flight in self._in_flight:
            flight.cancel()

    def give_up(self) -> list[Kept]:
        """Stops; what is not answered is the caller's from now on, in the order in which it came."""
        flights = [flight.batch for task, flight in self._in_flight.items() if not task.done()]
        kept = [*chain.from_iterable(flights), *self._gathered]
        self.stop()
        return kept

    def _schedule(self) -> None:
        if not self._scheduled and len(self._in_flight) < IN_FLIGHT_MAX:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._launch_gathered)

    def _launch_gathered(self) -> None:
        self._scheduled = False
        if self._gathered and len(self._in_flight) < IN_FLIGHT_MAX:
            self._launch(self._cut())

    def _cut(self) -> list[Kept]:
        """The next batch: as many as one request may carry."""
        batch = [self._gathered.popleft()]
        size = weight(batch[0].completion)
        while self._gathered and len(batch) < COMPLETIONS_MAX:
            size += weight(self._gathered[0].completion)
            if size > BATCH_BYTES_MAX:
                break
            batch.append(self._gathered.popleft())
        return batch

    def _launch(self, batch: list[Kept]) -> None:
        ask = self._share.begin_respond()
        flight = asyncio.get_running_loop().create_task(self._fly(batch, self._request(batch, ask.offer)))
        self._in_flight[flight] = Flight(batch, ask)
        flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._share.end(self._in_flight.pop(flight).ask)
        if not flight.cancelled():
            flight.result()
        self._launch_gathered()
        if not self._gathered and not self._in_flight:
            self._idle.set()

    async def _fly(self, batch: list[Kept], request: RespondRequest) -> None:
        try:
            answer = await self._respond(request)
        except RPCError as error:
            self._refused(batch, error)
            return
        self._take(answer)
        self._acknowledge_later(answer)
        for kept, result in zip(batch, answer.results, strict=True):
            kept.then(result)

    def _request(self, batch: list[Kept], offer: Offer) -> RespondRequest:
        return RespondRequest(
            session=self._session.id,
            sequence=self._session.next_sequence(),
            acknowledged=self._session.take_acknowledged(),
            completions=tuple([kept.completion for kept in batch]),
            workflow_slots=offer.workflows,
            activity_slots=offer.activities,
            held=self._session.take_held(),
        )

    async def _respond(self, request: RespondRequest) -> RespondAnswer:
        """Repeats the request in each new acquaintance until it is answered."""
        while True:
            await self._session.introduced()
            acquaintance = self._session.acquaintance
            try:
                return await self._exchange.ask(self._path, request, _answers, patience=PATIENCE)
            except RPCError as error:
                if error.code != Code.SESSION_UNKNOWN:
                    raise
                self._session.unknown(acquaintance)

    def _acknowledge_later(self, answer: RespondAnswer) -> None:
        self._session.received(answer.sequence)
        if answer.tasks or answer.pushes:
            asyncio.get_running_loop().call_later(ACKNOWLEDGE_WITHIN, self._acknowledge, answer.sequence)

    def _acknowledge(self, sequence: int) -> None:
        """Sends an empty batch when nothing else has carried the acknowledgement."""
        if self._session.owes_acknowledgement(sequence) and not self._gathered and not self._stopped:
            self._launch([])

    def _refused(self, batch: list[Kept], error: RPCError) -> None:
        """Finds the guilty completion by halves; the order of what is left does not matter."""
        if len(batch) > 1:
            log.warning(BATCH_REFUSED, error=error.message, completions=len(batch))
            middle = len(batch) // 2
            self._launch(batch[:middle])
            self._launch(batch[middle:])
        for kept in batch if len(batch) == 1 else ():
            self._refused_one(kept, error)

    def _refused_one(self, kept: Kept, error: RPCError) -> None:
        kind = type(kept.completion).__name__
        log.error(COMPLETION_REFUSED, token=kept.completion.token, kind=kind, code=error.code, error=error.message)
        instead = replacement(kept.completion, error)
        if instead is None:
            kept.then(CompletionResult(code=error.code, message=error.message))
        else:
            self.submit(instead, kept.then)
