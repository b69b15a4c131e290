"""Starts that carry a signal, as users write them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_messages as program
from tests.programs.model_messages import Approval, account, approve, items

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


async def test_a_workflow_starts_with_its_signal(stack: Stack) -> None:
    """A handler takes it as it takes any."""
    decided = await stack.client.execute_workflow(
        account, 10, task_queue=stack.task_queue, start_signal=approve(Approval(by="Ada", ok=True))
    )
    assert "10 approved by Ada" == decided


async def test_every_start_adds_a_signal(stack: Stack) -> None:
    """The first makes the workflow, the others find it; a channel has all in order."""
    workflow_id = stack.new_id()
    handles = [
        await stack.client.start_workflow(
            program.mailbox, 3, 0.0, id=workflow_id, task_queue=stack.task_queue, start_signal=items(number)
        )
        for number in range(3)
    ]
    assert [[0, 1, 2]] * 3 == [await handle.result() for handle in handles]


async def test_a_signal_goes_by_name(stack: Stack) -> None:
    """With its arguments beside it."""
    found = await stack.client.execute_workflow(
        "mailbox", 1, 0.0, task_queue=stack.task_queue, start_signal="items", start_signal_args=[7]
    )
    assert [7] == found
