"""Members of one cluster on a real Postgres, all in this loop, each with an engine that only notes what it holds.

Leases run on clocks that the test moves, so nobody dies because the machine is slow; heartbeats are real and quick.
(Half of the lease is also how long a statement may wait for a row, in real time: so it is long.)
A member can be frozen: it says nothing to Postgres until it thaws, and then goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from perdure_server.cluster.options import OwnershipOptions
from perdure_server.cluster.ownership import Ownership
from perdure_server.cluster.rendezvous import assignment
from perdure_server.store.membership import Membership
from perdure_server.store.postgres import PostgresStore

SHARDS = 32
ALL = set(range(SHARDS))
LEASE = timedelta(seconds=40)
BEAT = timedelta(milliseconds=20)
SECONDS_MAX = 30.0


class Holder:
    """What a member works on: `has` it takes requests for; `draining` it refuses, with commits under way."""

    def __init__(self, town: Town, name: str) -> None:
        self._town = town
        self._name = name
        self.has: set[int] = set()
        self.draining: set[int] = set()
        self.given_away: set[int] = set()
        self.gained: list[set[int]] = []
        self.may_drain = asyncio.Event()
        self.may_drain.set()
        self.asked_to_drain = asyncio.Event()

    def gain(self, shards: Collection[int]) -> None:
        self._town.nobody_else_works_on(self._name, shards)
        self.gained.append(set(shards))
        self.draining -= set(shards)
        self.given_away -= set(shards)
        self.has |= set(shards)

    async def give_up(self, shards: Collection[int]) -> None:
        self.has -= set(shards)
        self.draining |= set(shards)
        self.asked_to_drain.set()
        await self.may_drain.wait()

    def hold(self) -> None:
        """Drains take until `may_drain` is set."""
        self.may_drain.clear()
        self.asked_to_drain.clear()

    def given(self, shards: Collection[int]) -> None:
        assert self.draining >= set(shards) - self.has
        self.draining -= set(shards)
        self.given_away |= set(shards)


class Node:
    """One server, as far as ownership goes."""

    def __init__(self, town: Town, name: str, store: PostgresStore) -> None:
        self.name = name
        self.store = store
        self.holder = Holder(town, name)
        self.lost: asyncio.Queue[str] = asyncio.Queue()
        self.waiting: asyncio.Queue[str] = asyncio.Queue()
        self.away: asyncio.Queue[str] = asyncio.Queue()
        self.back: asyncio.Queue[str] = asyncio.Queue()
        self.is_up = False
        self.is_frozen = False
        self.options = OwnershipOptions(
            server=name,
            address=f"http://{name}:7233",
            version="1",
            shards=SHARDS,
            heartbeat_every=BEAT,
            lease=LEASE,
            give_max=8,
            give_pause=timedelta(0),
            on_lost=self.lost.put_nowait,
            on_waiting=self.waiting.put_nowait,
            on_away=self.away.put_nowait,
            on_back=self.back.put_nowait,
            on_given=town.nudge,
            monotonic=lambda: town.now,
            wall_clock=lambda: datetime.now(UTC),
        )
        self.ownership: Ownership
        self.running: asyncio.Task[None]

    @property
    def presence(self) -> Any:
        return self.ownership._presence

    async def start(self) -> Node:
        self.ownership = await Ownership.acquire(self.store, self.options)
        self.is_up = True
        self.running = asyncio.create_task(self.ownership.run(self.holder))
        return self

    async def leave(self) -> None:
        await self.ownership.leave(self.holder)
        await self.running
        self.is_up = False

    async def crash(self) -> None:
        """As if killed: the loop ends wherever it is, the connection is cut, nothing is given away."""
        tasks = {self.running, self.presence.heartbeats, *self.ownership._work}
        self.presence._member.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.is_up = False

    async def freeze(self) -> None:
        """It says nothing more, wherever it is."""
        await self.presence._speaking.acquire()
        self.is_up, self.is_frozen = False, True

    def thaw(self) -> None:
        self.presence._speaking.release()
        self.is_up, self.is_frozen = True, False

    async def look(self) -> None:
        await self.presence.next_look()


class Town:
    """The members of a cluster, their clock, and the tables as they are."""

    def __init__(self, dsn: str, control: asyncpg.Connection[asyncpg.Record]) -> None:
        self.dsn = dsn
        self.control = control
        self.now = 1000.0
        self.nodes: list[Node] = []
        self.nudges: list[set[str]] = []
        self.hears_nudges = True
        self._stores: list[PostgresStore] = []

    async def node(self, name: str) -> Node:
        """A server that is not started yet; a former one of this name may still run."""
        store = await PostgresStore.open(self.dsn)
        self._stores.append(store)
        self.nodes.append(Node(self, name, store))
        return self.nodes[-1]

    async def start(self, *names: str) -> list[Node]:
        """Servers that come one after the other; returns when each has its share."""
        started = []
        for name in names:
            started.append(await (await self.node(name)).start())
            await self.quiet()
        return started

    @property
    def up(self) -> list[Node]:
        return [node for node in self.nodes if node.is_up]

    def share_of(self, name: str, among: Iterable[str]) -> set[int]:
        """What the hash says."""
        return {shard for shard, owner in enumerate(assignment(SHARDS, list(among))) if owner == name}

    def is_quiet(self) -> bool:
        """Each server that lives works on what the hash says, and knows who works on the rest."""
        wanted = list(assignment(SHARDS, [node.name for node in self.up]))
        return all(
            node.holder.has == self.share_of(node.name, (one.name for one in self.up))
            and not node.holder.draining
            and node.ownership.map.owners == wanted
            for node in self.up
        )

    async def quiet(self) -> None:
        """Waits until it is so, and finds the table of the same mind."""
        await self.until(self.is_quiet)
        assert list(assignment(SHARDS, [node.name for node in self.up])) == await self.owners()

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits until something has become so, with a look at it at every heartbeat."""
        async with asyncio.timeout(SECONDS_MAX):
            while not condition():
                waiting = [asyncio.create_task(node.presence.news.wait()) for node in self.nodes if node.is_up]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in waiting:
                    task.cancel()

    async def pass_time(self, seconds: float) -> None:
        """The clock goes on in small steps, and all who live look at every step."""
        steps = 1 + int(seconds / LEASE.total_seconds() * 4)
        for _ in range(steps):
            self.now += seconds / steps
            await asyncio.gather(*(node.look() for node in self.up))

    async def owners(self) -> list[str | None]:
        rows = await self.control.fetch("select owner from shards order by shard_id")
        return [row["owner"] for row in rows]

    async def servers(self) -> list[str]:
        return [row["server"] for row in await self.control.fetch("select server from servers order by 1")]

    def nudge(self, names: Collection[str]) -> None:
        self.nudges.append(set(names))
        for node in self.up:
            if self.hears_nudges and node.name in names:
                node.ownership.map.look()

    def nobody_else_works_on(self, name: str, shards: Collection[int]) -> None:
        for node in self.up:
            if node.name != name and not node.ownership.lost:
                assert not (node.holder.has | node.holder.draining) & set(shards), f"{node.name} has {shards} too"

    async def member(self, name: str, *, leaving: bool = False) -> tuple[Membership, Any]:
        """A connection in the hands of the test that speaks as this server, with its fence, registered and beaten.

        One that leaves is given nothing.
        """
        member = await Membership.open(self.dsn, 1, name)
        fence = await self._stores[0].take_fence(name)
        await member.register(fence, "", "")
        if leaving:
            await member.mark_leaving(fence)
        await member.beat(fence)
        return member, fence

    async def close(self) -> None:
        for node in self.nodes:
            if node.is_frozen:
                node.thaw()
            if node.is_up:
                await node.crash()
        for store in self._stores:
            await store.close()


@asynccontextmanager
async def town_on(dsn: str) -> AsyncIterator[Town]:
    control = await asyncpg.connect(dsn)
    town = Town(dsn, control)
    try:
        yield town
    finally:
        await town.close()
        await control.close()
