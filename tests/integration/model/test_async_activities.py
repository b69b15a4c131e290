"""Activities that are ended from elsewhere, by token and by ids."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from perdure.client import AsyncActivityHandle
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    AsyncActivityCancelledError,
    RPCError,
    WorkflowFailureError,
)
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_async as program
from tests.programs import signs

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]
QUESTIONS = 120
"""More than a worker has slots."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


async def by_token(stack: Stack, workflow_id: str, attempt: int = 1) -> AsyncActivityHandle:
    """A handle to an attempt that has left its worker."""
    await signs.seen(f"{workflow_id} {attempt}")
    return stack.client.get_async_activity_handle(task_token=program.tokens[workflow_id])


async def beat_for_ever(activity: AsyncActivityHandle) -> None:
    while True:
        await activity.heartbeat()


async def test_a_token_completes_an_activity(stack: Stack) -> None:
    """What is given to the handle is what the workflow gets."""
    handle = await stack.client.start_workflow(program.asks, "well?", id=stack.new_id(), task_queue=stack.task_queue)
    activity = await by_token(stack, handle.id)
    await activity.complete("yes")
    assert "yes" == await handle.result()
    with pytest.raises(RPCError, match="TASK_NOT_FOUND"):
        await activity.complete("no")


async def test_ids_complete_an_activity(stack: Stack) -> None:
    """Without any token, with or without a run id."""
    for run_id in (True, False):
        handle = await stack.client.start_workflow(
            program.asks, "well?", id=stack.new_id(), task_queue=stack.task_queue
        )
        await by_token(stack, handle.id)
        activity = stack.client.get_async_activity_handle(
            workflow_id=handle.id, run_id=handle.first_execution_run_id if run_id else None, activity_id="the-question"
        )
        await activity.heartbeat()
        await activity.complete("yes")
        assert "yes" == await handle.result()
        with pytest.raises(RPCError, match="ACTIVITY_NOT_FOUND"):
            await activity.heartbeat()


async def test_what_has_left_takes_no_slot(stack: Stack) -> None:
    """More activities than slots and threads wait at once, and all are completed."""
    handle = await stack.client.start_workflow(
        program.asks_in_threads, QUESTIONS, id=stack.new_id(), task_queue=stack.task_queue
    )
    for number in range(QUESTIONS):
        await signs.seen(f"{handle.id} question {number}")
    for number in range(QUESTIONS):
        activity = stack.client.get_async_activity_handle(workflow_id=handle.id, activity_id=f"q-{number}")
        await activity.complete(f"answer {number}")
    assert [f"answer {number}" for number in range(QUESTIONS)] == await handle.result()


async def test_a_failure_is_tried_again(stack: Stack) -> None:
    """The next attempt runs in the worker, with the details of the last heartbeat."""
    handle = await stack.client.start_workflow(program.asks, "well?", id=stack.new_id(), task_queue=stack.task_queue)
    activity = await by_token(stack, handle.id)
    await activity.heartbeat("heard it")
    await activity.fail(RuntimeError("nobody at home"))
    assert "well? heard it 2" == await handle.result()


async def test_a_failure_can_be_the_last(stack: Stack) -> None:
    """An `ApplicationError` that is not to be retried reaches the workflow as it was given."""
    handle = await stack.client.start_workflow(program.asks, "well?", id=stack.new_id(), task_queue=stack.task_queue)
    activity = await by_token(stack, handle.id)
    await activity.fail(ApplicationError("never", 42, type="Never", non_retryable=True))
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    error = caught.value.cause
    assert isinstance(error, ActivityError)
    assert isinstance(error.cause, ApplicationError)
    assert ("Never", (42,), "NON_RETRYABLE_FAILURE") == (error.cause.type, error.cause.details, error.retry_state)


async def test_a_cancel_request_is_heard_at_the_heartbeat(stack: Stack) -> None:
    """The heartbeat raises; the report then ends the await of the workflow."""
    handle = await stack.client.start_workflow(
        program.asks_until_cancelled, id=stack.new_id(), task_queue=stack.task_queue
    )
    activity = await by_token(stack, handle.id)
    with pytest.raises(RPCError, match="INVALID_ARGUMENT"):
        await activity.report_cancellation()
    await handle.signal(program.go)
    with pytest.raises(AsyncActivityCancelledError):
        await beat_for_ever(activity)
    await activity.report_cancellation("tidied up")
    assert "cancelled" == await handle.result()


async def test_the_deadlines_go_on(stack: Stack) -> None:
    """Without heartbeats the attempt ends by its heartbeat timeout."""
    result = await stack.client.execute_workflow(program.asks_in_vain, task_queue=stack.task_queue)
    assert "TimeoutError MAXIMUM_ATTEMPTS_REACHED" == result


async def test_a_standalone_activity_leaves_too(stack: Stack) -> None:
    """It has no workflow, but a token as any other."""
    handle = await stack.client.start_activity(program.ask, "well?", id=stack.new_id(), task_queue=stack.task_queue)
    activity = await by_token(stack, handle.id)
    await activity.heartbeat()
    await activity.complete("yes")
    assert "yes" == await handle.result()


async def test_a_local_activity_cannot_leave(stack: Stack) -> None:
    """It fails for good, and says what to do."""
    result = await stack.client.execute_workflow(program.leaves_out_of_place, task_queue=stack.task_queue)
    assert "a local activity cannot be completed from elsewhere: call it as a normal one" == result
