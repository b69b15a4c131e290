"""Activities without a workflow, as users run them: results, failures, retries, cancellation, lists."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from perdure.client import WorkflowExecutionStatus
from perdure.exceptions import (
    ActivityAlreadyStartedError,
    ActivityFailureError,
    ApplicationError,
    CancelledError,
    ConversionError,
    RPCError,
    TerminatedError,
)
from perdure_proto.errors import Code
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_standalone as program
from tests.programs import signs

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(postgres: str, migrated_template: str) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, [], program.ACTIVITIES, 1000) as running:
        yield running


async def test_a_call_is_run(stack: Stack) -> None:
    """A call with keyword arguments, an activity with positional ones, and a name: each gives its typed result."""
    client, queue = stack.client, stack.task_queue
    assert "HELLO, ADA!" == await client.execute_activity(program.greet("Ada", loud=True), task_queue=queue)
    assert 5 == await client.execute_activity(program.add, 2, 3, task_queue=queue)
    assert 5 == await client.execute_activity("add", 2, 3, result_type=int, task_queue=queue)


async def test_it_knows_that_it_is_alone(stack: Stack) -> None:
    """Its info has its own id and no workflow."""
    activity_id = stack.new_id()
    assert [activity_id, "", ""] == await stack.client.execute_activity(
        program.about, id=activity_id, task_queue=stack.task_queue
    )


async def test_its_failure_is_raised(stack: Stack) -> None:
    """The cause is what the activity raised."""
    with pytest.raises(ActivityFailureError) as caught:
        await stack.client.execute_activity(program.refuses, "closed on Sunday", task_queue=stack.task_queue)
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert ("closed on Sunday", "Refused") == (cause.message, cause.type)


async def test_it_is_tried_again(stack: Stack) -> None:
    """The definition's retry policy holds."""
    assert 2 == await stack.client.execute_activity(program.second_try, task_queue=stack.task_queue)


async def test_it_is_cancelled_while_it_runs(stack: Stack) -> None:
    """A cancel request reaches the running code."""
    handle = await stack.client.start_activity(program.for_ever, task_queue=stack.task_queue)
    while (pending := (await handle.describe()).pending) is None or pending.state != "STARTED":
        pass
    await handle.cancel(reason="enough")
    with pytest.raises(ActivityFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    assert WorkflowExecutionStatus.CANCELED == (await handle.describe()).status


async def test_it_is_terminated(stack: Stack) -> None:
    """Nobody is waited for."""
    handle = await stack.client.start_activity(program.for_ever, task_queue=stack.task_queue)
    await handle.terminate()
    with pytest.raises(ActivityFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, TerminatedError)
    assert "the activity was terminated" == str(caught.value.cause)


async def test_an_id_is_taken_once(stack: Stack) -> None:
    """A second start of a running one is refused, and names the run."""
    activity_id = stack.new_id()
    first = await stack.client.start_activity(program.for_ever, id=activity_id, task_queue=stack.task_queue)
    with pytest.raises(ActivityAlreadyStartedError) as caught:
        await stack.client.start_activity(program.for_ever, id=activity_id, task_queue=stack.task_queue)
    assert (activity_id, "for_ever", first.run_id) == (
        caught.value.activity_id,
        caught.value.activity_type,
        caught.value.run_id,
    )
    await first.terminate()


async def test_they_are_listed_and_counted(stack: Stack) -> None:
    """By id, by type, by status; found again by a handle."""
    activity_id = stack.new_id()
    await stack.client.execute_activity(program.greet, "Ada", id=activity_id, task_queue=stack.task_queue)
    query = f"ActivityId = '{activity_id}' AND ActivityType = 'greet' AND ExecutionStatus = 'Completed'"
    assert [activity_id] == [one.id async for one in stack.client.list_activities(query)]
    assert 1 == (await stack.client.count_activities(query)).count
    assert "Hello, Ada!" == await stack.client.get_activity_handle(activity_id, result_type=str).result()


async def test_what_does_not_fit_is_refused_at_the_call(stack: Stack) -> None:
    """Bad arguments, bad options and what is no activity never leave the client; an unknown id is not found."""
    with pytest.raises(ConversionError):
        await stack.client.start_activity("add", object())
    with pytest.raises(TypeError, match="no option"):
        await stack.client.start_activity(program.greet, "Ada", colour="red")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="is not an activity"):
        await stack.client.start_activity(len, [])  # type: ignore[arg-type]
    with pytest.raises(RPCError) as caught:
        await stack.client.get_activity_handle("nobody").result()
    assert Code.ACTIVITY_NOT_FOUND == caught.value.code


async def test_it_is_ended_from_elsewhere(stack: Stack) -> None:
    """By its own id, with and without its run, or by its token."""
    for by_run in (True, False):
        handle = await stack.client.start_activity(program.leaves, task_queue=stack.task_queue)
        await signs.seen(f"{handle.id} left")
        run_id = handle.run_id if by_run else None
        elsewhere = stack.client.get_async_activity_handle(activity_id=handle.id, run_id=run_id)
        await elsewhere.heartbeat("on it")
        await elsewhere.complete("approved")
        assert "approved" == await handle.result()
        with pytest.raises(RPCError, match="is not pending") as caught:
            await elsewhere.complete("again")
        assert Code.ACTIVITY_NOT_FOUND == caught.value.code


async def test_one_that_is_not_there_says_what_to_give(stack: Stack) -> None:
    """Who forgot the workflow id of a workflow's activity is told."""
    with pytest.raises(RPCError, match="no standalone activity 'nobody': for one of a workflow, give") as caught:
        await stack.client.get_async_activity_handle(activity_id="nobody").complete()
    assert Code.ACTIVITY_NOT_FOUND == caught.value.code
