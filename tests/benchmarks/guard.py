"""`python -m tests.benchmarks.guard`: what W1 and W2 cost in counts that no machine changes, against `baseline.json`.

Times drift with the machine; counts do not, so they can fail a build. One workflow is in flight at a time, on a server
and a worker in this process; what runs by the clock (heartbeats, scans, vacuum) is put off. `--write` makes what was
found the baseline: do so when a count went down, or when it went up for a reason that you can name.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import platform
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import structlog
import uvloop
from asyncpg.protocol import protocol
from msgspec import Struct

from perdure import Client
from perdure_server.config import EngineSettings, ServerSettings
from perdure_server.server import Server
from perdure_server.store.migrate import migrate
from perdure_worker import Worker
from tests.benchmarks.process import BenchmarkError
from tests.benchmarks.programs import Parcel, handle, in_sequence, once
from tests.benchmarks.stack import TASK_QUEUE, Requests
from tests.benchmarks.workloads.load import expect, one_by_one
from tests.postgres import FORGETFUL, run_postgres

BASELINE = Path(__file__).with_name("baseline.json")
GROWTH_MAX = 0.05
WRITE = "python -m tests.benchmarks.guard --write"

STEPS = 10
ROUNDS = 8
READY_SECONDS_MAX = 30.0
NEVER = timedelta(days=1)
QUIET = EngineSettings(idle_after=NEVER, scan_every=NEVER, evict_after=NEVER)
ROUND_TRIPS = ("bind_execute", "bind_execute_many", "execute", "prepare", "query")
"""What asyncpg's protocol sends to Postgres, each time one statement or a part of it."""
TRACKED_BEFORE = 10_000
"""The collector's count stops at zero; with so many objects made before, it never comes there."""

WRITTEN = """
select pg_snapshot_xmax(pg_current_snapshot())::text::float8, (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8
"""


class Cost(Struct, frozen=True, kw_only=True):
    """Counts for each workflow. Allocations: objects that the garbage collector tracks, made by all of this process."""

    commits: float
    statements: float
    wal_bytes: float
    client_requests: float
    worker_requests: float
    allocations: float


class Found(Struct, frozen=True, kw_only=True):
    """The cost of each work; bytes of WAL depend on Postgres, allocations on Python, so they are named."""

    python: str
    postgres: str
    costs: dict[str, Cost]


class Work(Struct, frozen=True, kw_only=True):
    """What is done, and how often in each round. Always the same, or pages would split at other moments."""

    run: Callable[[Client, int], Awaitable[None]]
    warm_up: int
    round: int


async def run_w1(client: Client, number: int) -> None:
    parcel = Parcel(10_000 + number)
    expect(parcel, await client.execute_workflow(once(parcel), id=f"w1-{number}", task_queue=TASK_QUEUE))


async def run_w2(client: Client, number: int) -> None:
    call = in_sequence(Parcel(10_000 + number), STEPS)
    total = await client.execute_workflow(call, id=f"w2-{number}", task_queue=TASK_QUEUE)
    expect(sum(range(10_000 + number, 10_000 + number + STEPS)), total)


WORKS = {
    "W1": Work(run=run_w1, warm_up=40, round=10),
    "W2": Work(run=run_w2, warm_up=20, round=4),
}


def least(rounds: Sequence[float], work: Work) -> float:
    """For each workflow, of the round that was disturbed least: a stall makes the engine do more, never less."""
    return round(min(rounds) / work.round, 2)


