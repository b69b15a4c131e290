"""Workflows that signal and cancel others: what arrives, in which order, and what cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from perdure.client import WorkflowHandle
from perdure_proto import events as ev
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_children as program
from tests.programs import signs

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

NOT_FOUND = "EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND"
BOTH = pytest.mark.parametrize("what", ["signal", "cancel"])


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def other(stack: Stack) -> AsyncIterator[WorkflowHandle[str]]:
    """A workflow that waits; it is closed at the end."""
    workflow_id = stack.new_id()
    handle = await stack.client.start_workflow(program.waits, "returns", id=workflow_id, task_queue=stack.task_queue)
    await signs.seen(workflow_id)
    yield handle
    if (await handle.describe()).status == "RUNNING":
        await handle.terminate()


async def told(stack: Stack, workflow_id: str, what: str, run_id: str | None = None) -> str:
    """What a workflow that tells another one something hears back."""
    result: str = await stack.client.execute_workflow(
        "tells", workflow_id, what, run_id, task_queue=stack.task_queue, result_type=str
    )
    return result


@BOTH
async def test_what_is_sent_arrives(stack: Stack, other: WorkflowHandle[str], what: str) -> None:
    """A signal with its value, a cancel with its reason, and both with the sender in the receiver's history."""
    assert "there" == await told(stack, other.id, what)
    assert ("told" if what == "signal" else "stopped: told") == await other.result()
    kinds = (ev.WorkflowExecutionSignaled, ev.WorkflowExecutionCancelRequested)
    (event,) = [event for event in (await other.fetch_history()).events if isinstance(event, kinds)]
    assert event.external_workflow_id


@BOTH
async def test_one_run_can_be_meant(stack: Stack, other: WorkflowHandle[str], what: str) -> None:
    """The run that runs takes it, one that never was does not."""
    assert NOT_FOUND == await told(stack, other.id, what, "0192f0c0-0000-7000-8000-000000000009")
    assert "there" == await told(stack, other.id, what, (await other.describe()).run_id)


@BOTH
async def test_a_workflow_that_never_was_is_not_found(stack: Stack, what: str) -> None:
    """The error says so, and the sender goes on."""
    assert NOT_FOUND == await told(stack, stack.new_id(), what)


@BOTH
async def test_a_workflow_that_is_closed_is_not_found(stack: Stack, other: WorkflowHandle[str], what: str) -> None:
    """As one that never was."""
    await other.terminate()
    assert NOT_FOUND == await told(stack, other.id, what)


@BOTH
async def test_nobody_reaches_itself(stack: Stack, what: str) -> None:
    """Temporal's rule."""
    result = await stack.client.execute_workflow("tells_itself", what, task_queue=stack.task_queue, result_type=str)
    assert NOT_FOUND == result


@BOTH
async def test_the_child_of_another_can_be_reached(stack: Stack, what: str) -> None:
    """By its id, as any workflow."""
    child_id = stack.new_id()
    parent = await stack.client.start_workflow(program.is_cancelled, child_id, task_queue=stack.task_queue)
    await signs.seen(child_id)
    assert "there" == await told(stack, child_id, what)
    assert ("told" if what == "signal" else "stopped: told") == await parent.result()


async def test_signals_arrive_in_the_order_in_which_they_were_sent(stack: Stack) -> None:
    """Hundreds at once, each exactly once."""
    count = 300
    receiver = await stack.client.start_workflow(program.collects, count, task_queue=stack.task_queue)
    await stack.client.execute_workflow(program.counts, receiver.id, count, task_queue=stack.task_queue)
    assert list(range(count)) == await receiver.result()
