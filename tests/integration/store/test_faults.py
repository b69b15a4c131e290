"""What the store says when Postgres refuses a value, is away, or dies in the middle."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from perdure_server.store.port import (
    BufferedEvent,
    CommitBatch,
    CommitOutcomeUnknownError,
    DataRefusedError,
    Fence,
    RunChange,
    Store,
    StoreUnavailableError,
    Wake,
)
from perdure_server.store.postgres import PostgresStore
from tests.integration.store.answer_loss import AnswerLoss
from tests.integration.store.rows import NOW, SHARD, append, begin, merge, new_run_id
from tests.integration.store.waiting import until_waiting
from tests.postgres import scratch_folder

Control: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def guilty_batches() -> dict[str, CommitBatch]:
    """Batches of which one value cannot be stored."""
    run = new_run_id()
    broken_json, zero, surrogate, long, no_run_id, bad_attributes, bad_event = (begin(run) for _ in range(7))
    broken_json.appends[0].events = b"[{"
    bad_event.buffered = [BufferedEvent(SHARD, run, 1, b"\xff")]
    zero.starts[0].workflow_type = "a\0b"
    surrogate.starts[0].workflow_type = "\ud800"
    long.starts[0].workflow_id = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(9000))
    no_run_id.starts[0].first_run_id = "first"
    bad_attributes.changes = [RunChange(SHARD, run, 1, None, 2, search_attributes=b'{"a": "\\u0000"}')]
    return {
        "json": broken_json,
        "bytes": bad_event,
        "zero": zero,
        "surrogate": surrogate,
        "long": long,
        "run id": no_run_id,
        "attributes": bad_attributes,
    }


@pytest.mark.parametrize("name", list(guilty_batches()))
async def test_data_refused(store: Store, fence: Fence, name: str) -> None:
    """A value that Postgres cannot store refuses the whole batch, writes nothing, and the next commit works."""
    run = new_run_id()
    innocent = merge(begin(run, "order-2"), CommitBatch(wakes=[Wake(SHARD, run, NOW, owed=True)]))
    with pytest.raises(DataRefusedError):
        await store.commit(fence, merge(innocent, guilty_batches()[name]))
    assert (None, [], []) == (
        await store.current_run(1, SHARD, "order-2"),
        await store.history(SHARD, run, 0, 9),
        await store.owed_runs([SHARD], None, 9),
    )
    assert ((0, {}), {run}) == (await store.count_executions(1, ""), (await store.commit(fence, innocent)).accepted)


async def test_connection_that_died_before_the_commit(
    postgres_store: PostgresStore, fence: Fence, control: Control
) -> None:
    """A commit on a connection that is gone says so in a way that allows the next one to work."""
    await postgres_store.commit(fence, begin(new_run_id()))
    await terminate_others(control)
    run = new_run_id()
    try:
        result = await postgres_store.commit(fence, begin(run, "order-2"))
    except (CommitOutcomeUnknownError, StoreUnavailableError):
        fence = await postgres_store.raise_epoch(fence)
        assert set() == await postgres_store.read_back([(SHARD, run, 1, 2)])
        result = await postgres_store.commit(fence, begin(run, "order-2"))
    assert {run} == result.accepted


async def test_terminated_in_the_middle(postgres_store: PostgresStore, fence: Fence, control: Control) -> None:
    """A commit whose backend is terminated is of unknown outcome; reading back says that it did not happen."""
    run = new_run_id()
    async with control.transaction():
        await control.execute("insert into current_executions values (1, $1, 1, 'order-1', $2)", SHARD, new_run_id())
        commit = asyncio.create_task(postgres_store.commit(fence, begin(run)))
        (pid,) = await until_waiting(control, 1)
        await control.execute("select pg_terminate_backend($1)", pid)
        with pytest.raises(CommitOutcomeUnknownError):
            await commit
    fence = await postgres_store.raise_epoch(fence)
    assert set() == await postgres_store.read_back([(SHARD, run, 1, 2)])
    assert {run} == (await postgres_store.commit(fence, begin(run, "order-2"))).accepted


async def test_answer_lost_after_the_commit(database_url: str) -> None:
    """A commit that happened but whose answer was lost is of unknown outcome; reading back says that it did."""
    run = new_run_id()
    with scratch_folder() as folder:
        await lose_an_answer(AnswerLoss(database_url, Path(folder)), run)


async def lose_an_answer(loss: AnswerLoss, run: str) -> None:
    async with loss.running() as proxy, await PostgresStore.open(proxy.dsn) as store:
        fence = await store.take_fence("server-1")
        await store.commit(fence, begin(run))
        await store.commit(fence, CommitBatch(appends=[append(run, 1, 3, 3)]))
        proxy.lose_next_answer()
        with pytest.raises(CommitOutcomeUnknownError):
            await store.commit(fence, CommitBatch(appends=[append(run, 3, 4, 6)]))
        fence = await store.raise_epoch(fence)
        assert {run} == await store.read_back([(SHARD, run, 4, 6)])
        assert set() == (await store.commit(fence, CommitBatch(appends=[append(run, 3, 4, 6)]))).accepted
        assert {run} == (await store.commit(fence, CommitBatch(appends=[append(run, 4, 7, 7)]))).accepted


async def test_postgres_away(tmp_path: Path) -> None:
    """Where nothing listens both sides say that the store is unavailable."""
    async with await PostgresStore.open(f"postgresql:///nobody?host={tmp_path}") as store:
        with pytest.raises(StoreUnavailableError):
            await store.commit(Fence(1, "server-1", 1), CommitBatch())
        with pytest.raises(StoreUnavailableError):
            await store.namespaces()
        with pytest.raises(StoreUnavailableError):
            await store.take_fence("server-1")


async def test_reads_survive_terminated_connections(
    postgres_store: PostgresStore, fence: Fence, control: Control
) -> None:
    """A read on a pool whose connections were cut is tried again on a new one."""
    run = new_run_id()
    await postgres_store.commit(fence, begin(run, at=NOW))
    await asyncio.gather(*(postgres_store.namespaces() for _ in range(3)))
    await terminate_others(control)
    assert await postgres_store.execution(SHARD, run) is not None


async def test_cancelled_commit_leaves_no_half_used_connection(
    postgres_store: PostgresStore, fence: Fence, control: Control
) -> None:
    """After a commit was cancelled in the middle the next one has a connection of its own."""
    run = new_run_id()
    async with control.transaction():
        await control.execute("insert into current_executions values (1, $1, 1, 'order-1', $2)", SHARD, new_run_id())
        commit = asyncio.create_task(postgres_store.commit(fence, begin(run)))
        await until_waiting(control, 1)
        commit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await commit
    fence = await postgres_store.raise_epoch(fence)
    assert {run} == (await postgres_store.commit(fence, begin(run, "order-2"))).accepted


async def terminate_others(control: Control) -> None:
    await control.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
    )
