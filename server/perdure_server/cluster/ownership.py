"""Ownership: how a server becomes a member of the cluster, gets its share of the shards, and hands them over.

`acquire` makes it a member that beats; `run` keeps its share: it takes up what is its own, gives away what is to be
another's, and takes over the dead; `leave` gives everything away, then goes. Who ends without it is replaced after the
lease.
The safety is kept, and said, where each step is: `presence`, `holdings`, `takeover`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Self

from perdure_server.cluster.holdings import Holdings
from perdure_server.cluster.options import OwnershipOptions, ShardHolder
from perdure_server.cluster.presence import Presence
from perdure_server.cluster.shard_map import ShardMap
from perdure_server.cluster.takeover import take_over
from perdure_server.store.port import Fence, StoreUnavailableError
from perdure_server.store.postgres import PostgresStore


class Ownership:
    """A member of the cluster: its fence, its map, and the offset of Postgres's clock. The context closes it."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._holdings = Holdings(presence)
        self._work: set[asyncio.Task[None]] = set()

    @classmethod
    async def acquire(cls, store: PostgresStore, options: OwnershipOptions) -> Self:
        """Returns as soon as we are registered and have looked; maybe no shard is ours yet.

        Raises `StoreUnavailableError` if Postgres cannot be reached at all.
        """
        return cls(await Presence.begin(store, options))

    @property
    def map(self) -> ShardMap:
        """Who lives and who owns what, as last seen."""
        return self._presence.map

    @property
    def fence(self) -> Fence:
        """Our own, at our epoch."""
        return self._presence.fence

    @property
    def clock_offset(self) -> timedelta:
        """How far Postgres's clock is ahead of ours."""
        return self._presence.clock_offset

    @property
    def lost(self) -> str:
        """Why the fence is not ours any more; empty while it is."""
        return self._presence.lost

    async def raise_epoch(self) -> Fence:
        """Our own fence one epoch up, after every commit in flight. Raises `FenceLostError`."""
        return await self._presence.raise_epoch()

    async def run(self, holder: ShardHolder) -> None:
        """Hold our share. Ends when the fence is lost, or by `leave`; raises what a step died of."""
        steps = (
            lambda: self._holdings.gain(holder),
            lambda: self._holdings.give(holder),
            lambda: take_over(self._presence),
        )
        self._work = {asyncio.create_task(self._at_news(step)) for step in steps}
        try:
            done, _ = await asyncio.wait({self._presence.heartbeats, *self._work}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled():
                    task.result()
        finally:
            await self._stop_work()

    async def leave(self, holder: ShardHolder) -> None:
        """Give all shards to the others, then go; the others leave us out at once.

        Waits for Postgres, and for the holder to drain: bounded by the caller. If it is cut off, `close` must follow,
        and the others take what is left after the lease.
        """
        await self._stop_work()
        self._presence.is_leaving = True
        while not self.lost:
            try:
                if await self._leave_if_empty(holder):
                    break
            except StoreUnavailableError:
                await self._presence.next_look()
        await self.close()

    async def close(self) -> None:
        """Stop at once, as if killed; nothing is given away."""
        await self._stop_work()
        await self._presence.end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _at_news(self, step: Callable[[], Awaitable[None]]) -> None:
        """Take the step now and whenever something has changed, or may have."""
        while not self.lost:
            news = self._presence.news
            with suppress(StoreUnavailableError):
                await step()
            await news.wait()

    async def _leave_if_empty(self, holder: ShardHolder) -> bool:
        presence = self._presence
        async with presence.speaking() as member:
            if not await member.mark_leaving(self.fence):
                presence.lose()
        presence.tell_all()
        await self._holdings.part(holder)
        async with presence.speaking() as member:
            return await member.leave(self.fence)

    async def _stop_work(self) -> None:
        """The steps end between two statements, never in one: its outcome would be unknown."""
        work, self._work = self._work, set()
        if work:
            async with self._presence.speaking():
                for task in work:
                    task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