class Statements:
    """Counts what all connections of this process send to Postgres."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        of: Any = protocol.Protocol
        originals = {name: getattr(of, name) for name in ROUND_TRIPS}
        for name, original in originals.items():
            setattr(of, name, self._counted(original))
        try:
            yield
        finally:
            for name in originals:
                delattr(of, name)  # it is the parent's again

    def _counted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return await original(*args, **kwargs)

        return counted


class Allocations:
    """Sums what the collector's count of objects grew by from one call or return to the next.

    The count itself goes down again when objects are freed, and most live shorter than a workflow.
    """

    def __init__(self) -> None:
        self.count = 0
        self._last = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        gc.collect()
        gc.disable()
        before = [[] for _ in range(TRACKED_BEFORE)]  # type: ignore[var-annotated]
        self._last = gc.get_count()[0]
        sys.setprofile(self._look)
        try:
            yield
        finally:
            sys.setprofile(None)
            before.clear()
            gc.enable()

    def _look(self, frame: object, event: str, argument: object) -> None:
        grown = gc.get_count()[0] - self._last
        if grown > 0:
            self.count += grown
        self._last = gc.get_count()[0]  # asked again: what this function makes is not counted


class Bench:
    """A server, a worker and a client in this process; clients of their own, so that requests are told apart."""

    def __init__(self, client: Client, worker: Client, database: asyncpg.Connection[asyncpg.Record]) -> None:
        self._client = client
        self._requests = Requests(client), Requests(worker)
        self._database = database
        self._statements = Statements()
        self._done = 0

    async def cost(self, work: Work) -> Cost:
        """Of one workflow of this work."""
        await self._run(work, work.warm_up)
        with self._statements.counting():
            rounds = [await self._round(work) for _ in range(ROUNDS)]
        commits, wal_bytes, statements, client, worker = (least(counts, work) for counts in zip(*rounds, strict=True))
        return Cost(
            commits=commits,
            statements=statements,
            wal_bytes=wal_bytes,
            client_requests=client,
            worker_requests=worker,
            allocations=await self._allocations(work),
        )

    async def _round(self, work: Work) -> list[float]:
        before = await self._read()
        await self._run(work, work.round)
        return [now - then for then, now in zip(before, await self._read(), strict=True)]

    async def _allocations(self, work: Work) -> float:
        allocations = Allocations()
        rounds: list[float] = []
        with allocations.counting():
            for _ in range(ROUNDS):
                before = allocations.count
                await self._run(work, work.round)
                rounds.append(allocations.count - before)
        return least(rounds, work)

    async def _run(self, work: Work, count: int) -> None:
        done, self._done = self._done, self._done + count
        await one_by_one(lambda number: work.run(self._client, done + number), count)

    async def _read(self) -> list[float]:
        statements = self._statements.count
        row = await self._database.fetchrow(WRITTEN)
        assert row is not None
        self._statements.count = statements  # our own is not theirs
        return [row[0], row[1], statements, *(requests.count for requests in self._requests)]


async def measure() -> Found:
    """Everything, on a Postgres of its own: WAL and transaction ids are counted for the whole cluster."""
    async with run_postgres({**FORGETFUL, "autovacuum": "off"}) as dsn:
        await migrate(dsn)
        database = await asyncpg.connect(dsn)
        async with (
            _served(dsn) as address,
            await _connected(address) as client,
            await _connected(address) as of_worker,
            _worker(of_worker),
        ):
            bench = Bench(client, of_worker, database)
            costs = {name: await bench.cost(work) for name, work in WORKS.items()}
        postgres = await database.fetchval("show server_version")
        await database.close()
    return Found(python=_series(platform.python_version()), postgres=postgres.partition(".")[0], costs=costs)


async def _connected(address: str) -> Client:
    return await Client.connect(
        address, identity="guard"
    )  # it stands in the log, and others are as long as a host's name


def _worker(client: Client) -> Worker:
    return Worker(client, task_queue=TASK_QUEUE, workflows=[once, in_sequence], activities=[handle])


@asynccontextmanager
async def _served(dsn: str) -> AsyncIterator[str]:
    """A server in this process that does nothing by itself; gives its address."""
    settings = ServerSettings(database_url=dsn, port=0, heartbeat_every=NEVER, lease=3 * NEVER, engine=QUIET)
    server = Server(settings)
    running = asyncio.create_task(server.run())
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            await server.started.wait()
        yield f"http://{settings.host}:{server.port}"
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def _series(version: str) -> str:
    return version.rpartition(".")[0]


def counts_of(found: Found, baseline: Found) -> Iterator[tuple[str, float, float]]:
    """Name, baseline and finding of each count that can be compared."""
    unlike = {"allocations"} if found.python != baseline.python else set()
    if found.postgres != baseline.postgres:
        unlike.add("wal_bytes")
    for work, cost in found.costs.items():
        for count in cost.__struct_fields__:
            if count not in unlike:
                yield f"{count} of {work}", getattr(baseline.costs[work], count), getattr(cost, count)


def grown(found: Found, baseline: Found) -> list[str]:
    """What costs more than it may, each named with what it was and is."""
    return [
        f"{name}: {now:,g} for each workflow, {now / then - 1:.1%} above the baseline of {then:,g}"
        for name, then, now in counts_of(found, baseline)
        if now > then * (1 + GROWTH_MAX)
    ]


def read_baseline() -> Found:
    return msgspec.json.decode(BASELINE.read_bytes(), type=Found)


def write_baseline(found: Found) -> None:
    BASELINE.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")


def report(found: Found, baseline: Found) -> bool:
    """Print each count beside its baseline; True if none has grown too much."""
    for name, then, now in counts_of(found, baseline):
        print(f"{name:22} {now:10,g}   baseline {then:10,g}   {now / then - 1:+.1%}")
    worse = grown(found, baseline)
    for line in worse:
        print(f"too much: {line}")
    if worse:
        print(f"{GROWTH_MAX:.0%} are allowed. If there is a reason, write the baseline anew: {WRITE}")
    elif grown(baseline, found):
        print(f"Something costs less than it did. Write the baseline anew, so that it stays so: {WRITE}")
    return not worse


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.guard", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"make what is found the baseline ({BASELINE.name})")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    found = uvloop.run(measure())
    if options.write:
        write_baseline(found)
    if not BASELINE.exists():
        raise BenchmarkError(f"there is no baseline: {WRITE}")
    return 0 if report(found, read_baseline()) else 1


if __name__ == "__main__":
    sys.exit(main())
