"""Executions that are there already, made by SQL: copies of two real ones, one that sleeps and one that is closed.

Copies have ids and shards of their own and times spread over the last two days, so they lie in the tables as if they
had been run. The shape of the rows is whatever the server writes today.
"""

from __future__ import annotations

import asyncio

import asyncpg

from tests.benchmarks.growth.counts import Ballast
from tests.benchmarks.programs import nap
from tests.benchmarks.stack import LOOK_EVERY_SECONDS, TASK_QUEUE, Stack
from tests.benchmarks.workloads.load import run_once

ASLEEP = "ballast-asleep"
CLOSED = "ballast-closed"
MONTH_SECONDS = 30 * 24 * 3600.0
ASLEEP_SECONDS_MAX = 30.0
ROWS_AT_ONCE = 100_000
TABLES = ("history", "executions", "current_executions", "wakes")

# A run id is a UUID of version 7: milliseconds, then what tells the copies apart.
COPIES = """
create table ballast_copies as
select n, $1 || '-' || n as workflow_id, shard_of('default', $1 || '-' || n, shards) as shard_id, at,
  (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(digest, 1, 3) || '8'
    || substr(digest, 4, 15))::uuid as run_id
from cluster, generate_series($2::int, $3::int) as n,
  lateral (select md5($1 || n) as digest, now() - interval '2 days' * (1 - (n % 1000003) / 1000003.0)) as d(digest, at)
"""

HISTORY = """
insert into history (group_id, shard_id, run_id, first_event_id, last_event_id, events)
select h.group_id, c.shard_id, c.run_id, h.first_event_id, h.last_event_id,
  replace(replace(h.events::text, x.run_id::text, c.run_id::text), x.workflow_id, c.workflow_id)::json
from ballast_copies as c, executions as x
join history as h on h.group_id = x.group_id and h.shard_id = x.shard_id and h.run_id = x.run_id
where x.namespace_id = 1 and x.workflow_id = $1
"""

EXECUTIONS = """
insert into executions (group_id, shard_id, run_id, namespace_id, workflow_id, workflow_type, task_queue, status,
  start_time, close_time, history_length, request_id, first_run_id)
select x.group_id, c.shard_id, c.run_id, x.namespace_id, c.workflow_id, x.workflow_type, x.task_queue, x.status, c.at,
  c.at + (x.close_time - x.start_time), x.history_length, gen_random_uuid()::text, c.run_id
from ballast_copies as c, executions as x where x.namespace_id = 1 and x.workflow_id = $1
"""

CURRENT = """
insert into current_executions (group_id, shard_id, namespace_id, workflow_id, run_id)
select x.group_id, c.shard_id, x.namespace_id, c.workflow_id, c.run_id
from ballast_copies as c, executions as x where x.namespace_id = 1 and x.workflow_id = $1
"""

WAKES = """
insert into wakes (group_id, shard_id, run_id, wake_at, owed)
select w.group_id, c.shard_id, c.run_id, w.wake_at + interval '1 second' * (c.n % 86400), w.owed
from ballast_copies as c, executions as x
join wakes as w on w.group_id = x.group_id and w.shard_id = x.shard_id and w.run_id = x.run_id
where x.namespace_id = 1 and x.workflow_id = $1
"""

IS_ASLEEP = "select count(*) from wakes where wake_at is not null and not owed"


async def make_originals(stack: Stack) -> None:
    """One that sleeps for a month, one that is closed; returns when the server has put the first to rest."""
    await stack.client.start_workflow(nap(MONTH_SECONDS), id=ASLEEP, task_queue=TASK_QUEUE)
    await run_once(stack, CLOSED)
    async with asyncio.timeout(ASLEEP_SECONDS_MAX):
        while await stack.query(IS_ASLEEP) != 1:  # noqa: ASYNC110 - Postgres raises no event
            await asyncio.sleep(LOOK_EVERY_SECONDS)


async def add_ballast(dsn: str, there: Ballast, wanted: Ballast) -> None:
    """Make them as many as are wanted. No server runs meanwhile."""
    database = await asyncpg.connect(dsn)
    await database.execute("set synchronous_commit = off")
    await _copy(database, ASLEEP, there.open, wanted.open)
    await _copy(database, CLOSED, there.closed, wanted.closed)
    for table in TABLES:
        await database.execute(f"vacuum (analyze) {table}")
    await database.execute("checkpoint")
    await database.close()


async def _copy(database: asyncpg.Connection[asyncpg.Record], original: str, there: int, wanted: int) -> None:
    for first in range(there, wanted, ROWS_AT_ONCE):
        await database.execute(COPIES, original, first, min(first + ROWS_AT_ONCE, wanted) - 1)
        for statement in (HISTORY, EXECUTIONS, CURRENT, WAKES):
            await database.execute(statement, original)
        await database.execute("drop table ballast_copies")
