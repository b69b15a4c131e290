"""How workflows end: results, failures, deadlines, cancellation, termination, continue-as-new, and parking."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from perdure.client import WorkflowHandle
from perdure.exceptions import (
    ApplicationError,
    CancelledError,
    PerdureError,
    TerminatedError,
    WorkflowContinuedAsNewError,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
)
from perdure.exceptions import (
    TimeoutError as PerdureTimeoutError,
)
from perdure_worker import Worker
from tests.integration.model.stack import Stack, one_stimulus, stack_of
from tests.programs import model_endings as program
from tests.programs import signs

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

MOMENT = timedelta(seconds=0.2)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


async def until(handle: WorkflowHandle[Any], event_type: str) -> None:
    """Follow a history up to an event of this type."""
    async for event in handle.events(follow=True):
        if event.event_type == event_type:
            return


@one_stimulus
@pytest.mark.parametrize(("kind", "error_type"), [("plain", "ValueError"), ("Mine", "Mine")])
async def test_an_exception_fails_the_workflow(stack: Stack, kind: str, error_type: str) -> None:
    """The client gets its type and message."""
    with pytest.raises(WorkflowFailureError) as caught:
        await stack.client.execute_workflow(program.fails, kind, task_queue=stack.task_queue)
    assert isinstance(caught.value.cause, ApplicationError)
    assert error_type == caught.value.cause.type


@one_stimulus
async def test_a_workflow_with_a_retry_policy_runs_again(stack: Stack) -> None:
    """Each attempt is a run of the same chain, and the client gets the result of the last."""
    handle = await stack.client.start_workflow(
        program.fails_at_first, task_queue=stack.task_queue, retry_policy=program.QUICK
    )
    assert 3 == await handle.result()


@one_stimulus
async def test_a_retry_policy_has_an_end(stack: Stack) -> None:
    """After the last attempt the failure is the client's."""
    policy = msgspec.structs.replace(program.QUICK, maximum_attempts=2)
    with pytest.raises(WorkflowFailureError, match="attempt 2"):
        await stack.client.execute_workflow(program.fails_at_first, task_queue=stack.task_queue, retry_policy=policy)


@pytest.mark.parametrize("deadline", ["run_timeout", "execution_timeout"])
async def test_a_workflow_times_out(stack: Stack, deadline: str) -> None:
    """The deadline of the run, and of the whole chain."""
    handle = await stack.client.start_workflow("waits", task_queue=stack.task_queue, **{deadline: MOMENT})  # type: ignore[call-overload]
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, PerdureTimeoutError)


async def test_a_terminated_workflow_ends_at_once(stack: Stack) -> None:
    """Its code runs no more, and the reason reaches who waits."""
    handle = await stack.client.start_workflow(program.waits, task_queue=stack.task_queue)
    await handle.terminate(reason="enough")
    with pytest.raises(WorkflowFailureError, match="enough") as caught:
        await handle.result()
    assert isinstance(caught.value.cause, TerminatedError)


@one_stimulus
async def test_a_cancelled_workflow_may_clean_up(stack: Stack) -> None:
    """An activity runs after the request, and the workflow is closed as cancelled."""
    workflow_id = stack.new_id()
    handle = await stack.client.start_workflow(program.cleans_up, "leaves", id=workflow_id, task_queue=stack.task_queue)
    await until(handle, "TimerStarted")
    await handle.cancel(reason="no longer needed")
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    assert ("CANCELED", 1) == ((await handle.describe()).status, signs.calls[f"{workflow_id} cleaned"])


@pytest.mark.parametrize(
    ("kind", "expected"), [("stays", "stayed"), ("shields", "finished in spite of no longer needed")]
)
async def test_a_workflow_may_complete_though_it_was_cancelled(stack: Stack, kind: str, expected: str) -> None:
    """It takes the request as advice, or shields what must be done."""
    workflow_id = stack.new_id()
    handle = await stack.client.start_workflow(program.cleans_up, kind, id=workflow_id, task_queue=stack.task_queue)
    await until(handle, "TimerStarted")
    await handle.cancel(reason="no longer needed")
    assert expected == await handle.result()


@one_stimulus
async def test_continue_as_new_goes_on_in_new_runs(stack: Stack) -> None:
    """Arguments go from run to run, and the client follows them to the result."""
    handle = await stack.client.start_workflow(program.counts_down(3, seen=[]), task_queue=stack.task_queue)
    assert [3, 2, 1] == await handle.result()
    with pytest.raises(WorkflowContinuedAsNewError):
        await handle.result(follow_runs=False)


async def test_signals_that_were_not_taken_go_on_to_the_next_run(stack: Stack) -> None:
    """None is lost, and they keep their order."""
    handle = await stack.client.start_workflow(program.takes_one_a_run, 5, [], task_queue=stack.task_queue)
    for number in range(5):
        await handle.signal(program.items, number)
    assert [0, 1, 2, 3, 4] == await handle.result()


async def test_an_update_under_way_does_not_hang_when_its_run_ends(stack: Stack) -> None:
    """Its caller is told that the run went on without it."""
    handle = await stack.client.start_workflow(program.leaves_an_update, 1, task_queue=stack.task_queue)
    with pytest.raises((WorkflowUpdateFailedError, PerdureError)):
        await handle.execute_update(program.slow_update)
    assert 2 == await handle.result()


async def test_an_update_of_an_earlier_run_is_not_run_again(stack: Stack) -> None:
    """Its id gives the first answer, though the workflow has continued as new since."""
    handle = await stack.client.start_workflow(program.tells_its_run, 1, task_queue=stack.task_queue)
    first = await handle.execute_update(program.which_run, id="u-1")
    again = await handle.execute_update(program.which_run, id="u-1")
    other = await handle.execute_update(program.which_run, id="u-2")
    await handle.signal(program.items, 1)
    assert (1, 1, 2, 2) == (first, again, other, await handle.result())


async def test_a_parked_workflow_goes_on_once_it_is_repaired(stack: Stack) -> None:
    """A program error fails the task and not the workflow; a worker with other code goes on from there."""
    queue = f"parking-{stack.new_id()}"
    handle = await stack.client.start_workflow("repaired", 7, task_queue=queue, result_type=int)
    async with Worker(stack.client, task_queue=queue, workflows=[program.broken], activities=[program.note]):
        await until(handle, "WorkflowTaskFailed")
        described = await handle.describe()
    assert "RUNNING" == described.status
    assert described.pending_workflow_task is not None
    assert described.pending_workflow_task.last_failure is not None
    assert "nothing" in described.pending_workflow_task.last_failure.message
    async with Worker(stack.client, task_queue=queue, workflows=[program.repaired], activities=[program.note]):
        async with asyncio.timeout(5):
            assert 7 == await handle.result()


async def test_a_workflow_knows_itself(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    """Chance and time are the same on every replay, and the logger speaks once."""
    caplog.set_level(logging.INFO)
    handle = await stack.client.start_workflow(program.knows_itself, task_queue=stack.task_queue, memo={"color": "red"})
    result = await handle.result()
    assert ("knows_itself", "model", {"color": "red"}, True) == (
        result["type"],
        result["queue"],
        result["memo"],
        result["waited"],
    )
    assert 8 == len(set(result["values"]))
    said = [one for one in caplog.records if one.getMessage().startswith("said once") and handle.id in str(vars(one))]
    assert 1 == len(said)
