"""Ownership: how a server becomes the one that may commit, stays it, and hands over.

In this version one server owns all shards and the others stand by. The order is the safety:

- The lock on the own name first, then the own epoch up at once: a process of this name that still runs is a zombie now.
- Another name's shards are taken only after its heartbeat stood still for the lease on our own monotonic clock while
  our own heartbeats succeeded (an outage of Postgres kills nobody), and only after its epoch was raised, which waits
  for its last commit. Nothing of the state is read before `acquire` returns, so before the raise has committed.
- The lock may be lost with its connection and won again: while the fence is held nobody else owned anything meanwhile.
  Only a raised epoch means that all is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from msgspec import Struct

from perdure_server.store.membership import Membership, Owner
from perdure_server.store.port import Fence, FenceLostError, StoreUnavailableError
from perdure_server.store.postgres import PostgresStore

RETRY_SECONDS_MIN = 0.02
RETRY_SECONDS_MAX = 0.25
ROUND_TRIP_MAX = timedelta(milliseconds=50)
"""A heartbeat that took longer says too little about the clock."""


def say_nothing(_: str) -> None:
    """The default of the callbacks."""


class OwnershipOptions(Struct, frozen=True, kw_only=True):
    """Who we are, how long we wait, and whom we tell: `on_waiting` once for each reason, `on_lost` once at most.

    `on_away` says that Postgres went away while we own the shards, `on_back` that it is there again.
    """

    server: str
    address: str
    version: str = ""
    shards: int = 512
    heartbeat_every: timedelta = timedelta(seconds=1)
    lease: timedelta = timedelta(seconds=5)
    on_waiting: Callable[[str], None] = say_nothing
    on_lost: Callable[[str], None] = say_nothing
    on_away: Callable[[str], None] = say_nothing
    on_back: Callable[[str], None] = say_nothing
    monotonic: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC)


class Watch:
    """Which servers stand still. A look that failed, or came late, starts every count again."""

    def __init__(self, lease: timedelta, monotonic: Callable[[], float]) -> None:
        self._lease = lease.total_seconds()
        self._monotonic = monotonic
        self._looked = 0.0
        self._seen: dict[str, tuple[Owner, float]] = {}

    def look(self, owners: list[Owner]) -> list[Owner]:
        """The servers whose heartbeat has not changed for the lease."""
        now = self._monotonic()
        if now - self._looked > self._lease / 2:
            self.forget()  # we stood still ourselves: perhaps the whole machine did
        self._looked = now
        before, self._seen = self._seen, {}
        for owner in owners:
            seen, since = before.get(owner.server, (owner, now))
            self._seen[owner.server] = owner, since if seen.beat == owner.beat else now
        return [owner for owner, since in self._seen.values() if now - since >= self._lease]

    def forget(self) -> None:
        """Nothing was seen for a while: a heartbeat that we missed may have been made."""
        self._seen.clear()


class Ownership:
    """What was acquired: `fence`, `shards`, and the offset of Postgres's clock. Leaving the context releases it."""

    fence: Fence
    shards: list[int]

    def __init__(self, store: PostgresStore, options: OwnershipOptions, member: Membership) -> None:
        self.clock_offset = timedelta(0)
        self.lost = ""
        self._store = store
        self._options = options
        self._member = member
        self._reason = ""
        self._beating = asyncio.Lock()
        self._keeping: asyncio.Task[None] | None = None
        self._raising = asyncio.Lock()

    @classmethod
    async def acquire(cls, store: PostgresStore, options: OwnershipOptions) -> Self:
        """Wait until every shard is ours. Raises `StoreUnavailableError` if Postgres cannot be reached at all."""
        member = await Membership.open(store.dsn, store.group_id, options.server)
        ownership = cls(store, options, member)
        try:
            await member.ensure_shards(options.shards)
            await ownership._become_owner()
        except BaseException:
            ownership._member.close()
            raise
        ownership._keeping = asyncio.create_task(ownership._keep())
        return ownership

    async def raise_epoch(self) -> Fence:
        """Our own fence one epoch up, after every commit in flight. Raises `FenceLostError`.

        No heartbeat runs meanwhile: between the raise and our knowing of it, it would find the fence lost.
        """
        async with self._raising:
            self.fence = await self._store.raise_epoch(self.fence)
        return self.fence

    async def release(self) -> None:
        """Give everything away; the next server need not wait. After the last commit, never before."""
        await self._stop_keeping()
        try:
            if not self.lost:
                await self._member.release(self.fence)
        except StoreUnavailableError:
            pass  # the next one waits for the lease instead
        finally:
            self._member.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()

    async def _become_owner(self) -> None:
        watch = Watch(self._options.lease, self._options.monotonic)
        while True:
            try:
                await self._enter()
                if await self._stand_by(watch):
                    return
            except StoreUnavailableError:
                watch.forget()
                await self._reopen()

    async def _enter(self) -> None:
        """Get the name, end whoever had it, and be seen."""
        while not await self._member.try_lock():
            self._wait_for(f"another process runs as '{self._options.server}': waiting until it ends")
            await asyncio.sleep(RETRY_SECONDS_MAX)
        self.fence = await self._store.take_fence(self._options.server)
        await self._member.register(self.fence, self._options.address, self._options.version)

    async def _stand_by(self, watch: Watch) -> bool:
        """Live until all shards are ours; false if our own fence was raised meanwhile."""
        while await self._beat():
            owners = await self._member.other_owners()
            dead = watch.look(owners)
            alive = [owner for owner in owners if owner not in dead]
            if alive:
                self._wait_for(why_waiting(alive[0], self._options.lease))
            elif await self._take_over(dead):
                return True
            await asyncio.sleep(min(self._options.heartbeat_every.total_seconds(), RETRY_SECONDS_MAX))
        return False

    async def _take_over(self, dead: list[Owner]) -> bool:
        """End the dead, which may only be slow, then take their shards; not if one of them came back in between."""
        try:
            raised = [await self._store.raise_epoch(self._store.fence_of(owner.server, owner.epoch)) for owner in dead]
        except FenceLostError:
            return False
        self.shards = await self._member.claim(self.fence, raised)
        return bool(self.shards)

    async def _keep(self) -> None:
        """Stay the owner until the fence is lost."""
        while not self.lost:
            try:
                async with self._beating:
                    held = await self._beat()
                if not held:
                    self._lose(f"the fence of '{self._options.server}' was raised: another server has taken over")
                    return
            except StoreUnavailableError as error:
                self._options.on_away(str(error))
                await self._win_lock_again()
                if not self.lost:
                    self._options.on_back("")
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.heartbeat_every.total_seconds()):
                    await self._member.closed.wait()

    async def _win_lock_again(self) -> None:
        """A new connection with the lock on it; or the fence turns out to be lost."""
        while True:
            await self._reopen()
            try:
                if await self._member.try_lock():
                    return
                async with self._raising:
                    is_held = await self._store.confirm_fence(self.fence)
                if not is_held:
                    self._lose(f"another process runs as '{self._options.server}' and has taken over")
                    return
            except StoreUnavailableError:
                continue
            # Our own old connection may hold the lock until Postgres notices that it is dead.
            await asyncio.sleep(RETRY_SECONDS_MAX)

    async def _reopen(self) -> None:
        """A new connection, as soon as Postgres takes one."""
        pause = RETRY_SECONDS_MIN
        while True:
            self._member.close()
            try:
                self._member = await Membership.open(self._store.dsn, self._store.group_id, self._options.server)
                return
            except StoreUnavailableError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_SECONDS_MAX)

    async def _beat(self) -> bool:
        """A heartbeat, and what it says about the clock; whether the fence is held."""
        async with self._raising:
            before = self._options.wall_clock()
            beat = await self._member.beat(self.fence)
        took = self._options.wall_clock() - before
        if timedelta(0) <= took <= ROUND_TRIP_MAX or not self.clock_offset:
            self.clock_offset = beat.now - (before + took / 2)
        return beat.held

    def _lose(self, reason: str) -> None:
        self.lost = reason
        self._options.on_lost(reason)

    def _wait_for(self, reason: str) -> None:
        if reason != self._reason:
            self._reason = reason
            self._options.on_waiting(reason)

    async def _stop_keeping(self) -> None:
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            async with self._beating:  # a command cut off would spoil the connection for the release
                keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


def why_waiting(owner: Owner, lease: timedelta) -> str:
    """What a server that stands by says about the one in its way."""
    return (
        f"server '{owner.server}' at {owner.address or 'an unknown address'} owns {owner.shards} shards: "
        f"waiting until it leaves, or is silent for {lease.total_seconds():g} s"
    )
