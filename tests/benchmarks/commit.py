"""What a commit costs, by its size: workflows of four appends (start, two in the middle, close), so a quarter of the
rows are starts and a quarter closes. `python -m tests.benchmarks.commit` prints a line for each size; durable, one
connection.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import asyncpg
import uvloop

from perdure_proto.ids import uuid7
from perdure_server.store.migrate import migrate
from perdure_server.store.port import Append, CommitBatch, Fence, RunChange, RunKey, RunStart, Wake
from perdure_server.store.postgres import PostgresStore
from tests.postgres import run_postgres

SIZES = (1, 4, 48, 100, 200)
SECONDS = 3.0
SHARDS = 512
EVENTS_OF_A_STEP = (3, 3, 3, 2)

Step = tuple[str, CommitBatch]


def event(number: int) -> dict[str, object]:
    return {
        "event_type": "ActivityTaskScheduled",
        "event_id": number,
        "event_time": "2026-01-01T00:00:00.000000Z",
        "activity_id": str(number),
        "activity_type": "charge",
        "task_queue": "orders",
        "input": [{"order": "a" * 60}],
    }


def events(first: int, count: int) -> bytes:
    return json.dumps([event(number) for number in range(first, first + count)]).encode()


TEXTS = [events(1 + sum(EVENTS_OF_A_STEP[:step]), EVENTS_OF_A_STEP[step]) for step in range(4)]


class Workflow:
    """One execution on its way; each step adds its rows to a batch."""

    def __init__(self, number: int) -> None:
        self.run_id = uuid7(time.time_ns() // 1_000_000, os.urandom(10))
        self.workflow_id = f"order-{number}"
        self.shard_id = number * 7919 % SHARDS
        self.step = 0
        self.first, self.last = 0, 0

    def add_to(self, batch: CommitBatch, now: datetime) -> None:
        previous, self.first = self.first, self.last + 1
        self.last += EVENTS_OF_A_STEP[self.step]
        batch.appends.append(Append(self.shard_id, self.run_id, previous, self.first, self.last, TEXTS[self.step]))
        if self.step == 0:
            batch.starts.append(self.start(now))
            batch.wakes.append(Wake(self.shard_id, self.run_id, None, owed=True))
        elif self.step == 3:
            batch.changes.append(RunChange(self.shard_id, self.run_id, 2, now, self.last))
            batch.wakes_gone.append(RunKey(self.shard_id, self.run_id))
        self.step += 1

    def start(self, now: datetime) -> RunStart:
        ids = self.shard_id, self.run_id, 1, self.workflow_id, ""
        return RunStart(*ids, "OrderWorkflow", "orders", now, f"request-{self.run_id}", self.run_id)


def batches(size: int) -> Iterator[CommitBatch]:
    """Batches of this many appends, the first three fewer, so that all steps are mixed afterwards."""
    numbers = iter(range(10**9))
    active = [Workflow(next(numbers)) for _ in range(size)]
    for turn in itertools.count():
        now = datetime.now(UTC)
        batch = CommitBatch()
        for place, workflow in enumerate(active):
            if place % 4 > turn:
                continue
            workflow.add_to(batch, now)
            if workflow.step == 4:
                active[place] = Workflow(next(numbers))
        yield batch


async def measure(store: PostgresStore, fence: Fence, size: int) -> str:
    latencies: list[float] = []
    started = time.perf_counter()
    for batch in batches(size):
        before = time.perf_counter()
        result = await store.commit(fence, batch)
        latencies.append(time.perf_counter() - before)
        assert len(result.accepted) == len(batch.appends)
        if time.perf_counter() - started > SECONDS:
            break
    return f"{size / statistics.mean(latencies):9,.0f}/s   p50 {statistics.median(latencies) * 1000:6.2f} ms"


async def main() -> None:
    async with run_postgres(None) as dsn:
        await migrate(dsn)
        control = await asyncpg.connect(dsn)
        async with await PostgresStore.open(dsn) as store:
            fence = await store.take_fence("benchmark")
            for size in SIZES:
                await control.execute("truncate history, executions, current_executions, wakes")
                await control.execute("checkpoint")
                before = await control.fetchval("select pg_current_wal_insert_lsn()")
                line = await measure(store, fence, size)
                written = await control.fetchval("select pg_current_wal_insert_lsn() - $1::pg_lsn", before)
                appends = await control.fetchval("select count(*) from history")
                print(f"{size:4} rows: {line}   {float(written) * 4 / appends:6,.0f} B of WAL a workflow")
        await control.close()


if __name__ == "__main__":
    uvloop.run(main())
