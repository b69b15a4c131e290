"""Activities in processes, called by workflows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.model.stack import Stack, stack_of
from tests.programs import in_processes as program
from tests.programs.in_processes import Point

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


async def test_a_workflow_calls_them_as_any_other(stack: Stack) -> None:
    """Also as local activities."""
    assert [Point(2, 1), Point(3, 4)] == await stack.client.execute_workflow(
        program.mirrors, task_queue=stack.task_queue
    )


@pytest.mark.parametrize("how", ["killed", "exits"])
async def test_a_crash_is_tried_again(stack: Stack, how: str, tmp_path: Path) -> None:
    """The second attempt gives the result."""
    marker = str(tmp_path / "crashed")
    assert 2 == await stack.client.execute_workflow(program.crashes_once, how, marker, task_queue=stack.task_queue)


async def test_a_process_is_cancelled(stack: Stack, tmp_path: Path) -> None:
    """The activity sleeps for hours; the workflow that waits for its end gets it at once."""
    marker = tmp_path / "pid"
    handle = await stack.client.start_workflow(
        program.cancels, str(marker), id=stack.new_id(), task_queue=stack.task_queue
    )
    while (await handle.describe()).pending_activities[0:1] == () or not marker.exists():
        pass
    await handle.signal(program.go)
    assert "cancelled" == await handle.result()
