"""Eager turns on the worker's side: when one is given, what it says, and what becomes of the run."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from perdure import activity, workflow
from perdure_proto.codec import decode_commands
from perdure_proto.commands import CompleteWorkflowExecution, ScheduleActivityTask
from perdure_proto.errors import Code, ServiceError
from perdure_proto.events import ActivityTaskScheduled, AnyEvent
from perdure_proto.tasks import (
    ActivityTask,
    ActivityTaskCompletion,
    AnyCompletion,
    CompletionResult,
    EagerTurn,
    QueryDelivery,
    QueryTask,
    WorkflowTaskCompletion,
)
from perdure_worker import eager
from tests.unit.worker.histories import after_activity, first_events, turn
from tests.unit.worker.wired import NOW, activity_task
from tests.unit.worker.workers import Serving, serving

TAKEN = CompletionResult(history_size_bytes=900)


@activity.defn(start_to_close_timeout=timedelta(seconds=10))
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@workflow.defn
async def twice(name: str) -> str:
    return await greet(await greet(name))


@workflow.defn
async def thrice(name: str) -> str:
    return await greet(await greet(await greet(name)))


@workflow.defn
async def at_once(name: str) -> str:
    return "".join(await asyncio.gather(greet(name), greet(name)))


@workflow.defn
async def then_locally(name: str) -> str:
    return await greet.local(await greet(name))


EVERYTHING: dict[str, Any] = {"workflows": [twice, thrice, at_once, then_locally], "activities": [greet]}
AFTER_ONE = after_activity("greet", b'"Hello, Ada!"')


def task(token: str, number: int = 1, argument: bytes = b'["Ada"]', kind: str = "twice") -> ActivityTask:
    return activity_task(token, activity_id=str(number), input=Raw(argument), workflow_type=kind)


async def begin(one: Serving, kind: str = "twice") -> None:
    """The first turn, done: the run is cached and waits for what it scheduled."""
    await one.give(turn("t1", first_events(kind, b'["Ada"]')))
    assert isinstance(await one.next_completion(), WorkflowTaskCompletion)


def second_step() -> list[AnyEvent]:
    """What follows the second turn, as `AFTER_ONE` follows the first."""
    ids = ("event_id", "scheduled_event_id", "started_event_id", "workflow_task_completed_event_id")
    moved = [
        msgspec.structs.replace(event, **{name: getattr(event, name) + 6 for name in ids if hasattr(event, name)})
        for event in AFTER_ONE
    ]
    assert isinstance(moved[1], ActivityTaskScheduled)
    return [moved[0], msgspec.structs.replace(moved[1], activity_id="2"), *moved[2:]]


def turn_of(completion: AnyCompletion) -> EagerTurn:
    assert isinstance(completion, ActivityTaskCompletion)
    assert completion.turn is not None
    return completion.turn


async def test_a_result_carries_the_turn_to_which_it_leads() -> None:
    """What the workflow asks for next leaves with the result, as of the event that scheduled the activity."""
    async with serving(**EVERYTHING) as one:
        await begin(one)
        await one.give(task("a"))
        carried = turn_of(await one.next_completion())
        (command,) = decode_commands(carried.commands)
        assert isinstance(command, ScheduleActivityTask)
        assert ("2", b'["Hello, Ada!"]') == (command.activity_id, bytes(command.input))
        assert (5, 0) == (carried.last_event_id, carried.history_size_bytes)
        assert NOW <= carried.started_at < NOW + timedelta(seconds=5)


async def test_steps_follow_each_other() -> None:
    """The second turn goes on where the first, once taken, ended, and is told the size that the service gave."""
    async with serving(**EVERYTHING) as one:
        await begin(one)
        await one.give(task("a"))
        (await one.service.responds.get()).results(TAKEN)
        await one.give(task("b", 2, b'["Hello, Ada!"]'))
        carried = turn_of(await one.next_completion())
        assert (11, 900) == (carried.last_event_id, carried.history_size_bytes)
        assert [CompleteWorkflowExecution(result=Raw(b'"Hello, Hello, Ada!!"'))] == decode_commands(carried.commands)


async def test_the_next_activity_says_that_a_turn_was_taken() -> None:
    """It may arrive before the answer; that answer then changes nothing."""
    async with serving(**EVERYTHING) as one:
        await begin(one)
        await one.give(task("a"))
        first = await one.service.responds.get()
        await one.give(task("b", 2, b'["Hello, Ada!"]'))
        second = await one.service.responds.get()
        first.results(TAKEN)
        assert 11 == turn_of(second.request.completions[0]).last_event_id
        second.results(TAKEN)


async def test_a_turn_that_is_not_taken_evicts_the_run() -> None:
    """The next task brings little: the history is fetched, for what was in memory is not in the log."""
    async with serving(**EVERYTHING) as one:
        await begin(one)
        await one.give(task("a"))
        (await one.service.responds.get()).results(CompletionResult())
        one.service.histories["w"] = [[*first_events("twice", b'["Ada"]'), *AFTER_ONE[:5]]]
        await one.give(turn("t2", AFTER_ONE, workflow_type="twice", previous_started_event_id=3))
        assert isinstance(await one.next_completion(), WorkflowTaskCompletion)
        assert 1 == one.service.histories_read


async def test_a_run_to_which_news_come_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each turn that is not taken costs a replay, so the next activities end as always; then it is tried again."""
    monkeypatch.setattr(eager, "SKIPPED_AFTER_REFUSAL", 1)
    first = first_events("thrice", b'["Ada"]')
    async with serving(**EVERYTHING) as one:
        await begin(one, "thrice")
        await one.give(task("a", kind="thrice"))
        (await one.service.responds.get()).results(CompletionResult())
        await one.give(turn("t2", [*first, *AFTER_ONE], workflow_type="thrice", previous_started_event_id=3))
        await one.next_completion()
        await one.give(task("b", 2, b'["Hello, Ada!"]', kind="thrice"))
        skipped = await one.next_completion()
        assert isinstance(skipped, ActivityTaskCompletion)
        assert skipped.turn is None
        await one.give(turn("t3", second_step(), workflow_type="thrice", previous_started_event_id=9))
        await one.next_completion()
        await one.give(task("c", 3, kind="thrice"))
        assert 17 == turn_of(await one.next_completion()).last_event_id


