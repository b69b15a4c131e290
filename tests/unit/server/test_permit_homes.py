"""Homes of limits among servers that come, go, stop and are cut off: never more permits than the maximum are in use."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from perdure_proto.errors import Code, ServiceError
from perdure_server.engine import permit_homes
from perdure_server.engine.permit_homes import Homes
from perdure_server.engine.permit_letters import Members, Note
from perdure_server.matching.permits import Claim, Ident
from perdure_server.store.port import PermitRow

MOST = 2
LIMITS = ("1/activity/a", "1/activity/b", "1/activity/c")
STEPS = 400


class World:
    """The rows of the store, who lives, and what each server sees of that."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.servers: dict[str, Server] = {}
        self.alive: set[str] = set()
        self.rows: dict[Ident, tuple[str, str]] = {}
        """What runs: its limit, and the server that owns it."""
        self.most = 0

    async def permits_held(self) -> list[PermitRow]:
        await asyncio.sleep(0)
        return [PermitRow(1, run_id, event_id, limit) for (run_id, event_id), (limit, _) in self.rows.items()]

    def used(self, limit: str) -> int:
        return sum(1 for limit_of, _ in self.rows.values() if limit_of == limit)

    def members(self) -> Members:
        return tuple((name, False) for name in sorted(self.alive))


class Server:
    """One server: its runs are owners of claims, and their rows are written a while after a permit has come."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.me = name
        self.seen: Members = ()
        self.is_stopped = False
        self.is_fenced = False
        self.claims: dict[int, tuple[Claim, str]] = {}
        self.number = 0
        self.homes = Homes(self, world)  # type: ignore[arg-type]  # the one thing of a store that it asks
        self.homes.neighbours = self

    def members(self) -> Members:
        return self.seen

    def is_settled(self) -> bool:
        return all(self.world.servers[owner].is_fenced or owner in dict(self.seen) for owner in self.owners())

    def owners(self) -> set[str]:
        return {name for name, server in self.world.servers.items() if not server.is_fenced}

    def look(self) -> None:
        self.seen = self.world.members()

    async def ask(self, server: str, body: bytes) -> bytes:
        other = self.world.servers.get(server)
        for _ in range(self.world.chance.randrange(6)):
            await asyncio.sleep(0)
        if other is None or other.is_stopped or self.is_stopped or self.world.chance.random() < 0.1:
            raise ServiceError(Code.UNAVAILABLE, "cut off")
        answer = other.homes.take(body)
        for _ in range(self.world.chance.randrange(6)):
            await asyncio.sleep(0)
        if self.world.chance.random() < 0.1:
            raise ServiceError(Code.UNAVAILABLE, "the answer is lost")
        return answer

    def notes(self) -> Iterator[Note]:
        for claim, state in self.claims.values():
            yield Note("want" if state == "waiting" else "hold", claim)

    def granted(self, claim: Claim) -> bool:
        found = self.claims.get(claim.number)
        if found is None:
            return False
        if found[1] == "waiting":
            self.claims[claim.number] = claim, "granted"
        return True

    def ask_for_one(self) -> None:
        self.number += 1
        limit = self.world.chance.choice(LIMITS)
        claim = Claim(
            limit=limit, most=MOST, said_at=0.0, priority=3, due_at=float(self.number), shard_id=1,
            run_id=self.me, scheduled_event_id=self.number, number=self.number,
        )  # fmt: skip
        self.claims[self.number] = claim, "waiting"
        if self.homes.want(claim):
            self.claims[self.number] = claim, "granted"

    def go_on(self) -> None:
        """A permit that came is used, or an attempt ends."""
        if not self.claims or self.is_fenced:
            return
        number = self.world.chance.choice(list(self.claims))
        claim, state = self.claims[number]
        if state == "granted":
            self.claims[number] = claim, "started"
            self.world.rows[claim.ident] = claim.limit, self.me
            assert self.world.used(claim.limit) <= MOST
            self.world.most = max(self.world.most, self.world.used(claim.limit))
        elif state == "started" or self.world.chance.random() < 0.1:
            del self.claims[number]
            self.world.rows.pop(claim.ident, None)
            self.homes.drop(claim)


async def pause(seconds: float) -> None:
    """Lets what is to be tried again be tried: the servers' clock is the loop's."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, over.set_result, None)
    await over


async def some_trouble(world: World) -> None:
    chance = world.chance
    server = world.servers[chance.choice(sorted(world.servers))]
    what = chance.random()
    if what < 0.01 and len(world.alive) > 1 and server.me in world.alive:
        world.alive.discard(server.me)  # it was silent; sooner or later its fence is raised, and it may not know
        server.is_stopped = chance.random() < 0.5
    elif what < 0.04 and server.me not in world.alive:
        server.is_fenced = True
    elif what < 0.07 and server.is_fenced:
        replace(world, server.me)
    elif what < 0.09:
        server.is_stopped = not server.is_stopped
    elif what < 0.2:
        server.look()
    elif what < 0.5:
        server.ask_for_one()
    else:
        server.go_on()
    await pause(chance.choice((0, 0, 0.0002)))


def replace(world: World, name: str) -> None:
    """A new process of the name, which goes on with the runs of the old one: what runs, runs on."""
    old = world.servers.get(name)
    if old is not None:
        old.homes.stop()
    new = world.servers[name] = Server(world, name)
    new.number = old.number if old is not None else 0
    world.alive.add(name)
    for ident, (limit, owner) in list(world.rows.items()):
        if owner == name:
            new.number += 1
            claim = Claim(
                limit=limit, most=MOST, said_at=0.0, priority=3, due_at=0.0, shard_id=1, run_id=ident[0],
                scheduled_event_id=ident[1], number=new.number,
            )  # fmt: skip
            new.claims[new.number] = claim, "started"
            new.homes.hold(claim)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again at once."""
    monkeypatch.setattr(permit_homes, "TICK_SECONDS", 0.001)
    monkeypatch.setattr(permit_homes, "DOUBT_SECONDS", 0.01)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("seed", range(40))
async def test_there_are_never_too_many(seed: int) -> None:
    """Whoever stops, dies, comes back or sees others late; and once all is well everybody gets a permit."""
    world = World(seed)
    for name in ("s1", "s2", "s3"):
        replace(world, name)
    for _ in range(STEPS):
        await some_trouble(world)
    await all_is_well(world)
    assert 1 <= world.most <= MOST
    assert not world.rows
    for server in world.servers.values():
        server.homes.stop()


async def all_is_well(world: World) -> None:
    """Everybody lives and is heard: whoever wants a permit has had one in the end."""
    world.chance.random = lambda: 0.5  # type: ignore[method-assign]
    for name, server in list(world.servers.items()):
        if server.is_fenced or name not in world.alive:
            replace(world, name)
        world.servers[name].is_stopped = False
    for server in world.servers.values():
        server.look()
    async with asyncio.timeout(10):
        while any(server.claims for server in world.servers.values()):
            for server in world.servers.values():
                server.go_on()
            await pause(0.0005)
