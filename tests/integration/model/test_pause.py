"""Workflows that are paused as users do it, by the handle, under a real worker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from perdure.exceptions import RPCError
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_going_back as program
from tests.programs.model_going_back import add, counts, finish, grow, sleeps, total

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


async def test_a_paused_workflow_takes_signals_and_queries_and_no_updates(stack: Stack) -> None:
    """What it was told before is seen, what it is told meanwhile comes after the pause."""
    handle = await stack.client.start_workflow(counts, id=stack.new_id(), task_queue=stack.task_queue)
    await handle.execute_update(grow, 1)
    await handle.pause(reason="lunch")
    await handle.signal(add, 2)
    with pytest.raises(RPCError) as refused:
        await handle.execute_update(grow, 4)
    assert "WORKFLOW_PAUSED" == refused.value.code
    assert 1 == await handle.query(total)
    assert "PAUSED" == (await handle.describe()).status
    await handle.unpause()
    await handle.signal(finish)
    assert 3 == await handle.result()


async def test_a_timer_does_not_fire_while_the_workflow_is_paused(stack: Stack) -> None:
    """Its time comes later by the length of the pause."""
    handle = await stack.client.start_workflow(sleeps, id=stack.new_id(), task_queue=stack.task_queue)
    await handle.pause()
    async for event in handle.events(follow=True):
        if event.event_type == "WorkflowExecutionPaused":
            break
    await handle.unpause()
    assert "slept" == await handle.result()
    kinds = [event.event_type for event in (await handle.fetch_history()).events]
    assert kinds.index("WorkflowExecutionUnpaused") < kinds.index("TimerFired")


async def test_a_workflow_can_be_paused_before_it_begins(stack: Stack) -> None:
    """It begins when it is unpaused; its queries say so until then."""
    handle = await stack.client.start_workflow(counts, id=stack.new_id(), task_queue="nobody")
    await handle.pause()
    with pytest.raises(RPCError) as refused:
        await handle.query(total)
    assert "WORKFLOW_PAUSED" == refused.value.code
    await handle.cancel()
    await handle.terminate()
