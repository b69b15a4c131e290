"""Who owns the shards: a twin of the cluster's membership that is as small as one owner at a time allows.

The order is the real one's: the own epoch up first, another's shards only after its heartbeat stood still for the
lease and after its epoch was raised.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from perdure_server.store.port import Fence, FenceLostError, StoreUnavailableError
from tests.simulation.chance import cluster_now, wall
from tests.simulation.loop import SimulatedLoop
from tests.simulation.store import StoreOfHost

BEAT_SECONDS: Final = 1.0
LEASE_SECONDS: Final = 3.0
LOOK_SECONDS: Final = 0.7


class Members:
    """The rows of `servers` and `shards`, of which one owner has all."""

    def __init__(self) -> None:
        self.owner = ""
        self.beats: dict[str, int] = {}

    def owns(self, server: str, _: int) -> bool:
        """Whether the table says so."""
        return self.owner == server


class Ownership:
    """What one process of a server acquired."""

    fence: Fence

    def __init__(self, members: Members, store: StoreOfHost, name: str, loop: SimulatedLoop) -> None:
        self._members = members
        self._store = store
        self._name = name
        self._loop = loop
        self.lost = asyncio.Event()
        self.clock_offset = timedelta(0)
        self._raising = asyncio.Lock()

    async def acquire(self) -> None:
        """Waits until everything is ours."""
        while True:
            try:
                self.fence = await self._store.take_fence(self._name)
                if await self._stand_by():
                    return
            except (StoreUnavailableError, FenceLostError):
                await asyncio.sleep(0.25)

    async def _stand_by(self) -> bool:
        members, since, seen = self._members, self._loop.time(), (self._members.owner, -1)
        while await self._beat():
            now = members.owner, members.beats.get(members.owner, 0)
            if now != seen:
                since, seen = self._loop.time(), now
            is_free = members.owner in ("", self._name)
            if is_free or self._loop.time() - since >= LEASE_SECONDS:
                if not is_free:
                    await self._end(members.owner)
                # Compare and set, at one instant and under our own fence, as the statement of the real one does.
                if await self._store.confirm_fence(self.fence) and members.owner in ("", self._name, seen[0]):
                    members.owner = self._name
                    return True
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def _end(self, owner: str) -> None:
        """The dead, which may only be slow, commits nothing from now on."""
        await self._store.take_fence(owner)

    async def keep(self) -> None:
        """Stays the owner until the fence is lost."""
        while not self.lost.is_set():
            try:
                if not await self._beat():
                    self.lost.set()
            except StoreUnavailableError:
                pass
            await asyncio.sleep(BEAT_SECONDS)

    async def raise_epoch(self) -> Fence:
        """Our own fence one epoch up. Raises `FenceLostError`. No heartbeat runs meanwhile: it would look lost."""
        async with self._raising:
            self.fence = await self._store.raise_epoch(self.fence)
        return self.fence

    async def _beat(self) -> bool:
        async with self._raising:
            held: bool = await self._store.confirm_fence(self.fence)
        if held:
            self._members.beats[self._name] = self._members.beats.get(self._name, 0) + 1
            self.clock_offset = cluster_now() - wall()
        return held
