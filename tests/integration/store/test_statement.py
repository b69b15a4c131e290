"""The one statement: its variants say the same, its plans stay good, its locks are taken in order."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TypeAlias

import asyncpg
import pytest

from perdure_server.store import commit as commit_module
from perdure_server.store.commit_rows import COLUMNS, rows_by_kind
from perdure_server.store.commit_statement import variant
from perdure_server.store.connections import connect
from perdure_server.store.pool import PLANNING
from perdure_server.store.port import CommitBatch, Fence, RunChange, RunKey
from perdure_server.store.postgres import PostgresStore
from perdure_server.store.queries import load_queries
from tests.integration.store.rows import NOW, SHARD, append, begin, merge, new_run_id
from tests.integration.store.test_rows import beside, removals

Control: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
EVERY_KIND = frozenset(COLUMNS)
TABLES = (
    "current_executions",
    "history",
    "executions",
    "activities",
    "buffered_events",
    "wakes",
    "parked",
    "snapshots",
)
"""In lock order; `fences` comes before them."""


def scripts() -> dict[str, list[CommitBatch]]:
    """Sequences of batches that between them hold each kind of row, alone and with others."""
    one, two, three = new_run_id(), new_run_id(), new_run_id()
    more, broken = CommitBatch(appends=[append(one, 1, 3, 4)]), CommitBatch(appends=[append(one, 1, 9, 9)])
    cleared = CommitBatch(activities_cleared=[RunKey(SHARD, one)])
    close = CommitBatch(changes=[RunChange(SHARD, one, 2, NOW, 4)])
    return {
        "start": [begin(one)],
        "lost start": [begin(one), merge(begin(two), beside(two))],
        "middle": [begin(one), more],
        "close": [merge(begin(one), beside(one)), merge(more, close, removals(one), cleared)],
        "broken": [begin(one), merge(broken, beside(one), removals(one), cleared)],
        "beside": [begin(one), beside(one), removals(one), cleared],
        "replace": [begin(one), begin(two, replaces=one), begin(three, replaces=one)],
        "continue": [begin(one), merge(more, close, begin(two, replaces=one), begin(three, "order-3"))],
        "continue broken": [begin(one), merge(broken, close, begin(two, replaces=one))],
        "nothing": [CommitBatch()],
    }


@pytest.mark.parametrize("script", list(scripts()))
async def test_variants_agree_with_the_whole_statement(
    postgres_store: PostgresStore, fence: Fence, control: Control, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """The smallest variant does what the statement with every part does."""
    batches = scripts()[script]
    small = [await postgres_store.commit(fence, batch) for batch in batches]
    expected = await dump(control)
    await control.execute(f"truncate {', '.join(TABLES)}")
    monkeypatch.setattr(
        commit_module, "rows_by_kind", lambda batch: {kind: [] for kind in COLUMNS} | rows_by_kind(batch)
    )
    whole = [await postgres_store.commit(fence, batch) for batch in batches]
    assert (small, expected) == (whole, await dump(control))


async def dump(control: Control) -> dict[str, list[str]]:
    """Every row of every table but the order of arrival of parked tasks, as text."""
    tables = {}
    for table in TABLES:
        rows = await control.fetch(f"select (to_jsonb(t) - 'arrival')::text as row from {table} as t order by 1")
        tables[table] = [row["row"] for row in rows]
    return tables


async def test_whole_statement_is_fenced(
    postgres_store: PostgresStore, fence: Fence, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stale epoch no part of the statement writes or removes anything."""
    one, two, three = new_run_id(), new_run_id(), new_run_id()
    await postgres_store.commit(fence, merge(begin(one), beside(one), begin(two, "order-2")))
    before = await dump(control)
    await postgres_store.raise_epoch(fence)
    batch = merge(
        CommitBatch(appends=[append(one, 1, 3, 3)], activities_cleared=[RunKey(SHARD, one)]),
        *(removals(one), beside(two), begin(three, "order-3"), begin(new_run_id(), replaces=one)),
    )
    assert not (await postgres_store.commit(fence, batch)).fence_held
    assert before == await dump(control)


TRACE = """
create table trace (place int generated always as identity, name text);
create function note() returns trigger language plpgsql as
  'begin insert into trace (name) values (tg_table_name); return coalesce(new, old); end';
"""


async def test_tables_are_locked_in_order(postgres_store: PostgresStore, fence: Fence, control: Control) -> None:
    """A commit that writes everything touches the tables in the order that the store promises."""
    one, two = new_run_id(), new_run_id()
    await postgres_store.commit(fence, merge(begin(one), beside(one), begin(two, "order-2")))
    await control.execute(TRACE)
    for table in TABLES:
        await control.execute(
            f"create trigger note before insert or update or delete on {table} for each row execute function note()"
        )
    batch = merge(
        *(begin(new_run_id(), "order-3"), removals(one), beside(two)),
        CommitBatch(appends=[append(two, 1, 3, 3)], activities_cleared=[RunKey(SHARD, one)]),
    )
    await postgres_store.commit(fence, batch)
    trace = [row["name"] for row in await control.fetch("select name from trace order by place")]
    # The check of the chain reads before the claims write, so an append may come before them.
    assert set(TABLES) == set(trace)
    assert list(TABLES[2:]) == list(dict.fromkeys(name for name in trace if name in TABLES[2:]))
    assert max(place for place, name in enumerate(trace) if name in TABLES[:2]) < trace.index("executions")


