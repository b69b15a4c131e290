"""Each of asyncio's ways to wait, in a workflow on a real server, cached and replayed from the start."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.model.stack import Stack, one_stimulus, stack_of
from tests.programs import model_asyncio as program

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


@pytest.mark.parametrize("name", sorted(program.EXPECTED.keys() - program.ONE_STIMULUS))
async def test_it_is_durable_and_deterministic(stack: Stack, name: str) -> None:
    """The outcome is that of plain asyncio, whether the workflow was kept in memory or not."""
    await has_outcome(stack, name)


@one_stimulus
@pytest.mark.parametrize("name", sorted(program.ONE_STIMULUS))
async def test_it_writes_the_same_log(stack: Stack, name: str) -> None:
    """Where chance does not decide what comes first, the log is the same too."""
    await has_outcome(stack, name)


async def has_outcome(stack: Stack, name: str) -> None:
    expected = program.EXPECTED[name]
    assert expected == await stack.client.execute_workflow(name, id=stack.new_id(), task_queue=stack.task_queue)