async def test_a_refused_completion_evicts_the_run() -> None:
    """The activity was closed by somebody else: what it would have led to did not happen."""
    async with serving(**EVERYTHING) as one:
        await begin(one)
        await one.give(task("a"))
        (await one.service.responds.get()).results(CompletionResult(code=Code.TASK_NOT_FOUND))
        one.service.histories["w"] = [[*first_events("twice", b'["Ada"]'), *AFTER_ONE[:5]]]
        await one.give(turn("t2", AFTER_ONE, workflow_type="twice", previous_started_event_id=3))
        await one.next_completion()
        assert 1 == one.service.histories_read


async def test_a_run_that_is_ahead_takes_no_task() -> None:
    """A task that comes before the answer is run on the log, not on what may not be taken; so is a query."""
    query = QueryTask(
        token="q",
        workflow_id="w",
        run_id="r",
        workflow_type="twice",
        last_event_id=5,
        queries=(QueryDelivery(query_id="q", query_name="__stack_trace"),),
    )
    async with serving(**EVERYTHING) as one:
        await begin(one)
        await one.give(task("a"))
        waiting = await one.service.responds.get()
        one.service.histories["w"] = [[*first_events("twice", b'["Ada"]'), *AFTER_ONE[:2]]]
        await one.give(query)
        await one.next_completion()
        assert 1 == one.service.histories_read
        waiting.results(TAKEN)


async def test_only_a_workflow_that_waits_for_nothing_else_runs_ahead() -> None:
    """With two activities pending, either may end first."""
    async with serving(**EVERYTHING) as one:
        await begin(one, "at_once")
        await one.give(task("a", kind="at_once"))
        assert ActivityTaskCompletion(token="a", result=Raw(b'"Hello, Ada!"')) == await one.next_completion()


async def test_an_activity_of_a_run_that_is_not_cached_ends_as_always() -> None:
    """Another worker has the workflow."""
    async with serving(**EVERYTHING) as one:
        await one.give(task("a"))
        assert ActivityTaskCompletion(token="a", result=Raw(b'"Hello, Ada!"')) == await one.next_completion()


async def test_a_workflow_that_goes_on_locally_is_left_alone() -> None:
    """A local activity must not run on what may not be taken; such a type is not tried twice."""
    async with serving(**EVERYTHING) as one:
        for number in range(2):
            await one.give(turn(f"t{number}", first_events("then_locally", b'["Ada"]'), run_id=f"r{number}"))
            await one.next_completion()
            ended = activity_task(
                f"a{number}", run_id=f"r{number}", workflow_type="then_locally", input=Raw(b'["Ada"]')
            )
            await one.give(ended)
            completion = await one.next_completion()
            assert ActivityTaskCompletion(token=f"a{number}", result=Raw(b'"Hello, Ada!"')) == completion


async def test_a_defect_in_running_ahead_does_not_cost_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The activity ends as always, and the run is replayed from the log."""

    def fail(*_: object) -> None:
        raise AttributeError("defect")

    monkeypatch.setattr(eager, "events_of_step", fail)
    async with serving(**EVERYTHING) as one:
        await begin(one)
        await one.give(task("a"))
        assert ActivityTaskCompletion(token="a", result=Raw(b'"Hello, Ada!"')) == await one.next_completion()


async def test_a_turn_that_the_service_cannot_take_is_left_out() -> None:
    """A completion that is refused as a whole is sent again without its turn: the result must not be lost."""
    async with serving(**EVERYTHING) as one:
        await begin(one)
        await one.give(task("a"))
        (await one.service.responds.get()).refuse(ServiceError(Code.BODY_TOO_LARGE, "too large"))
        assert ActivityTaskCompletion(token="a", result=Raw(b'"Hello, Ada!"')) == await one.next_completion()
