"""What a workflow tells of itself, as users write it and as operators see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from perdure.client import WorkflowHandle
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_notes as program
from tests.programs.model_notes import go, order, shipment

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


async def until(handle: WorkflowHandle[Any], event_type: str) -> None:
    """Waits for an event of the run."""
    async for event in handle.events(follow=True):
        if event.event_type == event_type:
            return


async def test_lists_and_descriptions_show_what_a_workflow_changed(stack: Stack) -> None:
    """While it runs."""
    handle = await stack.client.start_workflow(
        order, 1, id=stack.new_id(), task_queue=stack.task_queue, memo={"by": "Ada"}, search_attributes={"city": "Graz"}
    )
    await until(handle, "WorkflowPropertiesModified")
    described = await handle.describe()
    query = f"WorkflowId = '{handle.id}'"
    (listed,) = [found async for found in stack.client.list_workflows(query)]
    attributes = {"city": "Graz", "stage": "round 1", "due": "2026-01-02T00:00:00Z"}
    memo = {"by": "Ada", "round 1": {"open": True}}
    assert (attributes, memo) == (described.search_attributes, described.memo)
    assert (attributes, memo) == (listed.search_attributes, listed.memo)
    await handle.terminate()


async def test_what_was_changed_goes_on_with_the_chain(stack: Stack) -> None:
    """The next run has it from its first line on; what was removed is gone."""
    handle = await stack.client.start_workflow(order, 2, id=stack.new_id(), task_queue=stack.task_queue)
    await handle.signal(go)
    await handle.signal(go)
    assert {
        "memo": {"round 2": {"open": True}, "round 1": {"open": True}},
        "search_attributes": {"stage": "round 1"},
    } == await handle.result()
    assert {"stage": "round 1"} == (await handle.describe()).search_attributes


async def test_a_description_shows_what_a_workflow_does(stack: Stack) -> None:
    """As it said last: while it waits, and after it closed, whichever worker has it."""
    handle = await stack.client.start_workflow(
        shipment,
        ["book", "lamp"],
        id=stack.new_id(),
        task_queue=stack.task_queue,
        static_summary="Two things",
        static_details="# For Ada",
    )
    await until(handle, "TimerFired")
    await handle.query("__stack_trace")  # whoever answers has done what was due
    described = await handle.describe()
    assert ("Two things", "# For Ada", "waits for a courier") == (
        described.static_summary,
        described.static_details,
        described.current_details,
    )
    await handle.signal(go)
    assert ["", "packs **book**", "packs **lamp**"] == await handle.result()
    assert "*sent*" == (await handle.describe()).current_details


async def test_summaries_are_in_the_history(stack: Stack) -> None:
    """Of activities and timers, and what the workflow said where it said it."""
    handle = await stack.client.start_workflow(
        shipment, ["book", "lamp"], id=stack.new_id(), task_queue=stack.task_queue
    )
    await handle.signal(go)
    await handle.result()
    events: list[Any] = list((await handle.fetch_history()).events)
    assert ["pack book", "pack lamp", "cools down"] == [
        event.summary for event in events if getattr(event, "summary", "")
    ]
    said = [event.current_details for event in events if event.event_type == "WorkflowTaskCompleted"]
    assert ["packs **book**", "packs **lamp**", "*sent*"] == [each for each in said if each]
