"""Workflows that are reset and reopened as users do it, under a real worker that replays what was copied."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from perdure import WorkflowHandle
from perdure.exceptions import RPCError, TerminatedError, WorkflowFailureError
from perdure_proto import events as ev
from tests.integration.model.stack import Stack, stack_of
from tests.programs import going_back as chains
from tests.programs import model_going_back as program
from tests.programs.model_going_back import add, breaks, counts, finish, grow, parks, two_steps

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    workflows = [*program.WORKFLOWS, *program.BROKEN, *chains.WORKFLOWS]
    activities = [*program.ACTIVITIES, *chains.ACTIVITIES]
    async with stack_of(postgres, migrated_template, workflows, activities, request.param) as running:
        running.replayed = [*program.WORKFLOWS, *chains.WORKFLOWS]
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


async def test_children_before_and_after_the_point(stack: Stack) -> None:
    """That from before goes on for the new run; that from after is closed, and its id is free for the new run's own."""
    handle = await stack.client.start_workflow(chains.goes_back, id=stack.new_id(), task_queue=stack.task_queue)
    point = (await rested_with(handle, 1)).event_id
    await handle.signal("told", "something")
    await rested_with(handle, 2)
    kept, late = (stack.client.get_workflow_handle(f"{handle.id}-{name}") for name in ("kept", "late"))
    before = [(await one.describe()).run_id for one in (kept, late)]
    again = await handle.reset(point)
    await rested_with(again, 2)
    after = [(await one.describe()).run_id for one in (kept, late)]
    assert [True, False] == [one == other for one, other in zip(before, after, strict=True)]
    await again.signal("told", "the end")
    assert ["one", "something", "the end"] == await again.result()


async def rested_with(handle: WorkflowHandle[Any], children: int) -> ev.WorkflowTaskCompleted:
    """The task after the one in which it heard that so many children run."""
    async for event in handle.events(follow=True):
        children -= isinstance(event, ev.ChildWorkflowExecutionStarted)
        if children == 0 and isinstance(event, ev.WorkflowTaskCompleted):
            return event
    raise AssertionError("it ended before")


async def test_an_earlier_run_of_a_chain_is_gone_back_to(stack: Stack) -> None:
    """The run that is current gives way, and what each run was told is told to the new one, and to those after it."""
    handle = await stack.client.start_workflow(chains.hands_on, 1, id=stack.new_id(), task_queue=stack.task_queue)
    await handle.signal("told", "one")
    first = stack.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
    async for _ in first.events(follow=True):
        pass
    again = await first.reset("first")
    await stack.client.get_workflow_handle(handle.id).signal("told", "two")
    assert "two" == await again.result()


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
