"""Workflows that are reset and reopened as users do it, under a real worker that replays what was copied."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from perdure.exceptions import RPCError, TerminatedError, WorkflowFailureError
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_going_back as program
from tests.programs.model_going_back import add, breaks, counts, finish, grow, parks, two_steps

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    workflows = [*program.WORKFLOWS, *program.BROKEN]
    async with stack_of(postgres, migrated_template, workflows, program.ACTIVITIES, request.param) as running:
        running.replayed = program.WORKFLOWS
        yield running


@pytest.fixture
def bug() -> Iterator[None]:
    """The code is broken until somebody repairs it."""
    program.repair(broken=True)
    yield
    program.repair()


async def test_back_to_before_an_activity(stack: Stack) -> None:
    """What was done before stays, chance takes another course after, and later signals are told again."""
    handle = await stack.client.start_workflow(two_steps, id=stack.new_id(), task_queue=stack.task_queue)
    await handle.signal("told", "something")
    before = await handle.result()
    again = await handle.reset(activity_id="2", reason="once more")
    after = await again.result()
    assert (before[0], before[2], before[3]) == (after[0], after[2], after[3])
    assert before[1] != after[1]
    done = [event for event in (await again.fetch_history()).events if event.event_type == "ActivityTaskCompleted"]
    assert 2 == len(done)


async def test_updates_and_signals_are_told_again(stack: Stack) -> None:
    """The new run comes to the same sum; the old one is terminated."""
    handle = await stack.client.start_workflow(counts, id=stack.new_id(), task_queue=stack.task_queue)
    await handle.execute_update(grow, 1, id="u")
    await handle.signal(add, 2)
    again = await handle.reset("first")
    with pytest.raises(WorkflowFailureError) as ended:
        await handle.result()
    assert isinstance(ended.value.cause, TerminatedError)
    assert 3 == await again.execute_update(grow, 1, id="u"), "it came with the signal, and after it"
    await again.signal(finish)
    assert 3 == await again.result()


async def test_what_is_excluded_is_not_told_again(stack: Stack) -> None:
    """The new run does not know of the signals."""
    handle = await stack.client.start_workflow(counts, id=stack.new_id(), task_queue=stack.task_queue)
    await handle.execute_update(grow, 1)
    await handle.signal(add, 2)
    again = await handle.reset("first", reapply=["update"])
    await again.signal(finish)
    assert 1 == await again.result()


@pytest.mark.usefixtures("bug")
async def test_a_failed_workflow_goes_on_with_repaired_code(stack: Stack) -> None:
    """In a new run, and what was done is not done again."""
    handle = await stack.client.start_workflow(breaks, id=stack.new_id(), task_queue=stack.task_queue)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    program.repair()
    again = await handle.reopen()
    assert "begun" == await again.result()
    kinds = [event.event_type for event in (await again.fetch_history()).events]
    assert 1 == kinds.count("ActivityTaskScheduled")


@pytest.mark.usefixtures("bug")
async def test_a_parked_workflow_is_tried_at_once(stack: Stack) -> None:
    """The same run goes on, before its backoff is over."""
    handle = await stack.client.start_workflow(parks, id=stack.new_id(), task_queue=stack.task_queue)
    async for event in handle.events(follow=True):
        if event.event_type == "WorkflowTaskFailed":
            break
    program.repair()
    await handle.reopen()
    assert "begun" == await handle.result()


async def test_what_neither_failed_nor_fails_is_not_reopened(stack: Stack) -> None:
    """It says so, with a code of its own."""
    handle = await stack.client.start_workflow(counts, id=stack.new_id(), task_queue=stack.task_queue)
    with pytest.raises(RPCError) as refused:
        await handle.reopen()
    assert "NOTHING_TO_REOPEN" == refused.value.code
    await handle.terminate()
    with pytest.raises(RPCError) as refused:
        await handle.reopen()
    assert "NOTHING_TO_REOPEN" == refused.value.code


@pytest.mark.usefixtures("bug")
async def test_an_id_in_use_again_is_not_taken(stack: Stack) -> None:
    """The failed run stays as it is, and so does the one that has its id now."""
    workflow_id = stack.new_id()
    handle = await stack.client.start_workflow(breaks, id=workflow_id, task_queue=stack.task_queue)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    failed = stack.client.get_workflow_handle(workflow_id, run_id=handle.result_run_id)
    other = await stack.client.start_workflow(counts, id=workflow_id, task_queue=stack.task_queue)
    with pytest.raises(RPCError) as refused:
        await failed.reopen()
    assert "WORKFLOW_ALREADY_STARTED" == refused.value.code
    await other.signal(finish)
    assert 0 == await other.result()
