"""Sagas as users write them: what is undone, and how the workflow ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from perdure.client import WorkflowHandle
from perdure.exceptions import ActivityError, ApplicationError, CancelledError, WorkflowFailureError
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_sagas as program
from tests.programs.model_sagas import trip

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


async def start(stack: Stack, *parts: str) -> WorkflowHandle[list[str]]:
    return await stack.client.start_workflow(trip, list(parts), id=stack.new_id(), task_queue=stack.task_queue)


async def failure(handle: WorkflowHandle[Any]) -> BaseException:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    return caught.value.cause


async def undone(handle: WorkflowHandle[Any]) -> list[str]:
    events: list[Any] = list((await handle.fetch_history()).events)
    return [event.summary for event in events if getattr(event, "summary", "")]


async def test_a_trip_that_works_out_is_kept(stack: Stack) -> None:
    """Nothing is undone."""
    handle = await start(stack, "hotel", "car")
    assert ["hotel", "car"] == await handle.result()
    assert [] == await undone(handle)


async def test_a_trip_that_fails_is_undone_backwards(stack: Stack) -> None:
    """The step that failed included; the workflow fails with its error."""
    handle = await start(stack, "hotel", "car", "full")
    cause = await failure(handle)
    assert isinstance(cause, ActivityError)
    assert isinstance(cause.cause, ApplicationError)
    assert "Full" == cause.cause.type
    assert ["undo full", "undo car", "undo hotel"] == await undone(handle)


async def test_a_cancelled_trip_is_undone(stack: Stack) -> None:
    """And closes as cancelled."""
    handle = await start(stack, "hotel", "slow")
    async for event in handle.events(follow=True):
        if event.event_type == "ActivityTaskScheduled" and b"slow" in bytes(event.attributes["input"]):
            break
    await handle.cancel()
    assert isinstance(await failure(handle), CancelledError)
    assert ["undo slow", "undo hotel"] == await undone(handle)
    assert "CANCELED" == (await handle.describe()).status


async def test_what_cannot_be_undone_is_told(stack: Stack) -> None:
    """The others are undone; the error names the compensation, and has the first error below it."""
    handle = await start(stack, "hotel", "stuck", "full")
    cause = await failure(handle)
    assert isinstance(cause, ApplicationError)
    assert "ExceptionGroup" == cause.type
    assert "1 of 3 compensations failed: give_back: " in str(cause)
    assert isinstance(cause.cause, ActivityError)
    assert ["undo full", "undo stuck", "undo hotel"] == await undone(handle)
