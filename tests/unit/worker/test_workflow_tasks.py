"""Workflow tasks: cached, replayed, failed, refused, and kept alive by local activities."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from msgspec import Raw

from perdure import activity, workflow
from perdure_proto.codec import decode_commands
from perdure_proto.commands import AnyCommand, CompleteWorkflowExecution, RecordMarker, ScheduleActivityTask
from perdure_proto.errors import Code
from perdure_proto.events import AnyEvent, WorkflowTaskCompleted, WorkflowTaskScheduled, WorkflowTaskStarted
from perdure_proto.tasks import (
    AnyCompletion,
    CompletionResult,
    EvictWorkflow,
    QueryDelivery,
    QueryTask,
    QueryTaskCompletion,
    TaskReturned,
    WorkflowTaskCompletion,
    WorkflowTaskFailure,
)
from tests.unit.worker.histories import after_activity, first_events, turn
from tests.unit.worker.wired import NOW
from tests.unit.worker.workers import serving

SECONDS = timedelta(seconds=10)


@activity.defn(start_to_close_timeout=SECONDS)
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@workflow.defn
async def hello(name: str) -> str:
    return await greet(name)


@workflow.defn
async def hello_locally(name: str) -> str:
    return await greet.local(name)


@workflow.defn
async def broken() -> None:
    raise NameError("nowhere")


FIRST = first_events("hello", b'["Ada"]')
SECOND = after_activity("greet", b'"Hello, Ada!"')
SECOND_EMPTY: list[AnyEvent] = [
    WorkflowTaskCompleted(event_id=4, event_time=NOW, scheduled_event_id=2, started_event_id=3),
    WorkflowTaskScheduled(event_id=5, event_time=NOW, task_queue="default"),
    WorkflowTaskStarted(event_id=6, event_time=NOW, scheduled_event_id=5),
]
EVERYTHING = {"workflows": [hello, hello_locally, broken], "activities": [greet]}


def commands_of(completion: AnyCompletion) -> list[AnyCommand]:
    assert isinstance(completion, WorkflowTaskCompletion)
    return decode_commands(completion.commands)


def second_turn(token: str = "t2") -> object:
    """The second turn as a worker gets it that has the run cached."""
    return turn(token, SECOND, workflow_type="hello", previous_started_event_id=3)


async def test_first_turn_schedules_the_activity() -> None:
    """A workflow's first turn is activated and its commands are handed in."""
    async with serving(**EVERYTHING) as one:
        await one.give(turn("t1", FIRST))
        completion = await one.next_completion()
        (command,) = commands_of(completion)
        assert isinstance(command, ScheduleActivityTask)
        assert ("greet", b'["Ada"]') == (command.activity_type, bytes(command.input))
        assert isinstance(completion, WorkflowTaskCompletion)
        assert completion.cached


async def test_cached_run_goes_on_with_new_events_alone() -> None:
    """The next turn brings only what is new, and the run ends and leaves the cache."""
    async with serving(**EVERYTHING) as one:
        await one.give(turn("t1", FIRST))
        await one.next_completion()
        await one.give(second_turn())
        completion = await one.next_completion()
        assert [CompleteWorkflowExecution(result=Raw(b'"Hello, Ada!"'))] == commands_of(completion)
        assert isinstance(completion, WorkflowTaskCompletion)
        assert not completion.cached


async def test_run_that_is_not_cached_is_replayed_from_its_fetched_history() -> None:
    """A turn that brings too little is completed with the history of the service."""
    async with serving(**EVERYTHING) as one:
        one.service.histories["w"] = [FIRST[:2], [*FIRST[2:], *SECOND[:2]]]
        await one.give(second_turn())
        assert [CompleteWorkflowExecution(result=Raw(b'"Hello, Ada!"'))] == commands_of(await one.next_completion())


async def test_whole_history_is_replayed() -> None:
    """A turn with the whole history needs nothing else."""
    async with serving(**EVERYTHING) as one:
        await one.give(turn("t2", [*FIRST, *SECOND], previous_started_event_id=3))
        assert [CompleteWorkflowExecution(result=Raw(b'"Hello, Ada!"'))] == commands_of(await one.next_completion())


async def test_refused_turn_evicts_the_run() -> None:
    """After a refusal the run is replayed from the start, since its turn never happened."""
    async with serving(**EVERYTHING) as one:
        await one.give(turn("t1", FIRST))
        (await one.service.responds.get()).results(CompletionResult(code=Code.TASK_NOT_FOUND))
        one.service.histories["w"] = [[*FIRST, *SECOND[:5]]]
        await one.give(second_turn())
        assert [CompleteWorkflowExecution(result=Raw(b'"Hello, Ada!"'))] == commands_of(await one.next_completion())
        assert one.service.histories_read == 1


