"""Rounds of several servers on one clock: who asks whom, and what happens when a home is silent, new or away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from perdure_proto.errors import Code, ServiceError
from perdure_server.matching.rate import Rate
from perdure_server.rates.homes import RateKey, home_of
from perdure_server.rates.rounds import LOOK_AGAIN_SECONDS, Limited, Rounds, RoundsOptions
from perdure_server.rates.table import WARM_SECONDS
from perdure_server.store.port import StoreUnavailableError

KEY = RateKey("ns", "q", "activity")
LIMIT = 30.0
PATIENCE = 4.0


class World:
    """Servers by name. `living` is what all of them see; nobody reaches those in `unreachable`."""

    def __init__(self, *names: str) -> None:
        self.now = 100.0
        self.living = list(names)
        self.unreachable: set[str] = set()
        self.requests = 0
        self.servers = {name: OneServer(self, name) for name in names}

    @property
    def home(self) -> OneServer:
        return self.servers[home_of(KEY, self.living)]

    @property
    def others(self) -> list[OneServer]:
        return [self.servers[name] for name in self.living if name != self.home.name]

    def held(self) -> dict[str, float]:
        return {name: round(self.servers[name].rate.per_second, 3) for name in self.living}

    async def rounds(self, count: int = 4) -> None:
        """A second each."""
        for _ in range(count):
            self.now += 1.0
            for name in self.living:
                await self.servers[name].rounds.round()
            assert sum(server.rate.per_second for server in self.servers.values()) <= LIMIT * (1 + 1e-9)

    def die(self, server: OneServer) -> None:
        """Its shares go with it."""
        self.living.remove(server.name)
        server.rate.share(0.0, self.now)


class OneServer:
    """A server that knows the rate, and so many who wait."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.rate = Rate(LIMIT, world.now)
        self.backlog = 0
        self.limited = True
        self.looks = 0
        self.store_is_away = False
        self._world = world
        if len(world.living) > 1:
            self.rate.share(0.0, world.now)
        options = RoundsOptions(
            server=name,
            limited=lambda: [Limited(KEY, self.rate, self.backlog)] if self.limited else [],
            look_again=self._look_again,
            clock=lambda: world.now,
            patience=PATIENCE,
        )
        self.rounds = Rounds(self, options)

    async def _look_again(self) -> None:
        self.looks += 1
        if self.store_is_away:
            raise StoreUnavailableError("gone")

    def names(self) -> Sequence[str]:
        return self._world.living

    def staying(self) -> Sequence[str]:
        return self._world.living

    async def ask_rates(self, server: str, body: bytes) -> bytes:
        self._world.requests += 1
        if {server, self.name} & self._world.unreachable:
            raise ServiceError(Code.UNAVAILABLE, "silent")
        return await self._world.servers[server].rounds.answer(body)


async def test_alone_nothing_is_asked() -> None:
    """All of the limit is ours."""
    world = World("a")
    await world.rounds()
    assert ({"a": LIMIT}, 0) == (world.held(), world.requests)


async def test_what_is_not_limited_is_not_asked_for() -> None:
    """Servers without limits say nothing to each other."""
    world = World("a", "b", "c")
    for server in world.servers.values():
        server.limited = False
    await world.rounds()
    assert 0 == world.requests


async def test_three_share_the_limit() -> None:
    """In equal parts while nobody waits; where somebody waits there is more."""
    world = World("a", "b", "c")
    await world.rounds()
    assert dict.fromkeys("abc", LIMIT / 3) == world.held()
    world.others[0].backlog = 27
    await world.rounds()
    assert LIMIT * 28 / 30 == pytest.approx(world.others[0].rate.per_second)


async def test_one_that_joins_gets_its_part() -> None:
    """Who had all gives it away, whichever of the two is the home."""
    for names in (("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")):
        world = World(names[0])
        await world.rounds(1)
        world.living.append(names[1])
        world.servers[names[1]] = OneServer(world, names[1])
        await world.rounds()
        assert dict.fromkeys(names, LIMIT / 2) == world.held()


