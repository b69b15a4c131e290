"""Pausing a run: what is handed out, what is timed, and what a new owner knows of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perdure_proto import commands as c
from perdure_proto import tasks
from perdure_proto.errors import Code, ServiceError
from perdure_proto.options import RetryPolicy
from perdure_proto.service import (
    CancelWorkflowRequest,
    PauseWorkflowRequest,
    TerminateWorkflowRequest,
    UnpauseWorkflowRequest,
    UpdateWorkflowRequest,
)
from tests.engine import NAMESPACE, Cluster, OneServer, Worker

MINUTE = timedelta(minutes=1)
ACTIVITY = c.ScheduleActivityTask(activity_id="1", activity_type="Pay", retry_policy=RetryPolicy(maximum_attempts=3))


async def pause(server: OneServer, request_id: str = "") -> None:
    await server.api.pause_workflow(NAMESPACE, "order", PauseWorkflowRequest(reason="stop", request_id=request_id))


async def unpause(server: OneServer) -> None:
    await server.api.unpause_workflow(NAMESPACE, "order", UnpauseWorkflowRequest(reason="go"))


async def nothing_for(worker: Worker) -> bool:
    return () == (await worker.poll(workflows=1, activities=1, wait=0.05)).tasks


async def test_a_task_that_is_queued_already_is_not_handed_out(server: OneServer, worker: Worker) -> None:
    """Before its first task too; when the run goes on, it is."""
    await server.start()
    await pause(server)
    assert await nothing_for(worker)
    await unpause(server)
    await worker.turn(c.CompleteWorkflowExecution())
    assert "COMPLETED" == (await server.describe()).execution.status


async def test_a_queued_activity_is_not_handed_out(server: OneServer, worker: Worker) -> None:
    """It waits for the end of the pause."""
    await server.start()
    await worker.turn(ACTIVITY)
    await pause(server)
    assert await nothing_for(worker)
    await unpause(server)
    assert 1 == (await worker.activity_task()).attempt


async def test_commands_of_a_task_in_flight_are_recorded_and_wait(server: OneServer, worker: Worker) -> None:
    """The pause holds at once, though its event comes after the task."""
    await server.start()
    task = await worker.workflow_task()
    await pause(server)
    assert "PAUSED" == (await server.describe()).execution.status
    assert tasks.CompletionResult() == await worker.answer(task, ACTIVITY)
    assert ["ActivityTaskScheduled", "WorkflowExecutionPaused"] == (await server.event_types())[-2:]
    assert await nothing_for(worker)


async def test_an_activity_that_runs_may_end(server: OneServer, worker: Worker) -> None:
    """Its result is recorded; the workflow hears of it later."""
    await server.start()
    await worker.turn(ACTIVITY)
    activity = await worker.activity_task()
    await pause(server)
    assert tasks.CompletionResult() == await worker.done(activity)
    assert await nothing_for(worker)
    await unpause(server)
    assert b"ActivityTaskCompleted" in bytes((await worker.workflow_task()).events)


async def test_signals_and_cancel_requests_are_recorded(server: OneServer, worker: Worker) -> None:
    """They come with the first task after the pause."""
    await server.start()
    await worker.turn(c.StartTimer(timer_id="t", start_to_fire_timeout=MINUTE))
    await pause(server)
    await server.signal()
    await server.api.cancel_workflow(NAMESPACE, "order", CancelWorkflowRequest())
    assert await nothing_for(worker)
    await unpause(server)
    events = bytes((await worker.workflow_task()).events)
    assert b"WorkflowExecutionSignaled" in events
    assert b"WorkflowExecutionCancelRequested" in events


async def test_updates_are_refused(server: OneServer) -> None:
    """With a code of their own."""
    await server.start()
    await pause(server)
    request = UpdateWorkflowRequest(update_id="u")
    with pytest.raises(ServiceError) as refused:
        await server.api.update_workflow(NAMESPACE, "order", "set", request)
    assert Code.WORKFLOW_PAUSED == refused.value.code


async def test_a_paused_run_can_be_terminated(cluster: Cluster, server: OneServer) -> None:
    """Then it is closed, and no longer paused."""
    await server.start()
    await pause(server)
    await server.api.terminate_workflow(NAMESPACE, "order", TerminateWorkflowRequest())
    assert [(5,)] == await cluster.rows("select status from executions")


async def test_timers_stand_still_over_a_restart(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """A timer of 60 s with 10 s behind it fires 50 s after the end of the pause, whoever owns the run."""
    await server.start()
    await worker.turn(c.StartTimer(timer_id="t", start_to_fire_timeout=MINUTE))
    server.move(10)
    await pause(server)
    server.move(1000)
    successor = await cluster.restart(server)
    successor.move(1010)
    assert "PAUSED" == (await successor.describe()).execution.status
    await unpause(successor)
    successor.move(45)
    assert "WorkflowExecutionUnpaused" == (await successor.event_types())[-1]
    third = await cluster.restart(successor)
    await third.describe()
    third.move(1060)
    await third.settle()
    assert "TimerFired" in await third.event_types()


async def test_a_retry_stands_still(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """A backoff goes on where it stopped; the row beside the log knows it in the same commit."""
    await server.start()
    await worker.turn(ACTIVITY)
    await worker.failed(await worker.activity_task())
    await pause(server)
    server.move(1000)
    assert await nothing_for(worker)
    before = await cluster.rows("select next_attempt_at from activities")
    await unpause(server)
    ((shifted,),) = await cluster.rows("select next_attempt_at from activities")
    assert 1000 <= (shifted - before[0][0]).total_seconds() < 1010
    assert await nothing_for(worker)
    server.move(2)
    assert 2 == (await worker.activity_task()).attempt


async def test_an_attempt_keeps_its_time(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """One that runs over a pause and a restart has its whole timeout, less what was gone before."""
    await server.start()
    await worker.turn(ACTIVITY)
    activity = await worker.activity_task()
    await pause(server)
    successor = await cluster.restart(server)
    other = Worker(successor, held=[activity.token])
    await other.acknowledge()
    successor.move(1000)
    await unpause(successor)
    successor.move(50)
    assert tasks.CompletionResult() == await other.done(activity)


async def test_a_paused_run_leaves_memory_and_comes_back(cluster: Cluster) -> None:
    """Nothing is owed to it meanwhile, and no time is set."""
    server = await cluster.server()
    await server.start()
    await pause(server)
    await server.sweep()
    await server.sweep()
    assert [(None, False)] == await cluster.rows("select wake_at, owed from wakes")
    await server.sweep()
    assert not server.engine.residents.by_run
    await unpause(server)
    await Worker(server).workflow_task()


async def test_operators_find_paused_runs(server: OneServer) -> None:
    """The visibility row says so, and who paused it and why."""
    await server.start()
    await pause(server, "p1")
    await pause(server, "p1")
    listed = await server.api.list_workflows(NAMESPACE, "ExecutionStatus = 'Paused'", 10, "")
    described = await server.describe()
    assert ["PAUSED"] == [info.status for info in listed.executions]
    assert described.pause is not None
    assert "stop" == described.pause.reason
    assert 1 == (await server.event_types()).count("WorkflowExecutionPaused")
    await unpause(server)
    assert [] == list((await server.api.list_workflows(NAMESPACE, "ExecutionStatus = 'Paused'", 10, "")).executions)
