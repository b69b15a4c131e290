"""Priorities, fairness and the rate of a queue, under a backlog."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from perdure import Priority
from perdure.client import WorkflowHandle
from perdure.exceptions import RPCError
from perdure_proto.service import DescribeTaskQueueAnswer, StartWorkflowRequest
from perdure_worker import Worker
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_priorities as program

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]
PER_SECOND = 40
BURST = 8
"""A fifth of a second's worth, which may leave at once."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(postgres: str, migrated_template: str) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, 1000) as running:
        yield running


async def flooded(stack: Stack, queue: str, tasks: list[tuple[str, Priority]]) -> WorkflowHandle[int]:
    """A workflow whose activities all wait in a queue that nobody polls yet."""
    handle = await stack.client.start_workflow(program.floods, queue, tasks, task_queue=stack.task_queue)
    path = f"/api/v1/namespaces/default/task-queues/{queue}"
    connection = stack.client.service.connection
    while len(tasks) > (await connection.call("GET", path, None, DescribeTaskQueueAnswer)).activity_backlog:
        pass
    return handle


async def order_of(stack: Stack, queue: str, tasks: list[tuple[str, Priority]]) -> list[str]:
    """What a worker with one slot makes of a backlog."""
    handle = await flooded(stack, queue, tasks)
    async with Worker(stack.client, task_queue=queue, activities=program.ACTIVITIES, max_concurrent_activities=1):
        assert len(tasks) == await handle.result()
    return program.ran[queue]


async def test_the_most_urgent_goes_first(stack: Stack) -> None:
    """From 1 to 5, whenever it came; without a key a task counts as 3; within one it is the first to come."""
    keys = [5, 3, 1, 0, 4, 2, 1, 5]
    tasks = [(f"{key}-{number}", Priority(priority_key=key)) for number, key in enumerate(keys)]
    expected = ["1-2", "1-6", "2-5", "3-1", "0-3", "4-4", "5-0", "5-7"]
    assert expected == await order_of(stack, "urgent", tasks)


async def test_fairness_keys_share_by_weight(stack: Stack) -> None:
    """A tenant with much to do keeps nobody waiting, and one with three times the weight gets three times the turns."""
    big = [(f"big-{number}", Priority(fairness_key="big")) for number in range(24)]
    small = [(f"small-{number}", Priority(fairness_key="small")) for number in range(4)]
    heavy = [(f"heavy-{number}", Priority(fairness_key="heavy", fairness_weight=3.0)) for number in range(12)]
    order = await order_of(stack, "fair", [*big, *small, *heavy])
    shares = Counter(name.partition("-")[0] for name in order[:20])
    assert {"big": 4, "small": 4, "heavy": 12} == shares
    assert [f"big-{number}" for number in range(24)] == [name for name in order if name.startswith("big")]


async def test_priority_goes_before_fairness(stack: Stack) -> None:
    """Keys take turns only within one priority."""
    tasks = [(f"late-{number}", Priority(priority_key=4, fairness_key=f"k{number}")) for number in range(3)]
    tasks += [(f"soon-{number}", Priority(priority_key=2, fairness_key="k")) for number in range(3)]
    order = await order_of(stack, "both", tasks)
    assert ["soon-0", "soon-1", "soon-2", "late-0", "late-1", "late-2"] == order


async def test_an_activity_has_the_priority_of_its_workflow(stack: Stack) -> None:
    """Each field that it does not name itself is inherited, also in the next run of the chain."""
    given = Priority(priority_key=2, fairness_key="tenant", fairness_weight=4.0)
    for own, expected in (
        (None, given),
        (Priority(priority_key=5), Priority(priority_key=5, fairness_key="tenant", fairness_weight=4.0)),
        (Priority(fairness_key="other"), Priority(priority_key=2, fairness_key="other", fairness_weight=4.0)),
    ):
        found = await stack.client.execute_workflow(program.inherits, own, task_queue=stack.task_queue, priority=given)
        assert [given, expected] == found


async def test_a_child_has_the_priority_of_its_parent(stack: Stack) -> None:
    """Where it names no part of it itself; so have its activities."""
    given = Priority(priority_key=2, fairness_key="tenant", fairness_weight=4.0)
    found = await stack.client.execute_workflow(program.in_a_child, task_queue=stack.task_queue, priority=given)
    assert [Priority(priority_key=2, fairness_key="child", fairness_weight=4.0)] * 2 == found


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Priority(priority_key=6), "between 1 and 5"),
        (Priority(priority_key=-1), "between 1 and 5"),
        (Priority(fairness_key="k" * 65), "at most 64 bytes"),
        (Priority(fairness_key="a\nb"), "control characters"),
        (Priority(fairness_weight=-0.5), "positive number"),
    ],
)
async def test_a_bad_priority_is_refused(stack: Stack, bad: Priority, words: str) -> None:
    """At the call, by the service, and for an activity."""
    with pytest.raises(ValueError, match=words):
        await stack.client.start_workflow(program.inherits, None, task_queue=stack.task_queue, priority=bad)
    with pytest.raises(ValueError, match=words):
        program.note.with_options(priority=bad)
    request = StartWorkflowRequest(workflow_type="inherits", priority=bad)
    with pytest.raises(RPCError, match="INVALID_ARGUMENT") as caught:
        await stack.client.service.start(stack.new_id(), request)
    assert words in caught.value.message


async def test_the_queue_keeps_a_rate_for_all_its_workers(stack: Stack) -> None:
    """Two workers with many slots together start no more in a second than the queue lets go."""
    count = 60
    handle = await flooded(stack, "slow", [(str(number), Priority()) for number in range(count)])
    began = time.monotonic()
    worker = {"task_queue": "slow", "activities": program.ACTIVITIES}
    async with (
        Worker(stack.client, **worker, max_task_queue_activities_per_second=PER_SECOND),  # type: ignore[arg-type]
        Worker(stack.client, **worker),  # type: ignore[arg-type]
    ):
        assert count == await handle.result()
    took = time.monotonic() - began
    assert (count - BURST) / PER_SECOND <= took
