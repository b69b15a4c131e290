"""The table of faults. Each takes hold of something, does its harm, waits, and undoes it, whatever comes in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from tests.faults.box import Box, Server
from tests.faults.broken_http import send_broken_requests
from tests.faults.network import Link
from tests.faults.postgres import while_away
from tests.faults.process import Victim

Target = Literal["server", "worker", "postgres", "network", "database"]

SLOW_SECONDS = 0.3
TRY_EVERY_SECONDS = 0.1
LOCK_SECONDS = 30.0


class Occasion:
    """One fault: where it happens, for how long, with what chance."""

    def __init__(self, box: Box, *, index: int, seconds: float, chance: random.Random) -> None:
        self.box = box
        self.seconds = seconds
        self.chance = chance
        self._index = index

    @property
    def server(self) -> Server:
        return self.box.servers[self._index]

    @property
    def worker(self) -> Victim:
        return self.box.workers[self._index]

    async def wait(self) -> None:
        await asyncio.sleep(self.seconds)


# Processes.


async def kill(occasion: Occasion, victim: Victim) -> None:
    """Kill -9; for some of the time nobody is there."""
    victim.is_ours = True
    await victim.kill()
    try:
        if occasion.chance.random() < 0.5:
            await occasion.wait()
    finally:
        victim.start()
        victim.is_ours = False


async def stand_still(occasion: Occasion, victim: Victim) -> None:
    """SIGSTOP, and SIGCONT after shorter or longer than others wait for it."""
    victim.pause()
    try:
        await occasion.wait()
    finally:
        victim.resume()


async def leave(occasion: Occasion, victim: Victim) -> None:
    """SIGTERM, as in a rolling restart."""
    victim.is_ours = True
    try:
        if not await victim.leave():
            raise AssertionError(f"{victim.name} did not end after SIGTERM")
    finally:
        victim.start()
        victim.is_ours = False


# Postgres.


async def kill_postgres(occasion: Occasion) -> None:
    postgres = occasion.box.postgres
    await postgres.kill()
    await _revive_after(occasion)


async def restart_postgres(occasion: Occasion) -> None:
    await occasion.box.postgres.stop()
    await _revive_after(occasion)


async def _revive_after(occasion: Occasion) -> None:
    try:
        if occasion.chance.random() < 0.5:
            await occasion.wait()
    finally:
        await occasion.box.postgres.revive()


async def stop_postgres(occasion: Occasion) -> None:
    postgres = occasion.box.postgres
    postgres.freeze()
    try:
        await occasion.wait()
    finally:
        postgres.thaw()


async def kill_a_backend(occasion: Occasion) -> None:
    occasion.box.postgres.kill_a_backend(occasion.chance)
    await occasion.box.postgres.revive()


async def terminate_backends(occasion: Occasion) -> None:
    """Several times, for new ones come."""
    ends = asyncio.get_running_loop().time() + occasion.seconds
    while asyncio.get_running_loop().time() < ends:
        with while_away():
            await occasion.box.postgres.terminate_all()
        await asyncio.sleep(occasion.chance.random())


async def lock_history(occasion: Occasion) -> None:
    with while_away():
        await occasion.box.postgres.lock_history(occasion.seconds)


async def fill_disk(occasion: Occasion) -> None:
    """Postgres may go on, refuse, or end: whatever it does, there is room again later."""
    postgres = occasion.box.postgres
    ends = asyncio.get_running_loop().time() + occasion.seconds
    try:
        while asyncio.get_running_loop().time() < ends:
            postgres.fill()  # also what it has freed meanwhile
            await asyncio.sleep(TRY_EVERY_SECONDS)
    finally:
        postgres.make_room()
        await postgres.revive()


# Wires.


async def be_slow(occasion: Occasion, link: Link) -> None:
    link.be_slow(SLOW_SECONDS * occasion.chance.random())
    try:
        await occasion.wait()
    finally:
        link.mend()


async def be_cut(occasion: Occasion, link: Link) -> None:
    """All connections, or half of them."""
    link.cut(occasion.chance.choice([0.5, 1.0]))
    try:
        await occasion.wait()
    finally:
        link.mend()


async def be_reset(occasion: Occasion, link: Link) -> None:
    """Again and again, so that each phase of a request is hit."""
    ends = asyncio.get_running_loop().time() + occasion.seconds
    while asyncio.get_running_loop().time() < ends:
        link.reset(occasion.chance.choice([0.3, 1.0]))
        await asyncio.sleep(occasion.chance.random())


async def break_http(occasion: Occasion) -> None:
    await send_broken_requests(occasion.server.link.port, occasion.seconds, occasion.chance)


class Fault(Struct, frozen=True, kw_only=True):
    """One row: what it needs for itself, and what it does. `seconds` are the least and the most that it lasts."""

    target: Target
    strike: Callable[[Occasion], Awaitable[None]]
    seconds: tuple[float, float] = (0.5, 8.0)
    needs_small_disk: bool = False


def _server(strike: Callable[[Occasion, Victim], Awaitable[None]]) -> Fault:
    return Fault(target="server", strike=lambda occasion: strike(occasion, occasion.server.victim))


def _worker(strike: Callable[[Occasion, Victim], Awaitable[None]]) -> Fault:
    return Fault(target="worker", strike=lambda occasion: strike(occasion, occasion.worker))


def _network(strike: Callable[[Occasion, Link], Awaitable[None]]) -> Fault:
    return Fault(target="network", strike=lambda occasion: strike(occasion, occasion.server.link))


def _database(strike: Callable[[Occasion, Link], Awaitable[None]]) -> Fault:
    return Fault(target="database", strike=lambda occasion: strike(occasion, occasion.server.database))


FAULTS: MappingProxyType[str, Fault] = MappingProxyType(
    {
        "kill -9 of a server": _server(kill),
        "SIGSTOP of a server": _server(stand_still),
        "SIGTERM of a server": _server(leave),
        "kill -9 of a worker": _worker(kill),
        "SIGSTOP of a worker": _worker(stand_still),
        "SIGTERM of a worker": _worker(leave),
        "kill -9 of Postgres": Fault(target="postgres", strike=kill_postgres),
        "restart of Postgres": Fault(target="postgres", strike=restart_postgres),
        "SIGSTOP of Postgres": Fault(target="postgres", strike=stop_postgres),
        "kill -9 of a backend": Fault(target="postgres", strike=kill_a_backend),
        "pg_terminate_backend on all": Fault(target="postgres", strike=terminate_backends),
        "lock on history": Fault(target="postgres", strike=lock_history, seconds=(LOCK_SECONDS, LOCK_SECONDS)),
        "disk full under Postgres": Fault(target="postgres", strike=fill_disk, needs_small_disk=True),
        "slow network": _network(be_slow),
        "network cut": _network(be_cut),
        "network resets": _network(be_reset),
        "slow wire to Postgres": _database(be_slow),
        "wire to Postgres cut": _database(be_cut),
        "wire to Postgres resets": _database(be_reset),
        "half-written HTTP": Fault(target="network", strike=break_http),
    }
)
