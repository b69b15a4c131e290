"""A server's connection for its membership: it is slow, breaks, and loses answers, as the commits' one does.

The lock on the name lives as long as the store believes in the connection, which is longer where the way is cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from perdure_server.store.membership import Beat, Move, Moved, ShardRow
from perdure_server.store.port import Fence, StoreUnavailableError
from tests.simulation.hosts import this_host
from tests.simulation.shared.tables import SharedModel
from tests.simulation.store import StoreOfHost

NOTICED_SECONDS_MAX: Final = 3.0
"""So long the store may believe in a connection that was cut."""
LATE_SECONDS_MAX: Final = 0.5
"""So long a statement may be on its way whose connection has died."""

T = TypeVar("T")


class SharedStore(StoreOfHost):
    """What a server has of Postgres in a world of several owners."""

    _model: SharedModel

    def fence_of(self, server: str, epoch: int) -> Fence:
        """A server's fence as it was seen."""
        return Fence(self.group_id, server, epoch)

    async def membership(self, server: str) -> SimulatedMembership:
        """A connection for it."""
        self._check()
        await asyncio.sleep(self._delay())
        self._check()
        return SimulatedMembership(self, server)


class SimulatedMembership:
    """Stands for `store.membership.Membership`, statement for statement."""

    def __init__(self, store: SharedStore, server: str) -> None:
        self.closed = asyncio.Event()
        self.on_closed: Callable[[], None] | None = None
        self._store = store
        self._model = store._model
        self._server = server
        self._is_over = False
        this_host().on_death.append(self._part)

    def close(self) -> None:
        """Gives up the lock, as soon as the store notices."""
        if not self.closed.is_set():
            self.closed.set()
            self._part()
            if self.on_closed is not None:
                self.on_closed()

    async def ensure_shards(self, shards: int) -> None:
        await self._say(self._model.ensure_shards, shards)

    async def try_lock(self) -> bool:
        return await self._say(self._lock)

    async def register(self, fence: Fence, address: str, version: str) -> bool:
        return await self._say(self._model.register, fence, address, version)

    async def beat(self, fence: Fence, owners: Sequence[str] = ()) -> Beat:
        return await self._say(self._model.beat, fence, owners)

    async def shards(self) -> list[ShardRow]:
        return await self._say(lambda: list(self._model.shards))

    async def move(self, fence: Fence, moves: Sequence[Move]) -> Moved:
        return await self._say(self._move, fence, list(moves))

    async def mark_leaving(self, fence: Fence) -> bool:
        return await self._say(self._model.mark_leaving, fence)

    async def forget(self, dead: Fence) -> None:
        await self._say(self._model.forget, dead)

    async def shards_of(self, dead: Fence) -> list[ShardRow]:
        return await self._say(self._model.shards_of, dead)

    async def leave(self, fence: Fence) -> bool:
        return await self._say(self._model.leave, fence)

    # ---- a statement on its way -------------------------------------------------------------------------------

    async def _say(self, statement: Callable[..., T], *args: Any) -> T:
        if self.closed.is_set():
            raise StoreUnavailableError("the connection is closed")
        store, fate = self._store, self._store._fate()
        answer: asyncio.Future[T] = store._loop.create_future()
        store._later(store._delay(slow=fate == "slow"), self._arrive, lambda: statement(*args), answer, fate)
        try:
            return await answer
        except StoreUnavailableError:
            self.close()
            raise

    def _arrive(self, statement: Callable[[], T], answer: asyncio.Future[T], fate: str) -> None:
        store = self._store
        if store.is_cut or fate == "unavailable":
            self._fail(answer)
        elif fate == "unknown":
            what = store._random.choice(["did", "did not", "later"])
            store._trace.note(self._server, "statement's answer lost", what)
            if what != "did not":
                store._later(store._random.uniform(0.0, LATE_SECONDS_MAX) if what == "later" else 0.0, statement)
            self._fail(answer)
        else:
            store._later(store._delay(), self._answer, answer, statement())

    def _answer(self, answer: asyncio.Future[T], value: T) -> None:
        if self._store.is_cut:
            self._fail(answer)
        elif not answer.done():
            answer.set_result(value)

    def _fail(self, answer: asyncio.Future[T]) -> None:
        if not answer.done():
            answer.set_exception(StoreUnavailableError("the connection died"))

    def _move(self, fence: Fence, moves: list[Move]) -> Moved:
        moved = self._model.move(fence, moves)
        for move in moves:
            how = "moves" if move.shard_id in moved.shards else "does not move"
            self._store._trace.note(self._server, f"{how} shard {move.shard_id}", move.owner, move.new_owner)
        return moved

    def _lock(self) -> bool:
        if not self._is_over:
            self._model.locks.setdefault(self._server, self)
        return self._model.locks.get(self._server) is self

    def _part(self) -> None:
        store = self._store
        delay = store._random.uniform(0.0, NOTICED_SECONDS_MAX) if store.is_cut else store._delay()
        store._later(delay, self._unlock)

    def _unlock(self) -> None:
        self._is_over = True
        if self._model.locks.get(self._server) is self:
            del self._model.locks[self._server]
