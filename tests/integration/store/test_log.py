"""Conformance: the chain, the fence and the claims of workflow ids."""

from __future__ import annotations

import itertools

import pytest

from perdure_server.store.port import CommitBatch, Fence, FenceLostError, RunChange, Store, Wake
from tests.integration.store.rows import NOW, SHARD, append, begin, merge, new_run_id


async def test_append_continues_the_chain(store: Store, fence: Fence) -> None:
    """An append that names the last row and begins one event after it lands."""
    run = new_run_id()
    await store.commit(fence, begin(run))
    result = await store.commit(fence, CommitBatch(appends=[append(run, 1, 3, 4)]))
    assert (True, {run}) == (result.fence_held, result.accepted)
    assert [(1, 2), (3, 4)] == [
        (row.first_event_id, row.last_event_id) for row in await store.history(SHARD, run, 0, 9)
    ]


@pytest.mark.parametrize(
    ("previous", "first"),
    [(1, 4), (1, 2), (3, 3), (2, 3), (9, 10)],
    ids=["gap", "overlap", "itself", "inside", "ahead"],
)
async def test_broken_chain_is_refused(store: Store, fence: Fence, previous: int, first: int) -> None:
    """An append whose predecessor is missing, or does not end one event before it, is refused, alone."""
    run, other = new_run_id(), new_run_id()
    await store.commit(fence, merge(begin(run), begin(other, "order-2")))
    broken = append(run, previous, first, first + 1)
    result = await store.commit(fence, CommitBatch(appends=[broken, append(other, 1, 3, 3)]))
    assert (True, {other}) == (result.fence_held, result.accepted)
    assert 1 == len(await store.history(SHARD, run, 0, 9))


async def test_second_append_after_the_same_event_is_refused(store: Store, fence: Fence) -> None:
    """Of two appends after the same row, by a cache that was stale, the later is refused whatever its length."""
    run = new_run_id()
    await store.commit(fence, begin(run))
    assert {run} == (await store.commit(fence, CommitBatch(appends=[append(run, 1, 3, 5)]))).accepted
    for last in (3, 5, 7):
        assert set() == (await store.commit(fence, CommitBatch(appends=[append(run, 1, 3, last)]))).accepted


async def test_lost_commits_are_noticed(store: Store, fence: Fence) -> None:
    """An append to a run that the store has forgotten, as after a failover, is refused."""
    run = new_run_id()
    assert set() == (await store.commit(fence, CommitBatch(appends=[append(run, 1, 3, 4)]))).accepted


async def test_stale_epoch_writes_nothing(store: Store, fence: Fence) -> None:
    """After the epoch was raised a commit under the old one is refused as a whole, rows without events included."""
    run, other = new_run_id(), new_run_id()
    await store.commit(fence, begin(run))
    await store.raise_epoch(fence)
    batch = merge(
        begin(other, "order-2"), CommitBatch(appends=[append(run, 1, 3, 3)], wakes=[Wake(SHARD, run, NOW, owed=True)])
    )
    result = await store.commit(fence, batch)
    assert (False, set()) == (result.fence_held, result.accepted)
    assert not (await store.commit(fence, CommitBatch(wakes=[Wake(SHARD, run, NOW, owed=True)]))).fence_held
    stored = await store.load_run(SHARD, run, 1)
    assert stored is not None
    assert (1, None) == (len(stored.rows), stored.wake)
    assert await store.execution(SHARD, other) is None
    assert await store.current_run(1, SHARD, "order-2") is None


async def test_empty_batch_confirms_the_fence(store: Store, fence: Fence) -> None:
    """A batch without rows says whether the fence is held, and so does a confirmation."""
    assert (await store.commit(fence, CommitBatch())).fence_held
    raised = await store.raise_epoch(fence)
    assert not (await store.commit(fence, CommitBatch())).fence_held
    assert (False, True) == (await store.confirm_fence(fence), await store.confirm_fence(raised))


async def test_own_raise_fails_after_another(store: Store, fence: Fence) -> None:
    """Whoever was taken over cannot raise the epoch that it no longer has."""
    taken = await store.take_fence(fence.server)
    assert fence.epoch + 1 == taken.epoch
    with pytest.raises(FenceLostError):
        await store.raise_epoch(fence)
    assert await store.confirm_fence(taken)


async def test_fences_are_apart(store: Store, fence: Fence) -> None:
    """Raising one server's epoch leaves another's alone."""
    await store.take_fence("server-2")
    assert await store.confirm_fence(fence)


