"""Child workflows as users write them: results, errors, cancellation, and what becomes of them when a parent closes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from perdure import Client
from perdure.client import WorkflowHandle
from perdure.exceptions import (
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    TerminatedError,
    WorkflowFailureError,
)
from perdure.workflow import ChildWorkflowCancellationType, ParentClosePolicy
from perdure_proto import events as ev
from perdure_proto.namespaces import CreateNamespaceRequest, NamespaceInfo
from perdure_worker import Worker
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_children as program
from tests.programs import signs

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


async def begun(stack: Stack, parent: Any, *args: Any) -> tuple[WorkflowHandle[Any], WorkflowHandle[Any]]:
    """A parent and the child of the id that it takes first, which waits."""
    child_id = stack.new_id()
    handle = await stack.client.start_workflow(parent, child_id, *args, task_queue=stack.task_queue)
    await signs.seen(child_id)
    return handle, stack.client.get_workflow_handle(child_id)


async def ends_with(handle: WorkflowHandle[Any], kind: type[BaseException]) -> None:
    """The workflow does not return, for this cause."""
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, kind)


async def test_a_child_can_be_called_in_every_form(stack: Stack) -> None:
    """By call, by start, by name."""
    assert [2, 4, 6, 8] == await stack.client.execute_workflow(program.calls_in_every_form, task_queue=stack.task_queue)


async def test_a_child_runs_on_another_queue(stack: Stack) -> None:
    """Its worker knows its type, and that of the parent need not be there."""
    other = Worker(stack.client, task_queue=program.OTHER_QUEUE, workflows=[program.doubles])
    async with other:
        assert 6 == await stack.client.execute_workflow(program.elsewhere, 3, task_queue=stack.task_queue)


async def test_a_child_runs_in_another_namespace(stack: Stack) -> None:
    """It is reached there by its parent, and its result comes back."""
    namespace, child_id = stack.new_id(), stack.new_id()
    connection = stack.client.service.connection
    await connection.call("POST", f"/api/v1/namespaces/{namespace}", CreateNamespaceRequest(), NamespaceInfo)
    async with (
        await Client.connect(connection.address, namespace=namespace) as there,
        Worker(there, task_queue=stack.task_queue, workflows=[program.waits], activities=program.ACTIVITIES),
    ):
        parent = program.in_namespace(namespace, child_id)
        assert "from afar" == await stack.client.execute_workflow(parent, task_queue=stack.task_queue)
        assert "COMPLETED" == (await there.get_workflow_handle(child_id).describe()).status


async def test_a_child_in_a_namespace_that_is_not_there_cannot_start(stack: Stack) -> None:
    """The cause says so."""
    parent = program.in_namespace("nowhere", stack.new_id())
    result = await stack.client.execute_workflow(parent, task_queue=stack.task_queue)
    assert "NAMESPACE_NOT_FOUND: its namespace was not found" == result


async def test_hundreds_of_children_are_gathered(stack: Stack) -> None:
    """They start in one turn and their results come in any order."""
    count = 300
    handle = await stack.client.start_workflow(program.gathers, count, task_queue=stack.task_queue)
    assert count * (count - 1) == await handle.result()
    events = (await handle.fetch_history()).events
    assert count == sum(isinstance(event, ev.ChildWorkflowExecutionCompleted) for event in events)


async def test_a_child_that_fails_says_why(stack: Stack) -> None:
    """The tree of errors reaches the client, with the names of the child."""
    with pytest.raises(WorkflowFailureError) as caught:
        await stack.client.execute_workflow(program.is_refused, "Final", task_queue=stack.task_queue)
    child_error = caught.value.cause
    assert isinstance(child_error, ChildWorkflowError)
    assert isinstance(child_error.cause, ApplicationError)
    assert ("refuses", "RETRY_POLICY_NOT_SET") == (child_error.workflow_type, child_error.retry_state)
    assert ("Final", (42,)) == (child_error.cause.type, child_error.cause.details)


async def test_a_child_that_takes_too_long_times_out(stack: Stack) -> None:
    """Its run timeout ends it, and the parent goes on."""
    child_id = stack.new_id()
    result = await stack.client.execute_workflow(program.hears_how_it_ended, child_id, 0.5, task_queue=stack.task_queue)
    assert [child_id, "waits", "RETRY_POLICY_NOT_SET", "TimeoutError"] == result


async def test_a_child_that_is_terminated_ends_for_its_parent(stack: Stack) -> None:
    """Somebody terminates it, and the parent goes on."""
    parent, child = await begun(stack, program.hears_how_it_ended, 0.0)
    await child.terminate()
    assert [child.id, "waits", "NON_RETRYABLE_FAILURE", "TerminatedError"] == await parent.result()


async def test_a_child_that_others_cancel_ends_for_its_parent(stack: Stack) -> None:
    """The parent did not ask for it, so it is an error."""
    parent, child = await begun(stack, program.hears_how_it_ended, 0.0)
    await child.cancel()
    assert [child.id, "waits", "NON_RETRYABLE_FAILURE", "CancelledError"] == await parent.result()


async def test_an_id_that_runs_is_taken(stack: Stack) -> None:
    """A running workflow keeps its id, whatever the reuse policy."""
    workflow_id = stack.new_id()
    running = await stack.client.start_workflow(program.lasts, id=workflow_id, task_queue=stack.task_queue)
    parent = program.wants_an_id(workflow_id, "allow_duplicate")
    result = await stack.client.execute_workflow(parent, task_queue=stack.task_queue)
    assert f"{workflow_id} is taken" == result
    await running.terminate()


async def test_an_id_that_was_used_may_be_refused(stack: Stack) -> None:
    """The reuse policy says so, against a closed workflow."""
    workflow_id = stack.new_id()
    results = [
        await stack.client.execute_workflow(program.wants_an_id, workflow_id, policy, task_queue=stack.task_queue)
        for policy in ("allow_duplicate", "allow_duplicate", "reject_duplicate")
    ]
    assert ["mine", "mine", f"{workflow_id} is taken"] == results


async def test_a_parent_signals_its_child(stack: Stack) -> None:
    """The word arrives, and the result comes back."""
    child_id = stack.new_id()
    result = await stack.client.execute_workflow(program.speaks_to_child, child_id, task_queue=stack.task_queue)
    assert "on" == result


@pytest.mark.parametrize("how", ["wait", "signal", "cancel"])
async def test_a_child_that_continues_as_new_is_one_child(stack: Stack, how: str) -> None:
    """Its last run gives the result, and signals and cancels reach it; each run knows the parent."""
    parent, child = await begun(stack, program.follows_a_chain, how)
    if how == "wait":
        await child.signal(program.go, "heard")
    else:
        await parent.signal(program.go, "now")
    assert ("asked to stop" if how == "cancel" else f"heard {parent.id}") == await parent.result()
    types = [type(event) for event in (await parent.fetch_history()).events]
    assert 1 == types.count(ev.ChildWorkflowExecutionStarted)
    assert 1 == types.count(ev.ChildWorkflowExecutionCompleted)


@pytest.mark.parametrize(
    ("how", "ending", "expected", "child_ends"),
    [
        ("wait_cancellation_completed", "raises", "cancelled", CancelledError),
        ("wait_cancellation_completed", "returns", "stopped: enough", None),
        ("wait_cancellation_completed", "fails", "failed: Stuck: could not stop", ApplicationError),
        ("wait_cancellation_requested", "raises", "cancelled", CancelledError),
        ("wait_cancellation_requested", "returns", "cancelled", None),
        ("try_cancel", "raises", "cancelled", CancelledError),
        ("try_cancel", "returns", "cancelled", None),
    ],
)
async def test_a_cancelled_child_is_waited_for_as_its_type_says(
    stack: Stack,
    how: ChildWorkflowCancellationType,
    ending: str,
    expected: str,
    child_ends: type[BaseException] | None,
) -> None:
    """The child hears of it with the reason, and ends as it likes."""
    parent, child = await begun(stack, program.cancels, how, ending)
    await parent.signal(program.go, "enough")
    assert expected == await parent.result()
    if child_ends is not None:
        await ends_with(child, child_ends)
    else:
        assert "stopped: enough" == await child.result()


async def test_an_abandoned_child_hears_of_nothing(stack: Stack) -> None:
    """The wait ends at once, and the child goes on when its parent is closed."""
    parent, child = await begun(stack, program.cancels, "abandon", "raises")
    await parent.signal(program.go, "enough")
    assert "cancelled" == await parent.result()
    await child.signal(program.go, "still here")
    assert "still here" == await child.result()


async def test_a_cancelled_parent_cancels_its_child(stack: Stack) -> None:
    """The reason goes on to the child, and the parent waits for it."""
    parent, _ = await begun(stack, program.is_cancelled)
    await parent.cancel(reason="no longer needed")
    assert "stopped: no longer needed" == await parent.result()


async def test_a_shielded_child_goes_on(stack: Stack) -> None:
    """Its parent is cancelled and can still speak to it."""
    child_id = stack.new_id()
    parent = await stack.client.start_workflow(program.is_cancelled(child_id, shield=True), task_queue=stack.task_queue)
    await signs.seen(child_id)
    await parent.cancel()
    assert "went on" == await parent.result()


async def test_a_child_cancelled_at_once_never_was(stack: Stack) -> None:
    """Nothing of it is in the history."""
    handle = await stack.client.start_workflow(program.cancels_at_once, task_queue=stack.task_queue)
    assert "True" == await handle.result()
    kinds = {type(event) for event in (await handle.fetch_history()).events}
    assert ev.StartChildWorkflowExecutionInitiated not in kinds


POLICIES: list[tuple[ParentClosePolicy, type[BaseException] | None]] = [
    ("terminate", TerminatedError),
    ("request_cancel", CancelledError),
    ("abandon", None),
]


@pytest.mark.parametrize("ending", ["completes", "fails", "continues", "is terminated"])
@pytest.mark.parametrize(("policy", "child_ends"), POLICIES)
async def test_a_parent_that_closes_leaves_its_child_to_its_policy(
    stack: Stack, policy: ParentClosePolicy, child_ends: type[BaseException] | None, ending: str
) -> None:
    """However the parent closes: the child is terminated, asked to stop, or left alone."""
    parent, child = await begun(stack, program.leaves, policy, ending)
    if ending == "is terminated":
        await parent.terminate()
    else:
        await parent.signal(program.go, "now")
    if child_ends is not None:
        await ends_with(child, child_ends)
    else:
        await child.signal(program.go, "outlived it")
        assert "outlived it" == await child.result()


async def test_a_pending_child_is_described(stack: Stack) -> None:
    """A description of the parent shows it, and one of the child names the parent."""
    parent, child = await begun(stack, program.hears_how_it_ended, 0.0)
    (pending,) = (await parent.describe()).pending_children
    assert (child.id, "waits", "terminate") == (
        pending.workflow_id,
        pending.workflow_type,
        pending.parent_close_policy,
    )
    assert parent.id == (await child.describe()).parent_id
    await parent.terminate()
