"""Being a member: the lock on the own name, the own fence, and the heartbeats, each with a look at the others.

- The lock first, then the own epoch up at once: a process of this name that still runs is a zombie now.
- The lock may be lost with its connection and is won again by and by: while the fence is held nobody took anything.
  Only a raised epoch means that all is lost.
- What is said under the fence is said one at a time, on one connection. So looks and moves have one order, the map
  never goes back, and no heartbeat runs while the own epoch is raised: it would find the fence lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Self

from perdure_server.cluster.options import OwnershipOptions
from perdure_server.cluster.plan import View
from perdure_server.cluster.shard_map import ShardMap
from perdure_server.cluster.watch import Watch
from perdure_server.store.membership import Beat, MemberRow, Membership, Move
from perdure_server.store.port import Fence, StoreUnavailableError
from perdure_server.store.postgres import PostgresStore

RETRY_SECONDS_MIN = 0.02
RETRY_SECONDS_MAX = 0.25
LOOK_SECONDS_MIN = 0.01
"""However many ask for a look, there are no more than one in so long."""
ROUND_TRIP_MAX = timedelta(milliseconds=50)
"""A heartbeat that took longer says too little about the clock."""
CLOCK_MOVED_MIN = timedelta(milliseconds=5)
"""What is less is how long a heartbeat takes, now here and now there."""


class Presence:
    """`map` and `others` are what the last look showed; `lost` says why we are no member any more."""

    fence: Fence

    def __init__(self, store: PostgresStore, options: OwnershipOptions, member: Membership) -> None:
        self.store = store
        self.options = options
        self.map = ShardMap()
        self.others: tuple[MemberRow, ...] = ()
        self.ended: dict[str, Fence] = {}
        """Servers whose fence we raised and whose shards we have not assigned yet: they do not count."""
        self.is_leaving = False
        self.clock_offset = timedelta(0)
        self.lost = ""
        self._watch = Watch(options.lease, options.monotonic)
        self._is_locked = False
        self._reason = ""
        self._news = asyncio.Event()
        self._askers: list[asyncio.Event] = []
        self._speaking = asyncio.Lock()
        self._beating: asyncio.Task[None] | None = None
        self._is_cut_off = False
        self._until_cut_off: asyncio.TimerHandle | None = None
        self._adopt(member)

    @classmethod
    async def begin(cls, store: PostgresStore, options: OwnershipOptions) -> Self:
        """Returns when the name is ours, and we have registered, beaten and looked."""
        presence = cls(store, options, await _connect(store, options))
        try:
            await presence._member.ensure_shards(options.shards)
            await presence._until_registered()
        except BaseException:
            presence._member.close()
            raise
        presence._beating = asyncio.create_task(presence._beat_on(), name="heartbeats")
        presence.tell_all()
        return presence

    async def end(self) -> None:
        """No more heartbeats; the lock is free."""
        beating, self._beating = self._beating, None
        if beating is not None:
            async with self._speaking:  # a command cut off would spoil the connection
                beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
        self._forget_cut_off()  # at last: a heartbeat that was under way has counted anew
        self._member.close()

    @property
    def heartbeats(self) -> asyncio.Task[None]:
        """Ends when the fence is lost, and by a mistake of ours."""
        assert self._beating is not None, "it has begun and has not ended"
        return self._beating

    @property
    def news(self) -> asyncio.Event:
        """Set by the next look, the next move of ours, or the loss of the fence."""
        return self._news

    @asynccontextmanager
    async def speaking(self) -> AsyncIterator[Membership]:
        """The connection for statements under the fence, which stands still meanwhile."""
        async with self._speaking:
            yield self._member

    async def raise_epoch(self) -> Fence:
        """Our own fence one epoch up, after every commit in flight. Raises `FenceLostError`."""
        async with self._speaking:
            self.fence = await self.store.raise_epoch(self.fence)
        return self.fence

    async def move(self, moves: Sequence[Move]) -> set[int]:
        """Change owners by compare-and-set; says which. After an error nobody knows, until the next look."""
        async with self.speaking() as member:
            return await self.move_on(member, moves)

    async def move_on(self, member: Membership, moves: Sequence[Move]) -> set[int]:
        """The same for one who speaks already."""
        if not moves:
            return set()
        moved = await member.move(self.fence, moves)
        if not moved.held:
            self.lose()
        if moved.shards:
            self.map.take_moves(move for move in moves if move.shard_id in moved.shards)
            self._spread()
        if len(moved.shards) < len(moves):
            self.map.look()  # what we have acted on is no longer so
        return set(moved.shards)

    async def next_look(self) -> None:
        """Returns after a look that began after this call, or when all is lost."""
        if not self.lost:
            asked = asyncio.Event()
            self._askers.append(asked)
            self.map.look()
            await asked.wait()

    def view(self) -> View:
        """What is seen, for the plan."""
        counted = [other.server for other in self.others if self._counts(other)]
        steady = {server for server in counted if not self._watch.is_silent(server)}
        own = [] if self.is_leaving else [self.options.server]
        return View(self.options.server, self.map.owners, self.map.epochs, sorted(counted + own), steady)

    def dead(self) -> list[MemberRow]:
        """Whose shards are to be taken."""
        return [other for other in self.others if self._watch.is_dead(other.server) and other.server not in self.ended]

    def tell(self, servers: Iterable[str | None]) -> None:
        """These had better look; we ourselves know."""
        told = sorted({server for server in servers if server and server != self.options.server})
        if told:
            self.options.on_given(told)

    def tell_all(self) -> None:
        """Everybody had better look."""
        self.tell(self.map.members)

    def lose(self) -> None:
        """The fence was raised by somebody else: nothing is ours any more."""
        if self.lost:
            return
        name = self.options.server
        self.lost = (
            f"the fence of '{name}' was raised: another server has taken over"
            if self._is_locked
            else f"another process runs as '{name}', or another server has taken over"
        )
        for asked in self._askers:
            asked.set()
        self._spread()
        self.options.on_lost(self.lost)

    def _counts(self, other: MemberRow) -> bool:
        is_gone = other.leaving or other.server in self.ended or self._watch.is_dead(other.server)
        return other.beaten and not is_gone

    def _spread(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _until_registered(self) -> None:
        while True:
            try:
                if await self._enter():
                    await self._look()
                    return
            except StoreUnavailableError:
                await self._reopen()

    async def _enter(self) -> bool:
        """Get the name, end whoever had it, and be seen; false if a taker has raised the fence in between."""
        while not await self._member.try_lock():
            self._wait_for(f"another process runs as '{self.options.server}': waiting until it ends")
            await asyncio.sleep(RETRY_SECONDS_MAX)
        self._is_locked = True
        self.fence = await self.store.take_fence(self.options.server)
        return await self._register()

    async def _register(self) -> bool:
        return await self._member.register(self.fence, self.options.address, self.options.version)

    async def _beat_on(self) -> None:
        """Stay a member until the fence is lost."""
        is_away = False
        while not self.lost:
            await self._until_next()
            try:
                await self._look()
            except StoreUnavailableError as error:
                if not is_away:
                    self.options.on_away(str(error))
                is_away = True
                await self._reopen()
                continue
            if is_away:
                self.options.on_back("")
            is_away = False

    async def _until_next(self) -> None:
        """Wait for the next heartbeat, or until a look is wanted, somebody may be dead, or the connection is cut."""
        await asyncio.sleep(LOOK_SECONDS_MIN)
        with suppress(TimeoutError):
            async with asyncio.timeout(min(self.options.heartbeat_every.total_seconds(), self._watch.next_death_in)):
                await self.map.wanted.wait()

    async def _look(self) -> None:
        """A heartbeat, and what it shows of the clock, the others and the shards."""
        async with self._speaking:
            self.map.wanted.clear()  # whoever asks from now on asks for another one
            due, self._askers = self._askers, []
            try:
                beat = await self._beat()
                if not beat.held or not await self._take_in(beat):
                    self.lose()
            except StoreUnavailableError:
                self._askers += due
                raise
        for asked in due:
            asked.set()
        self._spread()

    async def _beat(self) -> Beat:
        if not self._is_locked:
            # Our own old connection may hold the lock until Postgres notices that it is dead.
            self._is_locked = await self._member.try_lock()
        owners = sorted({owner for owner in self.map.owners if owner is not None})
        began = asyncio.get_running_loop().time()
        before = self.options.wall_clock()
        beat = await self._member.beat(self.fence, owners)
        self._compare_clocks(before, beat.now, self.options.wall_clock())
        self._heard(began)
        return beat

    def _heard(self, began: float) -> None:
        """The lease as others count it began no sooner than the heartbeat that Postgres has answered."""
        self._forget_cut_off()
        if self._is_cut_off:
            self._is_cut_off = False
            self.options.on_cut_off(False)
        loop = asyncio.get_running_loop()
        self._until_cut_off = loop.call_at(began + self.options.lease.total_seconds(), self._cut_off)

    def _cut_off(self) -> None:
        self._is_cut_off = True
        self.options.on_cut_off(True)

    def _forget_cut_off(self) -> None:
        if self._until_cut_off is not None:
            self._until_cut_off.cancel()

    def _compare_clocks(self, before: datetime, there: datetime, after: datetime) -> None:
        """What Postgres's clock showed somewhere between two instants of ours. A slow answer only bounds the offset."""
        least, most = there - after, there - before
        is_exact = most - least <= ROUND_TRIP_MAX or not self.clock_offset
        offset = least + (most - least) / 2 if is_exact else min(max(self.clock_offset, least), most)
        moved, self.clock_offset = abs(offset - self.clock_offset), offset
        if moved > CLOCK_MOVED_MIN:
            self.options.on_clock_moved()

    async def _take_in(self, beat: Beat) -> bool:
        """What was seen besides; false if the fence was lost meanwhile."""
        is_listed = any(row.beat for row in beat.members if row.server == self.options.server)
        if not is_listed and not self.is_leaving:  # else we took it away ourselves, and have only to go
            return await self._register()  # an operator took our row away; the next look finds it
        if not self.map.owners or beat.changes != self.map.changes:
            self.map.take_rows(await self._member.shards())
        self.others = tuple(row for row in beat.members if row.server != self.options.server)
        self._watch.look(self.others)
        for row in self.others:
            if row.server in self.ended and row.epoch != self.ended[row.server].epoch:
                del self.ended[row.server]  # it is back, or another taker's
        gone = {row.server for row in self.dead()} | self.ended.keys()
        self.map.take_members([row for row in beat.members if row.beat and row.server not in gone])
        return True

    async def _reopen(self) -> None:
        """A new connection, as soon as Postgres takes one."""
        self._watch.forget()
        pause = RETRY_SECONDS_MIN
        while True:
            self._member.close()
            try:
                member = await _connect(self.store, self.options)
            except StoreUnavailableError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_SECONDS_MAX)
            else:
                self._adopt(member)
                return

    def _adopt(self, member: Membership) -> None:
        self._member = member
        self._is_locked = False
        member.on_closed = self.map.look
        self.map.look()

    def _wait_for(self, reason: str) -> None:
        if reason != self._reason:
            self._reason = reason
            self.options.on_waiting(reason)


async def _connect(store: PostgresStore, options: OwnershipOptions) -> Membership:
    """A row that somebody holds must not keep us from beating for the lease."""
    return await Membership.open(store.dsn, store.group_id, options.server, options.lease / 2)
