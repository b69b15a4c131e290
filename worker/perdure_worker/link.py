"""A link: one server as the worker speaks to it, with its session there, its polls, and completions on their way.

All links of a worker share its slots, and what they bring goes to the same tasks. It must not know of other links.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

from msgspec import Struct

from perdure_proto.tasks import PollAnswer, RespondAnswer, WorkerInfo
from perdure_worker.exchange import Exchange, Transport
from perdure_worker.poller import Poller
from perdure_worker.responder import Kept, Responder
from perdure_worker.session import Session
from perdure_worker.shares import Shares


class LinkParts(Struct, frozen=True, kw_only=True):
    """What all links of a worker have in common."""

    session_id: str
    numbers: Iterator[int]
    describe: Callable[[], WorkerInfo]
    shares: Shares
    queue_path: str
    take: Callable[[Link, PollAnswer | RespondAnswer], None]
    changed: Callable[[], None]
    """Called when a link fails, or ends by itself."""


class Link:
    """One server. `address` is empty where it is whichever the given address leads to."""

    def __init__(self, address: str, transport: Transport, parts: LinkParts) -> None:
        self.address = address
        self.transport = transport
        self.retired = False
        """Whether nothing new goes over it."""
        self.session = Session(parts.describe, id=parts.session_id, numbers=parts.numbers)
        self._parts = parts
        self._exchange = Exchange(transport, failed=parts.changed)
        self._share = parts.shares.join()
        path, take = parts.queue_path, partial(parts.take, self)
        self.responder = Responder(self.session, self._exchange, self._share, queue_path=path, take=take)
        self._poller = Poller(self.session, self._exchange, self._share, queue_path=path, take=take)
        self._polling: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Polls from now on."""
        if self._polling is not None:
            return
        self._polling = asyncio.get_running_loop().create_task(self._poller.run())
        self._polling.add_done_callback(lambda _: self._parts.changed())

    @property
    def has_begun(self) -> bool:
        """Whether it has polled."""
        return self._polling is not None

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come of it: it polls no more, so nobody introduces the session if it must be."""
        return self.retired and (self.responder.is_idle or not self.session.is_introduced)

    @property
    def in_trouble(self) -> bool:
        """Whether the server did not answer last."""
        return self._exchange.in_trouble

    @property
    def refusal(self) -> BaseException | None:
        """Why it polls no more, though nobody ended it."""
        polling = self._polling
        if polling is None or not polling.done() or polling.cancelled():
            return None
        return polling.exception()

    def retire(self) -> None:
        """Polls no more; what is on its way may still be answered."""
        if not self.retired:
            self.retired = True
            if self._polling is not None:
                self._polling.cancel()
            self._parts.shares.part(self._share)

    def end(self) -> list[Kept]:
        """Ends; completions that are not answered are the caller's from now on."""
        self.retire()
        return self.responder.give_up()
