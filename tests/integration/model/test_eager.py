"""Eager turns as users meet them: not at all, but for speed. The stack replays every history at its end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from perdure.exceptions import WorkflowFailureError
from perdure_proto.tasks import ActivityTask, ActivityTaskCompletion, CompletionResult, EagerTurn
from perdure_worker.eager import EagerTurns
from tests.integration.model.stack import Stack, stack_of
from tests.programs import model_eager as program

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(postgres: str, migrated_template: str) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, 100) as running:
        yield running


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many eager turns were given, and how many of them not taken."""
    counted: Counter[str] = Counter()
    extend, answered = EagerTurns.extend, EagerTurns.answered

    def count_given(
        self: EagerTurns, task: ActivityTask, completion: ActivityTaskCompletion, took: timedelta
    ) -> ActivityTaskCompletion | None:
        extended = extend(self, task, completion, took)
        counted["given"] += extended is not None
        return extended

    def count_refused(self: EagerTurns, run_id: str, turn: EagerTurn, result: CompletionResult) -> None:
        counted["not taken"] += not result.history_size_bytes
        answered(self, run_id, turn, result)

    monkeypatch.setattr(EagerTurns, "extend", count_given)
    monkeypatch.setattr(EagerTurns, "answered", count_refused)
    return counted


async def test_steps_are_eager(stack: Stack, turns: Counter[str]) -> None:
    """Each activity's end carries the next turn; time and length are those that the log has."""
    told = await stack.client.execute_workflow(program.steps, 5, task_queue=stack.task_queue)
    assert (32.0, 33.0) == (told[-2], told[-1])
    assert sorted(told[:5]) == told[:5]
    assert (5, 0) == (turns["given"], turns["not taken"])


async def test_signals_come_between(stack: Stack, turns: Counter[str]) -> None:
    """A signal that arrives while the worker runs ahead is neither lost nor seen too early; queries see the log."""

    async def one(number: int) -> None:
        handle = await stack.client.start_workflow(program.nudged, 8, task_queue=stack.task_queue)
        for value in range(8):
            await handle.signal("nudge", value)
            assert await handle.query("so_far") <= value + 1
        assert (256, list(range(8))) == await handle.result(), number

    await asyncio.gather(*(one(number) for number in range(20)))
    assert turns["not taken"], "no signal met an eager turn"


async def test_local_activities_are_left_alone(stack: Stack, turns: Counter[str]) -> None:
    """A workflow that runs a local activity next gives no eager turn, and is not tried again."""
    assert 64 == await stack.client.execute_workflow(program.with_local, 3, task_queue=stack.task_queue)
    assert 0 == turns["given"]


async def test_a_chain_is_eager(stack: Stack, turns: Counter[str]) -> None:
    """Continue-as-new leaves with the last activity."""
    assert 16 == await stack.client.execute_workflow(program.chained, 4, task_queue=stack.task_queue)
    assert (4, 0) == (turns["given"], turns["not taken"])


async def test_a_failure_is_eager(stack: Stack, turns: Counter[str]) -> None:
    """So does the failure of the workflow."""
    with pytest.raises(WorkflowFailureError):
        await stack.client.execute_workflow(program.failing, task_queue=stack.task_queue)
    assert (1, 0) == (turns["given"], turns["not taken"])
