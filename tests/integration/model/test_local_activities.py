"""Local activities: longer than a task, longer pauses, mixed with others, cancelled; and nothing runs twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from perdure.activity import ActivityCancellationType
from perdure.client import WorkflowHandle
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_local as program
from tests.programs import signs

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]
SHORT = timedelta(seconds=1)
"""A workflow task's time, in which no local activity of a test has to end."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


async def kinds_of(handle: WorkflowHandle[Any]) -> list[str]:
    return [event.event_type for event in (await handle.fetch_history()).events]


async def test_one_may_outlast_several_tasks(stack: Stack) -> None:
    """The task is completed and asked for again before its time is over; the activity runs once."""
    handle = await stack.client.start_workflow(
        program.outlasts_its_task, 2.5, id=stack.new_id(), task_queue=stack.task_queue, task_timeout=SHORT
    )
    assert "took its time" == await handle.result()
    assert 1 == signs.calls[f"{handle.id} takes"]
    events = await kinds_of(handle)
    assert "WorkflowTaskTimedOut" not in events
    assert 3 <= events.count("WorkflowTaskCompleted")


async def test_a_long_pause_is_a_timer(stack: Stack) -> None:
    """Each pause is a marker and a timer in history, and each attempt runs once, replays or not."""
    handle = await stack.client.start_workflow(program.is_patient, 3, id=stack.new_id(), task_queue=stack.task_queue)
    assert 3 == await handle.result()
    assert [1, 1, 1] == [signs.calls[f"{handle.id} attempt {attempt}"] for attempt in (1, 2, 3)]
    events = await kinds_of(handle)
    assert (3, 2, 2) == tuple(events.count(kind) for kind in ("MarkerRecorded", "TimerStarted", "TimerFired"))


@pytest.mark.parametrize(
    ("how", "expected", "attempts"),
    [
        ("attempts", "MAXIMUM_ATTEMPTS_REACHED Named: no", 3),
        ("type", "NON_RETRYABLE_FAILURE Named: no", 1),
        ("time", "TIMEOUT Named: no", 1),
    ],
)
async def test_one_that_fails_for_good_says_why(stack: Stack, how: str, expected: str, attempts: int) -> None:
    """Attempts used up, a type that is not retried, no time left."""
    handle = await stack.client.start_workflow(program.gives_up, how, id=stack.new_id(), task_queue=stack.task_queue)
    assert expected == await handle.result()
    assert attempts == signs.calls[f"{handle.id} fails"]


async def test_local_ones_mix_with_others(stack: Stack) -> None:
    """Gathered with normal activities, in a thread or not, each runs once."""
    handle = await stack.client.start_workflow(program.mixes, id=stack.new_id(), task_queue=stack.task_queue)
    turns = range(program.TURNS)
    assert [value * turn for turn in turns for value in (2, 2, 3, 3)] == await handle.result()
    assert {2} == {signs.calls[f"{handle.id} {kind} {turn}"] for turn in turns for kind in ("doubled", "threaded")}


@pytest.mark.parametrize(
    ("kind", "what", "expected"),
    [
        ("try_cancel", "coroutine", "cancelled"),
        ("try_cancel", "thread", "cancelled"),
        ("wait_cancellation_completed", "coroutine", "cancelled"),
        ("abandon", "coroutine", "cancelled"),
    ],
)
async def test_one_that_runs_is_cancelled(
    stack: Stack, kind: ActivityCancellationType, what: str, expected: str
) -> None:
    """The await ends as its cancellation type says, and unless it is abandoned the activity is stopped."""
    handle = await stack.client.start_workflow(
        program.cancels, kind, what, id=stack.new_id(), task_queue=stack.task_queue, task_timeout=SHORT
    )
    await signs.seen(f"{handle.id} hangs")
    await handle.signal(program.go)
    assert expected == await handle.result()
    await signs.seen(f"{handle.id} stopped")  # an abandoned one with its workflow


@pytest.mark.parametrize("kind", ["try_cancel", "wait_cancellation_completed", "abandon"])
async def test_one_that_pauses_is_cancelled(stack: Stack, kind: ActivityCancellationType) -> None:
    """Between two attempts nobody runs it: the timer is cancelled, and the workflow goes on at once."""
    handle = await stack.client.start_workflow(
        program.cancels, kind, "pauses", id=stack.new_id(), task_queue=stack.task_queue
    )
    while "TimerStarted" not in await kinds_of(handle):
        pass
    await handle.signal(program.go)
    assert "cancelled" == await handle.result()
    assert "TimerCanceled" in await kinds_of(handle)