async def test_second_start_loses(store: Store, fence: Fence) -> None:
    """A start of a workflow id that has a run leaves nothing behind, and the first run stays current."""
    first, second = new_run_id(), new_run_id()
    await store.commit(fence, begin(first))
    batch = merge(begin(second), CommitBatch(wakes=[Wake(SHARD, second, NOW, owed=True)]))
    result = await store.commit(fence, batch)
    assert (True, set()) == (result.fence_held, result.accepted)
    current = await store.current_run(1, SHARD, "order-1")
    assert current is not None
    assert first == current.run_id
    assert await store.load_run(SHARD, second, 1) is None
    assert [] == await store.history(SHARD, second, 0, 9)
    assert [] == await store.owed_runs([SHARD], None, 9)


async def test_one_of_two_starts_in_a_batch_wins(store: Store, fence: Fence) -> None:
    """Two starts of one workflow id in one batch: exactly one is accepted, and it is the current run."""
    result = await store.commit(fence, merge(begin(new_run_id()), begin(new_run_id())))
    current = await store.current_run(1, SHARD, "order-1")
    assert current is not None
    assert {current.run_id} == result.accepted


async def test_repeated_start_is_refused(store: Store, fence: Fence) -> None:
    """The same batch sent again changes nothing."""
    run = new_run_id()
    await store.commit(fence, begin(run))
    assert set() == (await store.commit(fence, begin(run))).accepted


async def test_start_replaces_a_closed_run(store: Store, fence: Fence) -> None:
    """A start that names the current run takes its place; one that names a former run does not."""
    first, second, late = new_run_id(), new_run_id(), new_run_id()
    await store.commit(fence, begin(first))
    assert {second} == (await store.commit(fence, begin(second, replaces=first))).accepted
    assert set() == (await store.commit(fence, begin(late, replaces=first))).accepted
    current = await store.current_run(1, SHARD, "order-1")
    assert current is not None
    assert second == current.run_id


async def test_continue_as_new_in_one_batch(store: Store, fence: Fence) -> None:
    """The closing append of a run and the start that replaces it land together."""
    first, second = new_run_id(), new_run_id()
    await store.commit(fence, begin(first))
    closing = CommitBatch(
        appends=[append(first, 1, 3, 3)], changes=[RunChange(SHARD, first, 6, NOW, 3, new_run_id=second)]
    )
    assert {first, second} == (await store.commit(fence, merge(closing, begin(second, replaces=first)))).accepted
    closed = await store.execution(SHARD, first)
    assert closed is not None
    assert (6, NOW, second) == (closed.status, closed.close_time, closed.new_run_id)


async def test_replacement_depends_on_the_closing_append(store: Store, fence: Fence) -> None:
    """If the closing append is refused, the run that would replace it does not begin."""
    first, second = new_run_id(), new_run_id()
    await store.commit(fence, begin(first))
    closing = CommitBatch(appends=[append(first, 1, 4, 4)])
    assert set() == (await store.commit(fence, merge(closing, begin(second, replaces=first)))).accepted
    current = await store.current_run(1, SHARD, "order-1")
    assert current is not None
    assert first == current.run_id


async def test_chain_of_runs_in_one_batch(store: Store, fence: Fence) -> None:
    """A run that starts, continues as new and does so again in one batch leaves three runs, the last one current."""
    runs = [new_run_id() for _ in range(3)]
    changes = [RunChange(SHARD, run, 6, NOW, 2, new_run_id=after) for run, after in itertools.pairwise(runs)]
    batch = merge(
        begin(runs[0]), begin(runs[1], replaces=runs[0]), begin(runs[2], replaces=runs[1]), CommitBatch(changes=changes)
    )
    assert set(runs) == (await store.commit(fence, batch)).accepted
    current = await store.current_run(1, SHARD, "order-1")
    rows = [await store.execution(SHARD, run) for run in runs]
    assert current is not None
    assert runs[2] == current.run_id
    assert [6, 6, 1] == [row.status for row in rows if row is not None]


async def test_chain_of_runs_that_loses(store: Store, fence: Fence) -> None:
    """If the first start of such a chain loses, none of its runs exists."""
    winner, first, second = (new_run_id() for _ in range(3))
    await store.commit(fence, begin(winner))
    assert set() == (await store.commit(fence, merge(begin(first), begin(second, replaces=first)))).accepted
    assert [None, None] == [await store.execution(SHARD, run) for run in (first, second)]


async def test_read_back_finds_what_landed(store: Store, fence: Fence) -> None:
    """Reading a batch back tells the appends that are in the log, whole, from those that are not."""
    run, other = new_run_id(), new_run_id()
    await store.commit(fence, merge(begin(run), begin(other, "order-2")))
    assert {run} == await store.read_back([(SHARD, run, 1, 2), (SHARD, other, 1, 3), (SHARD, other, 3, 4)])
    assert set() == await store.read_back([])
