"""Conformance: the rows beside the log, and how they depend on the appends of their runs."""

from __future__ import annotations

from datetime import timedelta

from perdure_server.store.port import (
    ActivityKey,
    ActivityRow,
    BufferedEvent,
    CommitBatch,
    Fence,
    Parked,
    RunChange,
    RunKey,
    Snapshot,
    Store,
    StoredRun,
    Wake,
    WakeRow,
)
from tests.integration.store.rows import NOW, SHARD, append, begin, merge, new_run_id


def parked(run_id: str, event_id: int = 7, *, priority: int = 3) -> Parked:
    return Parked(SHARD, run_id, event_id, 1, "orders", "activity", priority, "key", 1.5)


def beside(run_id: str) -> CommitBatch:
    """A row of each kind beside the log."""
    return CommitBatch(
        changes=[RunChange(SHARD, run_id, 2, NOW, 9, memo=b'{"note": 1}')],
        wakes=[Wake(SHARD, run_id, NOW, owed=True)],
        activities=[
            ActivityRow(SHARD, run_id, 7, 2, NOW, started_at=NOW, last_failure=b'{"message":"no"}', transactional=True)
        ],
        buffered=[BufferedEvent(SHARD, run_id, 1, b'{"event_type":"TimerFired"}')],
        parked=[parked(run_id)],
        snapshots=[Snapshot(SHARD, run_id, 2, 1, b"state")],
    )


def removals(run_id: str) -> CommitBatch:
    """A removal of each kind."""
    key = RunKey(SHARD, run_id)
    return CommitBatch(
        wakes_gone=[key],
        activities_gone=[ActivityKey(SHARD, run_id, 7)],
        buffer_flushed=[key],
        unparked=[parked(run_id)],
    )


async def loaded(store: Store, run_id: str) -> StoredRun:
    run = await store.load_run(SHARD, run_id, 1)
    assert run is not None
    return run


def kept(run: StoredRun) -> tuple[int, int, int, bool, bool]:
    return len(run.activities), len(run.buffered), len(run.parked), run.wake is not None, run.snapshot is not None


async def test_rows_come_back_as_written(store: Store, fence: Fence) -> None:
    """What stands beside the log is loaded with the run, value for value."""
    run, batch = new_run_id(), CommitBatch()
    batch = beside(run)
    await store.commit(fence, merge(begin(run), batch))
    stored = await loaded(store, run)
    assert batch.activities == stored.activities
    assert batch.buffered == stored.buffered
    assert batch.snapshots[0] == stored.snapshot
    assert [7] == stored.parked
    assert WakeRow(SHARD, run, NOW, owed=True) == stored.wake
    assert (RunKey(SHARD, run), 1, "order-1", 2, 1) == (
        stored.key,
        stored.namespace_id,
        stored.workflow_id,
        stored.status,
        stored.last_row_first_event_id,
    )


async def test_change_of_a_run_that_starts(store: Store, fence: Fence) -> None:
    """A run that starts and changes in one batch has one visibility row with both."""
    run = new_run_id()
    await store.commit(fence, merge(begin(run), beside(run)))
    row = await store.execution(SHARD, run)
    assert row is not None
    assert (2, NOW, 9, b'{"note": 1}') == (row.status, row.close_time, row.history_length, row.memo)


async def test_rows_without_an_append_need_the_fence_alone(store: Store, fence: Fence) -> None:
    """Rows of a run that has no append in the batch are written under the fence."""
    run = new_run_id()
    await store.commit(fence, begin(run))
    result = await store.commit(fence, beside(run))
    assert (True, set()) == (result.fence_held, result.accepted)
    assert (1, 1, 1, True, True) == kept(await loaded(store, run))
    await store.commit(fence, removals(run))
    assert (0, 0, 0, False, True) == kept(await loaded(store, run))