async def test_whoever_stays_alone_has_all() -> None:
    """As soon as the others are dead."""
    world = World("a", "b", "c")
    await world.rounds()
    world.die(world.servers["a"])
    world.die(world.servers["b"])
    await world.rounds(1)
    assert {"c": LIMIT} == world.held()


async def test_a_silent_home_leaves_everybody_its_share() -> None:
    """Nobody has more than before while it is only silent; when it is dead, the next home gives its part away."""
    world = World("a", "b", "c")
    await world.rounds()
    home = world.home
    world.unreachable.add(home.name)
    world.others[0].backlog = 100
    await world.rounds(3)
    assert dict.fromkeys("abc", LIMIT / 3) == world.held()
    world.die(home)
    await world.rounds(int(WARM_SECONDS) + 3)
    assert LIMIT == pytest.approx(sum(world.held().values()), abs=0.01)


async def test_a_home_out_of_reach_does_not_stop_the_work() -> None:
    """It lives, but one server cannot ask it: after a while that one takes an equal part by itself."""
    world = World("a", "b", "c")
    cut_off = world.others[0]
    world.unreachable.add(cut_off.name)
    for _ in range(int(PATIENCE) + 1):
        world.now += 1.0
        await cut_off.rounds.round()
    assert LIMIT / 3 == cut_off.rate.per_second


async def test_a_server_that_the_home_does_not_see_gets_nothing_yet() -> None:
    """What it holds it keeps."""
    world = World("a", "b")
    await world.rounds()
    home, other = world.home, world.others[0]
    seen = home.name, other.name
    world.servers[home.name].names = lambda: [home.name]  # type: ignore[method-assign]
    other.backlog = 100
    assert not await other.rounds.round()
    assert LIMIT / 2 == world.servers[seen[1]].rate.per_second


async def test_a_queue_that_is_forgotten_gives_its_share_back() -> None:
    """Its home is told once."""
    world = World("a", "b", "c")
    await world.rounds()
    world.others[0].limited = False
    world.others[0].rate.share(0.0, world.now)
    await world.rounds()
    assert LIMIT == pytest.approx(sum(world.held().values()), abs=0.01)
    asked = world.requests
    await world.rounds(1)
    assert asked + 1 == world.requests


async def test_the_last_limit_that_a_worker_named_holds_for_all() -> None:
    """Also at a server where another was named before."""
    world = World("a", "b", "c")
    await world.rounds()
    world.others[0].rate.change_limit(12.0)
    world.others[0].rate.named_at = 5.0
    await world.rounds()
    assert {12.0} == {server.rate.limit for server in world.servers.values()}
    assert dict.fromkeys("abc", 4.0) == world.held()


async def test_namespaces_are_read_again_by_and_by() -> None:
    """Only where there are others who may have changed one; an outage of Postgres is no harm."""
    world = World("a", "b")
    world.servers["a"].store_is_away = True
    await world.rounds(int(LOOK_AGAIN_SECONDS) + 1)
    assert [1, 1] == [server.looks for server in world.servers.values()]
    assert dict.fromkeys("ab", LIMIT / 2) == world.held()


async def test_no_request_for_rates_is_refused() -> None:
    """What is no request is named."""
    world = World("a", "b")
    with pytest.raises(ServiceError, match="no request for rates"):
        await world.home.rounds.answer(b"[]")


async def test_rounds_go_on_until_they_are_cancelled() -> None:
    """A round that fails is logged, and a look begins the next one at once."""
    world = World("a", "b")
    rounds = world.home.rounds
    running = asyncio.create_task(rounds.run())
    while world.home.rate.per_second < LIMIT / 2:
        rounds.look()
        world.now += 1.0
        for other in world.others:
            await other.rounds.round()
        await asyncio.sleep(0)
    running.cancel()
    assert [True] == [
        isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(running, return_exceptions=True)
    ]