GROW = """
insert into executions (group_id, shard_id, run_id, namespace_id, workflow_id, workflow_type, task_queue, status,
  start_time, history_length, request_id, first_run_id)
select 1, n % 512, gen_random_uuid(), 1, 'id-' || n, 'Order', 'orders', 1, now(), 3, 'r' || n, gen_random_uuid()
from generate_series(1, $1::int) as n
"""
KEYS = ("run_id", "workflow_id", "server")
"""What tells one row of a group from another; a condition without it reads the whole group."""

FOLLOW = (
    "insert into history select group_id, shard_id, run_id, 1, 3, '[]' from executions",
    "insert into current_executions select group_id, shard_id, namespace_id, workflow_id, run_id from executions",
    "insert into wakes select group_id, shard_id, run_id, now(), true from executions",
    """insert into activities
       select group_id, shard_id, run_id, 5, 1, now(), null, '', '', null, null, null, '', null from executions""",
    "insert into buffered_events select group_id, shard_id, run_id, 1, '{}' from executions",
    "insert into parked select group_id, shard_id, run_id, 5, 1, 'orders', 'activity', 3 from executions",
    "insert into snapshots select group_id, shard_id, run_id, 3, 1, '' from executions",
)


@pytest.mark.parametrize("executions", [10, 10_000])
@pytest.mark.parametrize("analyzed", [False, True], ids=["unknown", "analyzed"])
async def test_plan_is_by_key_at_any_size(
    postgres_store: PostgresStore, fence: Fence, control: Control, executions: int, analyzed: bool
) -> None:
    """The plan kept for the whole statement reads every table by its full key, whatever size it was planned at."""
    await control.execute(GROW, executions)
    for statement in FOLLOW:
        await control.execute(statement)
    if analyzed:
        await control.execute("analyze")
    connection = await postgres_store._committing._open()
    prepared = await connection.prepare(variant(EVERY_KIND).text)
    nothing = ", ".join(["null"] * len(variant(EVERY_KIND).parameters))
    plan = "\n".join(row[0] for row in await connection.fetch(f"explain execute {prepared.get_name()}({nothing})"))
    assert "$1" in plan, "this is the generic plan"
    assert "Seq Scan" not in plan
    assert "Materialize" not in plan
    assert "Hash Join" not in plan
    assert "Merge" not in plan
    conditions = re.findall(r"Index Cond: (.*)", plan)
    assert 9 <= len(conditions)
    assert [] == [condition for condition in conditions if not any(key in condition for key in KEYS)]


async def test_commit_of_many_rows_is_one_page_of_work(
    postgres_store: PostgresStore, fence: Fence, control: Control
) -> None:
    """A batch of closes touches about as many rows of a table as it has, not all of them."""
    runs = [new_run_id() for _ in range(400)]
    await postgres_store.commit(fence, merge(*(begin(run, run) for run in runs)))
    closing = [RunChange(SHARD, run, 2, NOW + timedelta(seconds=1), 2) for run in runs[:10]]
    await postgres_store.commit(fence, CommitBatch(changes=closing))
    await control.execute("select pg_stat_reset()")
    closing = [RunChange(SHARD, run, 2, NOW, 2) for run in runs[10:110]]
    await postgres_store.commit(fence, CommitBatch(changes=closing))
    connection = await postgres_store._committing._open()
    await connection.execute("select pg_stat_force_next_flush()")
    read = await control.fetchval(
        "select idx_tup_fetch + seq_tup_read from pg_stat_user_tables where relname = 'executions'"
    )
    assert 0 < read < 400


PARK = """
insert into parked (group_id, shard_id, run_id, scheduled_event_id, namespace_id, task_queue, kind, priority, turn)
select 1, n % 512, gen_random_uuid(), 5, 1, 'queue-' || n % $2::int, 'activity', 1 + n % 5, random()
from generate_series(1, $1::int) as n
"""


@pytest.mark.parametrize(
    ("tasks", "queues", "mode"),
    [
        (0, 1, "force_generic_plan"),
        (10, 1, "force_generic_plan"),
        (20_000, 1, "force_generic_plan"),
        (20_000, 1_000, "force_generic_plan"),
        (20_000, 1, "force_custom_plan"),
        (20_000, 1_000, "force_custom_plan"),
    ],
)
async def test_a_page_of_parked_tasks_is_one_index_range(
    database_url: str, control: Control, tasks: int, queues: int, mode: str
) -> None:
    """A page of parked tasks is read from the index in order, past those of other servers, at whatever planned size."""
    await control.execute(PARK, tasks, queues)
    await control.execute("analyze parked")
    connection = await connect(database_url, {**PLANNING, "plan_cache_mode": mode})
    prepared = await connection.prepare(load_queries("read.sql")["list_parked"])
    shards = ", ".join(map(str, range(0, 512, 3)))
    explain = f"explain execute {prepared.get_name()}(1, 1, 'queue-0', 'activity', array[{shards}], 100)"
    plan = [row[0].strip() for row in await connection.fetch(explain)]
    await connection.close()
    assert plan[1].startswith("->  Index Scan using parked_by_turn"), plan
    assert not any("Sort" in line for line in plan)
    assert all("shard_id = ANY" in line for line in plan if line.startswith("Filter"))