async def test_rows_of_a_refused_append_are_dropped(store: Store, fence: Fence) -> None:
    """When a run's append is refused none of its rows is written, and those of other runs are."""
    run, other = new_run_id(), new_run_id()
    await store.commit(fence, merge(begin(run), begin(other, "order-2")))
    batch = merge(CommitBatch(appends=[append(run, 1, 9, 9)]), beside(run), beside(other))
    assert set() == (await store.commit(fence, batch)).accepted
    assert (0, 0, 0, False, False) == kept(await loaded(store, run))
    assert (1, 1, 1, True, True) == kept(await loaded(store, other))
    row = await store.execution(SHARD, run)
    assert row is not None
    assert (1, None) == (row.status, row.memo)


async def test_removals_of_a_refused_append_are_dropped(store: Store, fence: Fence) -> None:
    """When a run's append is refused nothing of it is removed either."""
    run = new_run_id()
    await store.commit(fence, merge(begin(run), beside(run)))
    refused = CommitBatch(appends=[append(run, 1, 9, 9)], activities_cleared=[RunKey(SHARD, run)])
    await store.commit(fence, merge(refused, removals(run)))
    assert (1, 1, 1, True, True) == kept(await loaded(store, run))


async def test_removals_of_an_accepted_append(store: Store, fence: Fence) -> None:
    """With an accepted append they are."""
    run = new_run_id()
    await store.commit(fence, merge(begin(run), beside(run)))
    await store.commit(fence, merge(CommitBatch(appends=[append(run, 1, 3, 3)]), removals(run)))
    assert (0, 0, 0, False, True) == kept(await loaded(store, run))


async def test_cleared_activities_all_go(store: Store, fence: Fence) -> None:
    """A closed run loses all its activity rows, another run none."""
    run, other = new_run_id(), new_run_id()
    rows = [ActivityRow(SHARD, of, event_id, 1, NOW) for of in (run, other) for event_id in (5, 6, 7)]
    await store.commit(fence, merge(begin(run), begin(other, "order-2"), CommitBatch(activities=rows)))
    await store.commit(fence, CommitBatch(activities_cleared=[RunKey(SHARD, run)]))
    assert (0, 3) == (len((await loaded(store, run)).activities), len((await loaded(store, other)).activities))


async def test_puts_replace(store: Store, fence: Fence) -> None:
    """A row that is put again has the newer values."""
    run, later = new_run_id(), NOW + timedelta(hours=1)
    await store.commit(fence, merge(begin(run), beside(run)))
    again = CommitBatch(
        wakes=[Wake(SHARD, run, later, owed=False)],
        activities=[ActivityRow(SHARD, run, 7, 3, later, heartbeat_details=b"[1]", heartbeat_encoding="json")],
        buffered=[BufferedEvent(SHARD, run, 1, b"{}")],
        snapshots=[Snapshot(SHARD, run, 4, 1, b"newer")],
    )
    await store.commit(fence, again)
    stored = await loaded(store, run)
    assert again.activities == stored.activities
    assert again.snapshots[0] == stored.snapshot
    assert again.buffered == stored.buffered
    assert WakeRow(SHARD, run, later, owed=False) == stored.wake


async def test_put_wins_over_removal(store: Store, fence: Fence) -> None:
    """A batch that removes a row and puts one of the same key leaves the one put."""
    run = new_run_id()
    await store.commit(fence, merge(begin(run), beside(run)))
    await store.commit(fence, merge(removals(run), beside(run), CommitBatch(activities_cleared=[RunKey(SHARD, run)])))
    activities, buffered, _, wake, _ = kept(await loaded(store, run))
    assert (1, 1, True) == (activities, buffered, wake)


async def test_unchanged_parts_of_a_visibility_row_stay(store: Store, fence: Fence) -> None:
    """A change without memo, search attributes or new run leaves those that are there."""
    run = new_run_id()
    full = RunChange(SHARD, run, 1, None, 3, new_run_id=run, search_attributes=b'{"city": "Graz"}', memo=b'{"a": 1}')
    await store.commit(fence, merge(begin(run), CommitBatch(changes=[full])))
    await store.commit(fence, CommitBatch(changes=[RunChange(SHARD, run, 2, NOW, 4)]))
    row = await store.execution(SHARD, run)
    assert row is not None
    assert (2, 4, run, b'{"city": "Graz"}', b'{"a": 1}') == (
        row.status,
        row.history_length,
        row.new_run_id,
        row.search_attributes,
        row.memo,
    )
