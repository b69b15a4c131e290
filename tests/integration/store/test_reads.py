"""Conformance: pages of the log, of what is owed and due, of parked tasks; lookups of runs; namespaces; retention."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from perdure_proto.errors import ServiceError
from perdure_server.store.port import (
    Append,
    CommitBatch,
    Fence,
    NamespaceChange,
    Parked,
    ParkedTurn,
    RunChange,
    RunKey,
    Snapshot,
    Store,
    Wake,
    WakeRow,
)
from tests.integration.store.rows import NOW, SHARD, append, begin, events, merge, new_run_id

HOUR = timedelta(hours=1)


async def test_history_pages(store: Store, fence: Fence) -> None:
    """A page begins with the row that holds the event after the given one, and is bounded."""
    run = new_run_id()
    await store.commit(fence, begin(run))
    await store.commit(fence, CommitBatch(appends=[append(run, 1, 3, 5)]))
    await store.commit(fence, CommitBatch(appends=[append(run, 3, 6, 6)]))
    pages = {after: [row.first_event_id for row in await store.history(SHARD, run, after, 2)] for after in (0, 2, 4, 6)}
    assert {0: [1, 3], 2: [3, 6], 4: [3, 6], 6: []} == pages
    assert events(3, 5) == (await store.history(SHARD, run, 2, 1))[0].events


async def test_snapshot_spares_the_rows_before_it(store: Store, fence: Fence) -> None:
    """With a snapshot of the wanted version only later rows are loaded; one of another version is ignored."""
    run = new_run_id()
    await store.commit(fence, begin(run))
    batch = CommitBatch(appends=[append(run, 1, 3, 5)], snapshots=[Snapshot(SHARD, run, 2, 7, b"x")])
    await store.commit(fence, batch)
    same, other = await store.load_run(SHARD, run, 7), await store.load_run(SHARD, run, 8)
    assert same is not None
    assert other is not None
    assert (batch.snapshots[0], [3], 3) == (same.snapshot, [r.first_event_id for r in same.rows], 3)
    assert (None, [1, 3], 3) == (other.snapshot, [r.first_event_id for r in other.rows], other.last_row_first_event_id)


async def test_load_runs_keeps_the_order(store: Store, fence: Fence) -> None:
    """A page of runs comes in the order asked for, without those that do not exist."""
    runs = [new_run_id() for _ in range(3)]
    await store.commit(fence, merge(*(begin(run, f"order-{place}") for place, run in enumerate(runs))))
    wanted = [runs[2], new_run_id(), runs[0]]
    assert [runs[2], runs[0]] == [r.key.run_id for r in await store.load_runs([RunKey(SHARD, w) for w in wanted], 1)]
    assert [] == await store.load_runs([], 1)


async def test_lookups_that_find_nothing(store: Store, fence: Fence) -> None:
    """Unknown ids, also those that are no run ids at all, are simply not there."""
    for run in (new_run_id(), "not-a-run-id"):
        assert await store.load_run(SHARD, run, 1) is None
        assert await store.execution(SHARD, run) is None
        assert [] == await store.history(SHARD, run, 0, 9)
    assert await store.current_run(1, SHARD, "nobody") is None
    assert await store.execution_by_request(1, "nobody", "request") is None


async def test_run_by_request(store: Store, fence: Fence) -> None:
    """The run of a start request is found by its id, also after another run took its place."""
    first, second = new_run_id(), new_run_id()
    await store.commit(fence, begin(first))
    await store.commit(fence, begin(second, replaces=first))
    found = await store.execution_by_request(1, "order-1", f"request-{first}")
    assert found is not None
    assert first == found.run_id


async def test_owed_runs_by_page(store: Store, fence: Fence) -> None:
    """Owed runs of the given shards come by key, page after page; the others do not."""
    runs = sorted(new_run_id() for _ in range(3))
    wakes = [Wake(SHARD, run, None, owed=True) for run in runs]
    wakes += [Wake(SHARD, new_run_id(), NOW, owed=False), Wake(SHARD + 1, new_run_id(), None, owed=True)]
    await store.commit(fence, CommitBatch(wakes=wakes))
    page = await store.owed_runs([SHARD, 99], None, 2)
    rest = await store.owed_runs([SHARD, 99], RunKey(page[-1].shard_id, page[-1].run_id), 2)
    assert [WakeRow(SHARD, run, None, owed=True) for run in runs] == page + rest


async def test_due_runs_by_page(store: Store, fence: Fence) -> None:
    """Due runs of the given shards come by time, after one bound and up to another; who never wakes does not."""
    runs = sorted(new_run_id() for _ in range(4))
    times = [NOW, NOW + HOUR, NOW + HOUR, NOW + 2 * HOUR]
    wakes = [Wake(SHARD, run, at, owed=False) for run, at in zip(runs, times, strict=True)]
    others = [Wake(SHARD, new_run_id(), None, owed=False), Wake(SHARD + 1, new_run_id(), NOW, owed=False)]
    await store.commit(fence, CommitBatch(wakes=[*wakes, *others]))
    assert runs == [row.run_id for row in await store.due_runs([SHARD], (None, NOW + 2 * HOUR), None, 9)]
    assert runs[1:3] == [row.run_id for row in await store.due_runs([SHARD], (NOW, NOW + HOUR), None, 9)]
    page = await store.due_runs([SHARD], (NOW, NOW + 2 * HOUR), None, 1)
    assert runs[2:] == [row.run_id for row in await store.due_runs([SHARD], (NOW, NOW + 2 * HOUR), page[-1], 9)]


async def test_requests_that_closed_runs_took(store: Store, fence: Fence) -> None:
    """Signals and cancel requests of runs that closed since an instant, by request id; newest where there are many."""
    runs = ["", *(new_run_id() for _ in range(3))]
    kinds = ("WorkflowExecutionSignaled", "WorkflowExecutionCancelRequested", "TimerFired")
    taken = b",".join(
        f'{{"event_id":{n},"event_type":"{kind}","request_id":"r{n}"}}'.encode() for n, kind in enumerate(kinds, 3)
    )
    for (before, run), close in zip(pairwise(runs), (NOW - HOUR, NOW, None), strict=True):
        await store.commit(fence, begin(run, replaces=before))
        change = [RunChange(SHARD, run, 2, close, 5)] if close else []
        told = Append(SHARD, run, 1, 3, 5, b"[" + taken + b"]")
        await store.commit(fence, CommitBatch(appends=[told], changes=change))
    assert {"r3": runs[2], "r4": runs[2]} == await store.requests_taken(1, "order-1", NOW, 9)
    assert {"r3": runs[1], "r4": runs[1]} == await store.requests_taken(1, "order-1", NOW - HOUR, 9)
    assert {"r4": runs[2]} == await store.requests_taken(1, "order-1", NOW, 1)
    assert {} == await store.requests_taken(1, "order-2", NOW, 9)


async def test_parked_tasks_by_turn_before_age(store: Store, fence: Fence) -> None:
    """Within a priority the lowest turn comes back first, and of equal turns the one that was parked first."""
    runs = [new_run_id() for _ in range(4)]
    for run, turn in zip(runs, (2.0, 1.5, 1.0, 1.5), strict=True):
        task = Parked(SHARD, run, 5, 1, "orders", "activity", 3, "key", turn)
        await store.commit(fence, CommitBatch(parked=[task]))
    page = await store.parked_tasks((1, "orders", "activity"), [SHARD], 4)
    assert [(runs[2], 1.0), (runs[1], 1.5), (runs[3], 1.5), (runs[0], 2.0)] == [(p.run_id, p.turn) for p in page]


async def test_parked_turns_by_key(store: Store, fence: Fence) -> None:
    """Each fairness key of a queue has its last turn beside the next of its priority; those far ahead come first."""
    rows = ((3, "big", 4.0), (3, "big", 9.0), (3, "small", 5.0), (1, "big", 2.0))
    tasks = [Parked(SHARD, new_run_id(), 5, 1, "orders", "activity", *row) for row in rows]
    other = Parked(SHARD, new_run_id(), 5, 1, "orders", "workflow", 3, "big", 99.0)
    await store.commit(fence, CommitBatch(parked=[*tasks, other]))
    expected = [ParkedTurn(3, "big", 4.0, 9.0), ParkedTurn(3, "small", 4.0, 5.0), ParkedTurn(1, "big", 2.0, 2.0)]
    assert expected == await store.parked_turns((1, "orders", "activity"), [SHARD], 9)
    assert expected[:1] == await store.parked_turns((1, "orders", "activity"), [SHARD], 1)


async def test_parked_tasks_by_priority_then_age(store: Store, fence: Fence) -> None:
    """Parked tasks come back by priority, then in the order in which they were parked; queues are counted."""
    early, late, urgent = new_run_id(), new_run_id(), new_run_id()
    for run, priority in ((late, 3), (early, 3), (urgent, 1)):
        task = Parked(SHARD, run, 5, 1, "orders", "activity", priority)
        await store.commit(fence, CommitBatch(parked=[task]))
    await store.commit(fence, CommitBatch(parked=[Parked(SHARD, early, 6, 1, "orders", "workflow", 3)]))
    await store.commit(fence, CommitBatch(parked=[Parked(SHARD + 1, early, 7, 1, "orders", "activity", 1)]))
    assert [urgent, late] == [task.run_id for task in await store.parked_tasks((1, "orders", "activity"), [SHARD], 2)]
    assert [(1, "orders", "activity", 3), (1, "orders", "workflow", 1)] == await store.parked_queues([SHARD])


async def begin_many(store: Store, fence: Fence, count: int) -> list[str]:
    """Runs that start a minute apart, the newest first; every second one is closed."""
    runs = [new_run_id() for _ in range(count)]
    for place, run in enumerate(runs):
        batch = begin(run, f"order-{place}", at=NOW - timedelta(minutes=place))
        if place % 2:
            batch = merge(batch, CommitBatch(changes=[RunChange(SHARD, run, 2, NOW, 2)]))
        await store.commit(fence, batch)
    return runs


async def test_list_pages(store: Store, fence: Fence) -> None:
    """Pages go from the newest start to the oldest, and the last has no cursor."""
    runs = await begin_many(store, fence, 5)
    seen: list[str] = []
    cursor, pages = "", 0
    while not pages or cursor:
        rows, cursor = await store.list_executions(1, "", cursor, 2)
        seen += [row.run_id for row in rows]
        pages += 1
    assert (runs, 3) == (seen, pages)


async def test_bad_cursor(store: Store) -> None:
    """A cursor that no list returned is refused."""
    with pytest.raises(ServiceError, match="cursor"):
        await store.list_executions(1, "", "bm90IG9uZQ==", 9)


async def test_namespaces(store: Store) -> None:
    """There is a default namespace; a new one is made once."""
    made = await store.create_namespace("shop", "orders", timedelta(days=1))
    assert made is not None
    assert ("shop", "orders", timedelta(days=1)) == (made.name, made.description, made.retention)
    assert await store.create_namespace("shop", "", timedelta(days=2)) is None
    assert ["default", "shop"] == [namespace.name for namespace in await store.namespaces()]


async def test_a_namespace_is_changed(store: Store) -> None:
    """What is given changes, the rest stays; one that is not there is none."""
    limited = await store.update_namespace("default", NamespaceChange(rps_max=50.0))
    assert limited is not None
    assert 50.0 == limited.rps_max
    change = NamespaceChange(description="orders", retention=timedelta(days=1))
    changed = await store.update_namespace("default", change)
    assert changed is not None
    assert ("orders", timedelta(days=1), 50.0) == (changed.description, changed.retention, changed.rps_max)
    assert [changed] == await store.namespaces()
    assert await store.update_namespace("shop", NamespaceChange(rps_max=1.0)) is None


async def test_retention(store: Store, fence: Fence) -> None:
    """Closed runs past retention go with all their rows; open ones, younger ones and owed ones stay."""
    old, young, owed, running = (new_run_id() for _ in range(4))
    now = datetime.now(UTC)
    closed_at = {old: now - timedelta(days=4), young: now - timedelta(days=2), owed: now - timedelta(days=9)}
    batch = merge(*(begin(run, f"order-{run}", at=now - timedelta(days=10)) for run in (old, young, owed, running)))
    changes = [RunChange(SHARD, run, 2, at, 2) for run, at in closed_at.items()]
    wakes = [Wake(SHARD, owed, None, owed=True), Wake(SHARD, old, None, owed=False)]
    await store.commit(fence, merge(batch, CommitBatch(changes=changes, wakes=wakes)))
    assert 1 == await store.delete_expired([SHARD], 10)
    assert (None, []) == (await store.execution(SHARD, old), await store.history(SHARD, old, 0, 9))
    assert await store.current_run(1, SHARD, f"order-{old}") is None
    assert all([await store.load_run(SHARD, run, 1) for run in (young, owed, running)])


async def test_retention_is_bounded(store: Store, fence: Fence) -> None:
    """No more runs than asked for are deleted at once."""
    runs = [new_run_id() for _ in range(3)]
    changes = [RunChange(SHARD, run, 2, NOW - timedelta(days=900), 2) for run in runs]
    await store.commit(fence, merge(*(begin(run, run) for run in runs), CommitBatch(changes=changes)))
    assert [2, 1, 0] == [await store.delete_expired([SHARD], 2) for _ in range(3)]


async def test_replaced_run_expires_alone(store: Store, fence: Fence) -> None:
    """When a former run expires, the current run of its workflow id stays current."""
    first, second = new_run_id(), new_run_id()
    await store.commit(fence, begin(first))
    await store.commit(fence, begin(second, replaces=first))
    await store.commit(fence, CommitBatch(changes=[RunChange(SHARD, first, 2, NOW - timedelta(days=900), 2)]))
    assert 1 == await store.delete_expired([SHARD], 9)
    current = await store.current_run(1, SHARD, "order-1")
    assert current is not None
    assert second == current.run_id
