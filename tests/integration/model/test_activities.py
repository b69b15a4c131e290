"""Activities as users write them: arguments, deadlines, retries, heartbeats, cancellation, local ones."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from perdure.activity import ActivityCancellationType
from perdure.exceptions import ActivityError, ApplicationError, WorkflowFailureError
from tests.integration.model.stack import Stack, one_stimulus, stack_of
from tests.programs import model_activities as program
from tests.programs import signs
from tests.programs.model_activities import Bill, Item

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


@one_stimulus
async def test_arguments_travel_as_they_were_passed(stack: Stack) -> None:
    """Dataclasses, positions, names and defaults arrive, and the result comes back as its type."""
    result = await stack.client.execute_workflow(program.bills, 500, task_queue=stack.task_queue)
    assert Bill([Item("tea", 300), Item("pot", 4200)], 4000, gift=True) == result


async def test_an_activity_can_be_called_in_every_form(stack: Stack) -> None:
    """By its name, as a function in a thread, as a handle, as a method."""
    result = await stack.client.execute_workflow(program.calls_in_every_form, task_queue=stack.task_queue)
    assert ["by name 1", "called 1", "started 1", "5 EUR"] == result


@one_stimulus
async def test_a_failed_attempt_is_tried_again(stack: Stack) -> None:
    """The third attempt gives the result."""
    assert 3 == await stack.client.execute_workflow(program.retries, 3, task_queue=stack.task_queue)


@one_stimulus
@pytest.mark.parametrize(
    ("kind", "non_retryable", "retry_state"),
    [
        ("Often", (), "MAXIMUM_ATTEMPTS_REACHED"),
        ("Final", (), "NON_RETRYABLE_FAILURE"),
        ("Named", ("Named",), "NON_RETRYABLE_FAILURE"),
    ],
)
async def test_an_activity_that_fails_for_good_says_why(
    stack: Stack, kind: str, non_retryable: tuple[str, ...], retry_state: str
) -> None:
    """The tree of errors reaches the client with type, details and the reason why it was not tried again."""
    with pytest.raises(WorkflowFailureError) as caught:
        await stack.client.execute_workflow(program.is_refused, kind, non_retryable, task_queue=stack.task_queue)
    activity_error = caught.value.cause
    assert isinstance(activity_error, ActivityError)
    assert isinstance(activity_error.cause, ApplicationError)
    assert ("refuses", retry_state) == (activity_error.activity_type, activity_error.retry_state)
    assert (kind, (42,)) == (activity_error.cause.type, activity_error.cause.details)


@one_stimulus
async def test_an_error_can_set_the_next_interval(stack: Stack) -> None:
    """`next_retry_delay` goes over a policy that waits for an hour."""
    assert 2 == await stack.client.execute_workflow(program.is_patient, task_queue=stack.task_queue)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("start_to_close", "START_TO_CLOSE MAXIMUM_ATTEMPTS_REACHED"),
        ("schedule_to_close", "SCHEDULE_TO_CLOSE NON_RETRYABLE_FAILURE"),
        ("schedule_to_start", "SCHEDULE_TO_START NON_RETRYABLE_FAILURE"),
        ("heartbeat", "HEARTBEAT MAXIMUM_ATTEMPTS_REACHED"),
    ],
)
async def test_each_deadline_ends_an_activity(stack: Stack, kind: str, expected: str) -> None:
    """The error says which of the four deadlines passed."""
    assert expected == await stack.client.execute_workflow(program.times_out, kind, task_queue=stack.task_queue)


async def test_an_attempt_that_takes_too_long_is_tried_again(stack: Stack) -> None:
    """After `start_to_close` comes the next attempt."""
    result = await stack.client.execute_workflow(program.retries_after_timeout, "start", task_queue=stack.task_queue)
    assert [2] == result


async def test_details_of_a_heartbeat_reach_the_next_attempt(stack: Stack) -> None:
    """An attempt that fell silent is tried again and finds what it last said."""
    result = await stack.client.execute_workflow(
        program.retries_after_timeout, "heartbeat", task_queue=stack.task_queue
    )
    assert [2, 3, 4] == result


@one_stimulus
async def test_no_retry_is_planned_past_the_last_deadline(stack: Stack) -> None:
    """An activity whose next attempt would come too late fails at once."""
    assert "TIMEOUT" == await stack.client.execute_workflow(program.gives_up_in_time, task_queue=stack.task_queue)


@pytest.mark.parametrize(
    ("cancellation_type", "ending", "expected"),
    [
        ("try_cancel", "raises", "cancelled"),
        ("try_cancel", "returns", "cancelled"),
        ("wait_cancellation_completed", "raises", "cancelled"),
        ("wait_cancellation_completed", "returns", "cleaned up"),
    ],
)
async def test_a_cancelled_activity_is_told_at_once(
    stack: Stack, cancellation_type: ActivityCancellationType, ending: str, expected: str
) -> None:
    """The await gives what its cancellation type says, and the activity hears of it without any heartbeat."""
    workflow_id = stack.new_id()
    handle = await stack.client.start_workflow(
        program.cancels, cancellation_type, ending, id=workflow_id, task_queue=stack.task_queue
    )
    await signs.seen(workflow_id)
    await handle.signal(program.go)
    assert [expected, "after 1"] == await handle.result()
    await signs.seen(f"{workflow_id} asked")


async def test_an_abandoned_activity_runs_to_its_end(stack: Stack) -> None:
    """The await ends at once, and nobody tells the activity."""
    workflow_id = stack.new_id()
    handle = await stack.client.start_workflow(
        program.cancels, "abandon", "ends by itself", id=workflow_id, task_queue=stack.task_queue
    )
    await signs.seen(workflow_id)
    await handle.signal(program.go)
    assert ["cancelled", "after 1"] == await handle.result()


@one_stimulus
async def test_a_threaded_activity_can_see_that_it_is_cancelled(stack: Stack) -> None:
    """`is_cancelled` turns true in its thread."""
    workflow_id = stack.new_id()
    handle = await stack.client.start_workflow(program.cancels_a_thread, id=workflow_id, task_queue=stack.task_queue)
    await signs.seen(workflow_id)
    await handle.signal(program.go)
    assert "stopped by itself" == await handle.result()


async def test_an_activity_that_nobody_took_is_cancelled_without_a_worker(stack: Stack) -> None:
    """Waiting for the end of its cancellation does not wait for a worker."""
    handle = await stack.client.start_workflow(program.cancels_what_waits, task_queue=stack.task_queue)
    await handle.signal(program.go)
    assert "cancelled" == await handle.result()


async def test_a_pending_activity_is_described(stack: Stack) -> None:
    """A description shows type, state, attempt and queue of what runs."""
    workflow_id = stack.new_id()
    handle = await stack.client.start_workflow(
        program.cancels, "try_cancel", "raises", id=workflow_id, task_queue=stack.task_queue
    )
    await signs.seen(workflow_id)
    (pending,) = (await handle.describe()).pending_activities
    assert ("cancellable", "STARTED", 1) == (pending.activity_type, pending.state, pending.attempt)
    await handle.terminate()


@one_stimulus
async def test_local_activities_run_in_the_worker_of_their_workflow(stack: Stack) -> None:
    """They are tried again as others are, give their results, and are not run again by a replay."""
    workflow_id = stack.new_id()
    result = await stack.client.execute_workflow(program.works_locally, 3, id=workflow_id, task_queue=stack.task_queue)
    assert [3, 1, 1] == result
    assert 5 == signs.calls[f"{workflow_id} local"]
