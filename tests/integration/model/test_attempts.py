"""Attempts of activities: heartbeat details, delays, deadlines, and cancellation in each state and of each type."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from perdure.activity import ActivityCancellationType
from perdure.client import WorkflowHandle
from perdure_proto.service import PendingActivity
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_attempts as program
from tests.programs import signs
from tests.programs.model_attempts import Where

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]
TYPES: list[ActivityCancellationType] = ["try_cancel", "wait_cancellation_completed", "abandon"]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


async def pending(handle: WorkflowHandle[str]) -> PendingActivity | None:
    """The activity that is pending, once the attempt before is told of."""
    found = (await handle.describe()).pending_activities
    return found[0] if found else None


async def until_backing_off(handle: WorkflowHandle[str]) -> None:
    while (activity := await pending(handle)) is None or activity.state != "BACKING_OFF":
        pass


async def test_an_attempt_goes_on_where_the_last_one_failed(stack: Stack) -> None:
    """Details of heartbeats reach the next attempt, though the last of them waited in the worker."""
    assert [1, 2] == await stack.client.execute_workflow(program.goes_on, task_queue=stack.task_queue)


async def test_an_error_says_when_the_next_attempt_is(stack: Stack) -> None:
    """`next_retry_delay` takes the place of one interval, also when it is 0."""
    for delay in (0.0, 0.05):
        assert 2 == await stack.client.execute_workflow(program.waits_as_told, delay, task_queue=stack.task_queue)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("fails", ["TIMEOUT", "ApplicationError"]),
        ("asks for too long", ["TIMEOUT", "ApplicationError"]),
        ("hangs", ["TIMEOUT", "SCHEDULE_TO_CLOSE", "START_TO_CLOSE"]),
    ],
)
async def test_the_last_deadline_ends_the_retries(stack: Stack, how: str, expected: list[str]) -> None:
    """No attempt is planned past `schedule_to_close`; the error says so, and what went wrong before."""
    assert expected == await stack.client.execute_workflow(program.has_no_time, how, task_queue=stack.task_queue)


@pytest.mark.parametrize(
    ("where", "kind"), list(itertools.product(["unsent", "waiting", "running", "backing off"], TYPES))
)
async def test_an_activity_is_cancelled_in_each_state(
    stack: Stack, where: Where, kind: ActivityCancellationType
) -> None:
    """Before it was sent, while it waits for a worker, while it runs, and between two attempts."""
    handle = await stack.client.start_workflow(
        program.cancels_in, where, kind, id=stack.new_id(), task_queue=stack.task_queue
    )
    if where == "running":
        await signs.seen(f"{handle.id} runs")
    elif where == "backing off":
        await until_backing_off(handle)
    if where != "unsent":
        await handle.signal(program.go)
    assert "cancelled" == await handle.result()


@pytest.mark.parametrize(
    ("ending", "expected"),
    [("fails", "ApplicationError () CANCEL_REQUESTED"), ("returns", "returned returned")],
)
async def test_an_activity_may_end_otherwise_than_it_was_asked(stack: Stack, ending: str, expected: str) -> None:
    """Who waits for the end of a cancellation gets the failure, which is not retried, or the result."""
    handle = await stack.client.start_workflow(
        program.cancels_in,
        "running",
        "wait_cancellation_completed",
        ending,
        id=stack.new_id(),
        task_queue=stack.task_queue,
    )
    await signs.seen(f"{handle.id} runs")
    await handle.signal(program.go)
    assert expected == await handle.result()
