"""Two connections and one fence row: what a taker waits for, what comes too late, and what stands in the way."""

from __future__ import annotations

import asyncio
from typing import TypeAlias

import asyncpg
import pytest

from perdure_server.store.fences import Fences
from perdure_server.store.pool import ReadPool
from perdure_server.store.port import CommitBatch, CommitOutcomeUnknownError, Fence, FenceLostError, RunKey
from perdure_server.store.postgres import PostgresStore
from tests.integration.store.rows import SHARD, append, begin, merge, new_run_id
from tests.integration.store.test_rows import beside
from tests.integration.store.waiting import count_rows, until_waiting

Control: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
CLAIM = "insert into current_executions values (1, $1, 1, 'order-1', $2)"


async def test_taker_waits_for_a_commit_in_flight(
    postgres_store: PostgresStore, fence: Fence, control: Control
) -> None:
    """A commit that has its fence finishes before the epoch rises, so whoever reads afterwards sees it."""
    run = new_run_id()
    rival = control.transaction()
    await rival.start()
    await control.execute(CLAIM, SHARD, new_run_id())  # holds the commit up after it has taken its fence
    commit = asyncio.create_task(postgres_store.commit(fence, begin(run)))
    await until_waiting(control, 1)
    raising = asyncio.create_task(postgres_store.take_fence(fence.server))
    await until_waiting(control, 2)
    assert not raising.done()
    await rival.rollback()
    taken = await raising
    assert await postgres_store.load_run(SHARD, run, 1) is not None
    assert {run} == (await commit).accepted
    assert fence.epoch + 1 == taken.epoch


async def test_commit_that_comes_after_the_taker_is_refused(
    postgres_store: PostgresStore, fence: Fence, control: Control
) -> None:
    """A commit that finds the taker at work waits for it, then writes nothing at all."""
    first, second = new_run_id(), new_run_id()
    await postgres_store.commit(fence, begin(first))
    before = await count_rows(control)
    async with control.transaction():
        await control.execute("select epoch from fences where server = $1 for update", fence.server)
        await control.execute("update fences set epoch = epoch + 1 where server = $1", fence.server)
        batch = merge(begin(second, "order-2"), CommitBatch(appends=[append(first, 1, 3, 3)]), beside(first))
        commit = asyncio.create_task(postgres_store.commit(fence, batch))
        await until_waiting(control, 1)
    result = await commit
    assert (False, set()) == (result.fence_held, result.accepted)
    assert before == await count_rows(control)


async def test_commit_goes_on_when_the_taker_gives_up(
    postgres_store: PostgresStore, fence: Fence, control: Control
) -> None:
    """A taker that rolls back has taken nothing."""
    run = new_run_id()
    taker = control.transaction()
    await taker.start()
    await control.execute("select epoch from fences where server = $1 for update", fence.server)
    commit = asyncio.create_task(postgres_store.commit(fence, begin(run)))
    await until_waiting(control, 1)
    await taker.rollback()
    assert {run} == (await commit).accepted


async def test_backend_in_the_way_is_terminated(
    postgres_store: PostgresStore, fence: Fence, control: Control, database_url: str
) -> None:
    """A commit that holds its fence too long is ended, and has written nothing."""
    run = new_run_id()
    pool = await ReadPool.open(database_url)
    fences = Fences(database_url, pool, patience_seconds=0.01)
    async with control.transaction():
        await control.execute(CLAIM, SHARD, new_run_id())
        commit = asyncio.create_task(postgres_store.commit(fence, begin(run)))
        await until_waiting(control, 1)
        raised = await fences.raise_epoch(fence)
        with pytest.raises(CommitOutcomeUnknownError):
            await commit
    assert fence.epoch + 1 == raised.epoch
    assert set() == await postgres_store.read_back([(SHARD, run, 1, 2)])
    assert {run} == (await postgres_store.commit(raised, begin(run, "order-2"))).accepted
    await pool.close()


async def test_two_takers(postgres_store: PostgresStore, fence: Fence) -> None:
    """Of two that raise the same epoch one gets it and the other is told."""
    both = await asyncio.gather(*(postgres_store.raise_epoch(fence) for _ in range(2)), return_exceptions=True)
    assert [Fence, FenceLostError] == sorted((type(one) for one in both), key=lambda kind: kind.__name__)


async def test_retention_and_commit_do_not_deadlock(
    postgres_store: PostgresStore, fence: Fence, control: Control
) -> None:
    """A commit that replaces an expired run while it is being deleted waits, and then loses its start."""
    first, second = new_run_id(), new_run_id()
    await postgres_store.commit(fence, begin(first))
    async with control.transaction():
        await control.execute("delete from current_executions")
        batch = merge(begin(second, replaces=first), CommitBatch(wakes_gone=[RunKey(SHARD, first)]))
        commit = asyncio.create_task(postgres_store.commit(fence, batch))
        await until_waiting(control, 1)
        await control.execute("delete from history")
        await control.execute("delete from executions")
    assert set() == (await commit).accepted