async def test_pushed_eviction_forgets_the_run() -> None:
    """A run that the service no longer wants here is replayed when it comes back."""
    async with serving(**EVERYTHING) as one:
        await one.give(turn("t1", FIRST))
        await one.next_completion()
        await one.give(pushes=[EvictWorkflow(run_id="r")])
        one.service.histories["w"] = [[*FIRST, *SECOND[:5]]]
        await one.give(second_turn())
        await one.next_completion()
        assert one.service.histories_read == 1


async def test_nothing_is_cached_when_nothing_may_be() -> None:
    """A cache of no size says so, so that the service sends whole histories."""
    async with serving(**EVERYTHING, max_cached_workflows=0) as one:
        await one.give(turn("t1", FIRST))
        completion = await one.next_completion()
        assert isinstance(completion, WorkflowTaskCompletion)
        assert not completion.cached


async def test_program_error_fails_the_task() -> None:
    """A bug parks the workflow: the task fails, and the workflow does not."""
    async with serving(**EVERYTHING) as one:
        await one.give(turn("t1", first_events("broken")))
        completion = await one.next_completion()
        assert isinstance(completion, WorkflowTaskFailure)
        assert "nowhere" in completion.failure.message


async def test_history_that_the_code_does_not_make_fails_the_task() -> None:
    """A mismatch of code and history is named as such."""
    async with serving(**EVERYTHING) as one:
        await one.give(turn("t2", [*FIRST, *after_activity("other", b"1")], previous_started_event_id=3))
        completion = await one.next_completion()
        assert isinstance(completion, WorkflowTaskFailure)
        assert "NON_DETERMINISTIC_ERROR" == completion.cause


async def test_unknown_type_fails_the_task_and_names_what_is_there() -> None:
    """A worker that lacks the type says which ones it has."""
    async with serving(**EVERYTHING) as one:
        await one.give(turn("t1", first_events("other")))
        completion = await one.next_completion()
        assert isinstance(completion, WorkflowTaskFailure)
        assert "'other'" in completion.failure.message
        assert "hello" in completion.failure.message


async def test_query_is_answered_from_the_cached_run() -> None:
    """A query needs no history while the run is here."""
    query = QueryDelivery(query_id="q", query_name="__stack_trace")
    async with serving(**EVERYTHING) as one:
        await one.give(turn("t1", FIRST))
        await one.next_completion()
        asked = QueryTask(
            token="q1", workflow_id="w", run_id="r", workflow_type="hello", last_event_id=5, queries=(query,)
        )
        await one.give(asked)
        completion = await one.next_completion()
        assert isinstance(completion, QueryTaskCompletion)
        assert "q" == completion.results[0].query_id
        assert completion.results[0].failure is None


async def test_local_activity_ends_within_the_turn() -> None:
    """A local activity runs here, and the turn goes on with its result to the end."""
    async with serving(**EVERYTHING) as one:
        await one.give(turn("t1", first_events("hello_locally", b'["Ada"]')))
        marker, complete = commands_of(await one.next_completion())
        assert isinstance(marker, RecordMarker)
        assert CompleteWorkflowExecution(result=Raw(b'"Hello, Ada!"')) == complete


async def test_long_local_activity_asks_for_another_task() -> None:
    """Before the task times out it is completed with a request for another, in which the activity ends."""
    go_on = asyncio.Event()

    @activity.defn(start_to_close_timeout=SECONDS)
    async def slow() -> int:
        await go_on.wait()
        return 7

    @workflow.defn
    async def patient() -> int:
        return await slow.local()

    async with serving(workflows=[patient], activities=[slow]) as one:
        await one.give(turn("t1", first_events("patient"), task_timeout=timedelta(milliseconds=10)))
        completion = await one.next_completion()
        assert isinstance(completion, WorkflowTaskCompletion)
        assert completion.force_new_task
        await one.give(turn("t2", SECOND_EMPTY, workflow_type="patient", previous_started_event_id=3))
        go_on.set()
        assert CompleteWorkflowExecution(result=Raw(b"7")) == commands_of(await one.next_completion())[-1]


async def test_stopping_worker_gives_back_a_turn_that_waits() -> None:
    """A turn that waits for a local activity goes back when the worker stops."""

    @activity.defn(start_to_close_timeout=SECONDS)
    async def endless() -> None:
        await asyncio.Event().wait()

    @workflow.defn
    async def patient() -> None:
        await endless.local()

    async with serving(workflows=[patient], activities=[endless]) as one:
        await one.give(turn("t1", first_events("patient")))
        await asyncio.sleep(0)
        leaving = asyncio.create_task(one.worker.shutdown())
        assert TaskReturned(token="t1") == await one.next_completion()
        await leaving
