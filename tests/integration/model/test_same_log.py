"""Programs that go through many turns write the same log whether they are kept in memory or replayed in each task.

Each has one stimulus outstanding at a time; what they exercise together is what replays could get wrong: eager turns,
local activities, several runs, messages between turns, wide fan-outs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import pytest_asyncio
from msgspec import Raw

from perdure.exceptions import WorkflowFailureError
from perdure_proto import events as ev
from tests.integration.model.histories import comparable
from tests.integration.model.stack import Stack, one_stimulus, stack_of
from tests.programs import model_eager, model_same_log
from tests.programs.model_same_log import add, close, total

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

WORKFLOWS = [*model_eager.WORKFLOWS, *model_same_log.WORKFLOWS]
ACTIVITIES = [*model_eager.ACTIVITIES, *model_same_log.ACTIVITIES]
FAN_OUT = 1_000


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, WORKFLOWS, ACTIVITIES, request.param) as running:
        yield running


@one_stimulus
@pytest.mark.parametrize(("name", "count", "expected"), [("with_local", 4, 256), ("chained", 5, 32), ("turns", 6, 6)])
async def test_steps_one_after_the_other(stack: Stack, name: str, count: int, expected: int) -> None:
    """Activities, local ones, timers, patches, chance and several runs."""
    assert expected == await stack.client.execute_workflow(name, count, task_queue=stack.task_queue)


@one_stimulus
async def test_a_failure_after_an_activity(stack: Stack) -> None:
    """The eager turn that ends it fails the workflow alike."""
    with pytest.raises(WorkflowFailureError, match="no more"):
        await stack.client.execute_workflow("failing", task_queue=stack.task_queue)


@one_stimulus
async def test_messages_between_turns(stack: Stack) -> None:
    """Updates whose handlers wait, rejections, signals and queries, each after the one before has done its work."""
    handle = await stack.client.start_workflow(model_same_log.ledger, task_queue=stack.task_queue)
    for amount in (1, 2, -1, 3):
        if amount < 0:
            with pytest.raises(Exception, match="negative"):
                await handle.execute_update(add, amount)
        else:
            await handle.execute_update(add, amount)
        await handle.query(total)
    await handle.signal(close)
    assert 6 == await handle.result()


async def test_a_wide_fan_out_comes_to_the_same(stack: Stack) -> None:
    """So many activities at once that each task replays a long history; the order of their ends is chance's."""
    size = stack.fan_out(FAN_OUT)
    assert size == await stack.client.execute_workflow(model_same_log.fans_out, size, task_queue=stack.task_queue)


async def test_only_chance_is_taken_out_of_a_log() -> None:
    """Other ids and times are the same log, another argument is not."""
    run = [started(str(uuid4()), 3), started(str(uuid4()), 3), started(str(uuid4()), 4)]
    first, again, other = (comparable([[one]]) for one in run)
    assert first == again
    assert first != other


def started(run_id: str, argument: int) -> ev.WorkflowExecutionStarted:
    return ev.WorkflowExecutionStarted(
        event_id=1,
        event_time=datetime.now(UTC),
        workflow_id=f"wf-{run_id}",
        workflow_type="turns",
        task_queue="model",
        input=Raw(f"[{argument}]".encode()),
        original_execution_run_id=run_id,
        first_execution_run_id=run_id,
    )
