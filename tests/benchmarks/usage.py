"""What work costs: CPU seconds and memory of each process, bytes of WAL, transactions, requests of the client.

Transaction ids are exact at once: each commit that wrote takes one. `xact_commit` counts those that only read as well,
but a session tells its share only after a second of work, ten of rest, or at its end; so both are waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psutil
from msgspec import Struct

from tests.benchmarks.figures import Figure
from tests.benchmarks.stack import Stack

STATISTICS_SECONDS = 10.5
"""How long a session of Postgres may keep its counters to itself."""

WAL = "select (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8"
IDS = "select pg_snapshot_xmax(pg_current_snapshot())::text::float8"
TRANSACTIONS = "select xact_commit::float8 from pg_stat_database where datname = current_database()"


class Usage(Struct, kw_only=True):
    """What was used so far, or between two readings."""

    cpu_seconds: dict[str, float]
    wal_bytes: float
    ids: float
    transactions: float
    requests: float


@asynccontextmanager
async def spent(stack: Stack, *, settle: bool) -> AsyncIterator[Usage]:
    """What a block uses, known after it; the server and the worker are gone then. `settle`: wait for statistics."""
    if settle:
        await asyncio.sleep(STATISTICS_SECONDS)
    before = await read_usage(stack)
    used = Usage(cpu_seconds={}, wal_bytes=0, ids=0, transactions=0, requests=0)
    yield used
    after = await read_usage(stack)
    await stack.stop_perdure()
    after.transactions = await stack.query(TRANSACTIONS)
    used.cpu_seconds = {name: seconds - before.cpu_seconds[name] for name, seconds in after.cpu_seconds.items()}
    used.wal_bytes = after.wal_bytes - before.wal_bytes
    used.ids = after.ids - before.ids
    used.transactions = after.transactions - before.transactions
    used.requests = after.requests - before.requests


async def read_usage(stack: Stack) -> Usage:
    return Usage(
        cpu_seconds=cpu_seconds(stack),
        wal_bytes=await stack.query(WAL),
        ids=await stack.query(IDS),
        transactions=await stack.query(TRANSACTIONS),
        requests=stack.requests.count,
    )


def usage_figures(work: str, used: Usage, workflows: int) -> Iterator[Figure]:
    """The same, for each workflow."""
    cpu = used.cpu_seconds
    without_client = sum(seconds for name, seconds in cpu.items() if name != "client")
    for name, seconds in {**cpu, "without client": without_client}.items():
        yield Figure(work, f"CPU, {name}", seconds * 1000 / workflows, "s / 1,000 workflows")
    yield Figure(work, "WAL", used.wal_bytes / workflows, "bytes / workflow")
    yield Figure(work, "commits that write", used.ids / workflows, "/ workflow")
    yield Figure(work, "transactions", used.transactions / workflows, "/ workflow")
    yield Figure(work, "requests of the client", used.requests / workflows, "/ workflow")


def cpu_seconds(stack: Stack) -> dict[str, float]:
    """CPU seconds so far of each process with its children; of Postgres also of those that have ended."""
    postgres = psutil.Process(stack.postmaster)
    ended = postgres.cpu_times()
    return {
        "client": sum(psutil.Process().cpu_times()[:2]),
        **{process.name: sum(map(_cpu_of, family(process.pid))) for process in reversed(stack.processes)},
        "Postgres": sum(map(_cpu_of, family(postgres.pid))) + ended.children_user + ended.children_system,
    }


def memory_figures(work: str, stack: Stack) -> Iterator[Figure]:
    """Resident memory of each process; of pages that sessions of Postgres share, each counts its part where it can."""
    pids = {**{process.name: process.pid for process in reversed(stack.processes)}, "Postgres": stack.postmaster}
    for name, pid in pids.items():
        members = family(pid)
        used = sum(map(_share_of, members)) if len(members) > 1 else float(members[0].memory_info().rss)
        yield Figure(work, f"memory, {name}", used / 2**20, "MiB")


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _cpu_of(process: psutil.Process) -> float:
    try:
        return sum(process.cpu_times()[:2])
    except psutil.NoSuchProcess:
        return 0.0  # a session of Postgres may end between the list and the look


def _share_of(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss)
    except (psutil.AccessDenied, AttributeError):
        return float(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0.0
