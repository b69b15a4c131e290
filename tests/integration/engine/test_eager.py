"""Eager turns: what a worker did ahead of the log is taken with the end of its activity, or not at all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from perdure_proto import commands as c
from perdure_proto import tasks
from perdure_proto.codec import encoder
from perdure_proto.commands import AnyCommand
from perdure_proto.errors import Code
from tests.engine import OneServer, Worker

PAY = c.ScheduleActivityTask(activity_id="1", activity_type="Pay")
PAY_AGAIN = c.ScheduleActivityTask(activity_id="2", activity_type="Pay")
STEP = ["ActivityTaskStarted", "ActivityTaskCompleted", "WorkflowTaskScheduled", "WorkflowTaskStarted"]
BEGUN = ["WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowTaskStarted", "WorkflowTaskCompleted"]


def end(task: tasks.ActivityTask, *commands: AnyCommand, **turn: Any) -> tasks.ActivityTaskCompletion:
    """The end of the first activity, and the turn to which it leads."""
    told = {"last_event_id": 5, "started_at": task.started_time, "history_size_bytes": 77, **turn}
    eager = tasks.EagerTurn(**told, commands=msgspec.Raw(encoder.encode(commands)))
    return tasks.ActivityTaskCompletion(token=task.token, turn=eager)


async def paying(server: OneServer, worker: Worker) -> tasks.ActivityTask:
    """A workflow that waits for its activity, which is in the worker's hands."""
    await server.start()
    await worker.turn(PAY)
    return await worker.activity_task()


async def test_the_turn_is_one_commit_with_the_end_of_the_activity(server: OneServer, worker: Worker) -> None:
    """A step is one append: the activity, the task, and what its commands became; the next activity is due."""
    task = await paying(server, worker)
    before = len(server.store.batches)
    (result,) = await worker.respond(end(task, PAY_AGAIN))
    assert (None, server.run().state.history_bytes) == (result.code, result.history_size_bytes)
    (batch,) = [batch for batch in server.store.batches[before:] if batch.appends]
    assert [(6, 11)] == [(append.first_event_id, append.last_event_id) for append in batch.appends]
    assert [*STEP, "WorkflowTaskCompleted", "ActivityTaskScheduled"] == (await server.event_types())[5:]
    assert "2" == (await worker.activity_task()).activity_id


async def test_the_log_says_what_the_workflow_was_told(server: OneServer, worker: Worker) -> None:
    """The task's start has the worker's time and size, for a replay must tell the workflow the same."""
    task = await paying(server, worker)
    await worker.respond(end(task, PAY_AGAIN))
    started: Any = (await server.history())[8]
    assert (task.started_time, 77) == (started.event_time, started.history_size_bytes)


async def test_a_workflow_closes_with_its_last_activity(server: OneServer, worker: Worker) -> None:
    """The end of the activity and that of the workflow are one commit."""
    task = await paying(server, worker)
    await worker.respond(end(task, c.CompleteWorkflowExecution()))
    assert "WorkflowExecutionCompleted" == (await server.event_types())[-1]
    (batch,) = [batch for batch in server.store.batches if batch.changes]
    assert [(6, 11)] == [(append.first_event_id, append.last_event_id) for append in batch.appends]


async def test_a_chain_goes_on_with_the_last_activity(server: OneServer, worker: Worker) -> None:
    """Continue-as-new is taken too, when no signal has to be read again for it."""
    task = await paying(server, worker)
    (result,) = await worker.respond(end(task, c.ContinueAsNewWorkflowExecution()))
    assert result.history_size_bytes
    assert ["WorkflowExecutionStarted", "WorkflowTaskScheduled"] == await server.event_types()


async def not_taken(server: OneServer, worker: Worker, result: tasks.CompletionResult) -> list[str]:
    """The activity has ended as always, and the task is handed out with all that happened."""
    assert (None, 0) == (result.code, result.history_size_bytes)
    task = await worker.workflow_task()
    assert 1 == task.history_from
    return (await server.event_types())[5:]


async def test_news_prevents_the_turn(server: OneServer, worker: Worker) -> None:
    """A signal that came before the end of the activity is news that the worker did not know."""
    task = await paying(server, worker)
    await server.signal()
    (result,) = await worker.respond(end(task, c.CompleteWorkflowExecution()))
    assert "WorkflowExecutionSignaled" in await not_taken(server, worker, result)


@pytest.mark.parametrize("seconds", [-1, 3_600])
async def test_the_time_of_a_turn_lies_in_order(server: OneServer, worker: Worker, seconds: int) -> None:
    """Neither before the last event nor in the future: the log could not say what the workflow was told."""
    task = await paying(server, worker)
    started_at = task.started_time + timedelta(seconds=seconds)
    (result,) = await worker.respond(end(task, PAY_AGAIN, started_at=started_at))
    assert STEP[:3] == await not_taken(server, worker, result)


@pytest.mark.parametrize("told", [False, True])
async def test_a_long_history_is_told(server: OneServer, worker: Worker, told: bool) -> None:
    """A workflow that should continue as new must know it: once it does, its turns are taken again."""
    server.engine.limits = server.engine.transactor._limits = msgspec.structs.replace(
        server.engine.limits, history_events_suggest=5
    )
    task = await paying(server, worker)
    (result,) = await worker.respond(end(task, PAY_AGAIN, suggest_continue_as_new=told))
    if told:
        started: Any = (await server.history())[8]
        assert started.suggest_continue_as_new
    else:
        assert STEP[:3] == await not_taken(server, worker, result)


async def test_a_turn_of_another_activity_is_not_taken(server: OneServer, worker: Worker) -> None:
    """The history must end with the scheduling of this very activity."""
    await server.start()
    await worker.turn(PAY, PAY_AGAIN)
    task = await worker.activity_task()
    (result,) = await worker.respond(end(task, c.CompleteWorkflowExecution(), last_event_id=6))
    assert (None, 0) == (result.code, result.history_size_bytes)


async def test_a_turn_that_cannot_be_read_is_not_taken(server: OneServer, worker: Worker) -> None:
    """Commands of no known type: the activity has ended all the same."""
    task = await paying(server, worker)
    completion = end(task)
    assert completion.turn is not None
    turn = msgspec.structs.replace(completion.turn, commands=msgspec.Raw(b'[{"command_type":"Dance"}]'))
    (result,) = await worker.respond(msgspec.structs.replace(completion, turn=turn))
    assert STEP[:3] == await not_taken(server, worker, result)


async def test_a_refused_turn_fails_its_task(server: OneServer, worker: Worker) -> None:
    """Bad commands are recorded as they are without eagerness, and the activity stays done."""
    task = await paying(server, worker)
    (result,) = await worker.respond(end(task, c.CancelTimer(timer_id="none")))
    assert (None, 0) == (result.code, result.history_size_bytes)
    assert [*STEP, "WorkflowTaskFailed"] == (await server.event_types())[5:]
    assert "" == server.run().sticky_session


async def test_a_stale_attempt_takes_no_turn(server: OneServer, worker: Worker) -> None:
    """An activity that is closed cannot lead to anything."""
    task = await paying(server, worker)
    await worker.done(task)
    (result,) = await worker.respond(end(task, c.CompleteWorkflowExecution()))
    assert Code.TASK_NOT_FOUND == result.code
    assert server.run().state.is_open
