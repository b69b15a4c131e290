"""Who may have a workflow id: conflict and reuse policies, and starts that are repeated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from perdure.client import WorkflowHandle
from perdure.exceptions import WorkflowAlreadyStartedError, WorkflowFailureError
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_endings as program

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(postgres: str, migrated_template: str) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, 1000) as running:
        yield running


async def start(stack: Stack, workflow_id: str, **options: Any) -> WorkflowHandle[str]:
    return await stack.client.start_workflow(program.waits, id=workflow_id, task_queue=stack.task_queue, **options)


async def closed(stack: Stack, workflow_id: str, how: str) -> None:
    """A workflow of this id that has failed or completed."""
    if how == "failed":
        handle: WorkflowHandle[Any] = await stack.client.start_workflow(
            program.fails, "plain", id=workflow_id, task_queue=stack.task_queue
        )
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    else:
        await stack.client.execute_workflow(
            program.counts_down(0, seen=[]), id=workflow_id, task_queue=stack.task_queue
        )


async def test_an_id_of_a_running_workflow_is_taken(stack: Stack) -> None:
    """By default the second start fails, and names the run that has it."""
    workflow_id = stack.new_id()
    first = await start(stack, workflow_id)
    with pytest.raises(WorkflowAlreadyStartedError) as caught:
        await start(stack, workflow_id)
    assert first.first_execution_run_id == caught.value.run_id


async def test_a_start_can_use_what_runs(stack: Stack) -> None:
    """`use_existing` gives the run that is there."""
    workflow_id = stack.new_id()
    first = await start(stack, workflow_id)
    second = await start(stack, workflow_id, id_conflict_policy="use_existing")
    assert first.first_execution_run_id == second.first_execution_run_id


async def test_a_start_can_end_what_runs(stack: Stack) -> None:
    """`terminate_existing` ends the run that is there and begins another."""
    workflow_id = stack.new_id()
    first = await start(stack, workflow_id)
    second = await start(stack, workflow_id, id_conflict_policy="terminate_existing")
    old = stack.client.get_workflow_handle(workflow_id, run_id=first.first_execution_run_id)
    assert ("TERMINATED", "RUNNING") == ((await old.describe()).status, (await second.describe()).status)


@pytest.mark.parametrize(
    ("policy", "how", "is_allowed"),
    [
        ("allow_duplicate", "completed", True),
        ("allow_duplicate_failed_only", "completed", False),
        ("allow_duplicate_failed_only", "failed", True),
        ("reject_duplicate", "failed", False),
        ("reject_duplicate", "completed", False),
    ],
)
async def test_an_id_of_a_closed_workflow_may_be_used_again(
    stack: Stack, policy: str, how: str, is_allowed: bool
) -> None:
    """As the reuse policy says."""
    workflow_id = stack.new_id()
    await closed(stack, workflow_id, how)
    try:
        await start(stack, workflow_id, id_reuse_policy=policy)
    except WorkflowAlreadyStartedError:
        assert not is_allowed
    else:
        assert is_allowed


async def test_a_repeated_start_gets_its_own_run(stack: Stack) -> None:
    """Whatever has happened since: also when that run has closed and another has the id."""
    workflow_id = stack.new_id()
    first = await start(stack, workflow_id, request_id="first")
    again = await start(stack, workflow_id, request_id="first")
    await first.terminate()
    second = await start(stack, workflow_id, request_id="second")
    late = await start(stack, workflow_id, request_id="first")
    assert first.first_execution_run_id == again.first_execution_run_id == late.first_execution_run_id
    assert first.first_execution_run_id != second.first_execution_run_id
