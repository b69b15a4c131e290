"""Order and shares of what is parked in the database: by priority, by turn of the fairness keys, by age."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest_asyncio

from perdure_proto import commands as c
from perdure_proto.options import Priority
from tests.engine import Cluster, OneServer, Worker

WINDOW = 4


@pytest_asyncio.fixture
async def small(cluster: Cluster) -> AsyncIterator[OneServer]:
    """A server whose queues hold four tasks."""
    yield await cluster.server(queue_window_max=WINDOW)


async def start(server: OneServer, key: str, count: int, *, weight: float = 1, priority: int = 3) -> None:
    """Start so many workflows under a fairness key, one after the other."""
    for n in range(count):
        options = Priority(priority_key=priority, fairness_key=key, fairness_weight=weight)
        await server.start(f"{key}-{n}", priority=options)
    await server.settle()


async def serve(server: OneServer, count: int, session: str = "worker-1") -> list[str]:
    """The keys of the next tasks that a worker gets one by one and ends."""
    worker, served = Worker(server, session), []
    for _ in range(count):
        task = await worker.workflow_task()
        served.append(task.workflow_id)
        await worker.answer(task, c.CompleteWorkflowExecution())
    return served


async def quiet(server: OneServer) -> None:
    """Wait until no page is under way."""
    queue = server.engine.matching._queues.get("default", "default")
    while any(kind.refilling for kind in queue.kinds):
        await server.settle()
    await server.settle()


def keys(served: list[str]) -> list[str]:
    return [each.partition("-")[0] for each in served]


async def test_a_backlog_of_one_key_does_not_keep_another(small: OneServer) -> None:
    """A key that has ten windows parked keeps another waiting for no more than a window and its turns."""
    await start(small, "big", 10 * WINDOW)
    await start(small, "small", 6)
    served = keys(await serve(small, 3 * WINDOW + 2 * 6))
    assert 6 == served.count("small")


async def test_parked_keys_share_by_weight(small: OneServer) -> None:
    """Of what is parked a key of weight 3 gets three turns for each one of weight 1."""
    await start(small, "first", WINDOW)
    await start(small, "light", 6 * WINDOW)
    await start(small, "heavy", 6 * WINDOW, weight=3)
    served = keys(await serve(small, 6 * WINDOW))[2 * WINDOW :]
    shares = Counter(served)
    assert 11 <= shares["heavy"] <= 13
    assert 4 * WINDOW == shares["heavy"] + shares["light"]


async def test_priority_goes_before_turn(small: OneServer) -> None:
    """What is urgent comes back first, however many turns its key has had, and in the order of its key."""
    await start(small, "big", 4 * WINDOW)
    await start(small, "late", 1)
    await start(small, "urgent", 8, priority=1)
    served = await serve(small, 5 * WINDOW)
    urgent = [each for each in served if each.startswith("urgent")]
    assert [f"urgent-{n}" for n in range(8)] == urgent
    assert served.index("urgent-7") < served.index("late-0")


async def test_turns_outlive_the_server(cluster: Cluster, small: OneServer) -> None:
    """A new owner brings parked tasks back in the same turns, and gives a key that was parked later no place before."""
    await start(small, "big", 8 * WINDOW)
    await start(small, "small", 8)
    await serve(small, WINDOW)
    await quiet(small)
    await small.die()
    before = await cluster.rows("select run_id, turn from parked")
    successor = await cluster.restart(small, queue_window_max=WINDOW)
    assert set(await cluster.rows("select run_id, turn from parked")) <= set(before)
    await start(successor, "late", 2)
    served = keys(await serve(successor, 3 * WINDOW + 2 * 8 + 3 * 2, "worker-2"))
    assert (8, 2) == (served.count("small"), served.count("late"))
    assert "small" in served[: 3 * WINDOW]


async def test_turns_outlive_eviction(small: OneServer) -> None:
    """Runs whose parked task has left memory with them come back in their turn, all of them."""
    await start(small, "big", 6 * WINDOW)
    await start(small, "small", 6)
    await small.sweep()
    await small.sweep()
    served = await serve(small, 6 * WINDOW + 6)
    assert 6 == keys(served)[: 3 * WINDOW + 2 * 6].count("small")
    assert 6 * WINDOW + 6 == len(set(served))


async def test_new_tasks_do_not_keep_parked_ones_out(small: OneServer) -> None:
    """While workflows of one key come as fast as they are served, parked tasks of another come back all the same."""
    await start(small, "storm", WINDOW)
    await start(small, "small", 6)
    worker, served = Worker(small), []
    for n in range(8 * WINDOW):
        await small.start(f"storm-{WINDOW + n}", priority=Priority(fairness_key="storm"))
        await small.settle()
        task = await worker.workflow_task()
        served.append(task.workflow_id)
        await worker.answer(task, c.CompleteWorkflowExecution())
    assert 6 == keys(served).count("small")


TURNS = "select workflow_id, turn from parked join executions using (group_id, shard_id, run_id)"


async def turns(cluster: Cluster, key: str) -> list[float]:
    """The turns of what is parked under a fairness key."""
    rows = await cluster.rows(TURNS)
    return sorted(turn for workflow_id, turn in rows if workflow_id.startswith(f"{key}-"))


async def test_a_new_owner_goes_on_with_the_turns(cluster: Cluster, small: OneServer) -> None:
    """What is parked after a restart comes behind what its key had parked, and not before what waits already."""
    await start(small, "big", 8 * WINDOW)
    await serve(small, 3 * WINDOW)
    await quiet(small)
    await small.die()
    waiting = await turns(cluster, "big")
    successor = await cluster.restart(small, queue_window_max=WINDOW)
    await quiet(successor)
    waiting = [turn for turn in waiting if turn in await turns(cluster, "big")]
    await start(successor, "late", 1)
    for n in range(2):
        await successor.start(f"big-more-{n}", priority=Priority(fairness_key="big"))
    await successor.settle()
    assert [*waiting, waiting[-1] + 1, waiting[-1] + 2] == await turns(cluster, "big")
    assert [waiting[0] + 1] == await turns(cluster, "late")


async def test_a_key_that_is_parked_late_has_no_credit(cluster: Cluster, small: OneServer) -> None:
    """A key that comes when much of another was served starts where that one is, not where it began."""
    await start(small, "big", 8 * WINDOW)
    await serve(small, 4 * WINDOW)
    await quiet(small)
    await start(small, "late", 1)
    assert (await turns(cluster, "big"))[0] <= (await turns(cluster, "late"))[0]


async def test_a_task_that_comes_back_in_vain_keeps_its_turn(cluster: Cluster, small: OneServer) -> None:
    """A page that does not fit is parked again as it was, and has had no turns."""
    await start(small, "big", 3 * WINDOW)
    before = await cluster.rows(f"{TURNS} order by turn")
    await small.api.handout.refill("default", "default", "workflow", 2 * WINDOW)
    await small.settle()
    assert before == await cluster.rows(f"{TURNS} order by turn")
    await start(small, "late", 1)
    assert [1.0] == await turns(cluster, "late")


async def test_a_queue_that_parks_nothing_has_no_clock(cluster: Cluster, small: OneServer) -> None:
    """When all has come back and a page was empty, memory holds nothing of it."""
    await start(small, "big", 2 * WINDOW)
    await serve(small, 2 * WINDOW)
    assert [] == await cluster.rows("select 1 from parked")
    await quiet(small)
    await small.api.handout.refill("default", "default", "workflow", WINDOW)
    await small.api.handout.refill("default", "default", "workflow", WINDOW)
    assert {} == small.engine.parking._clocks
