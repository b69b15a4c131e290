"""Activities without a workflow: kept, retried, awaited, stopped and recovered like runs, and apart from workflows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec import Raw

from perdure_proto import service as svc
from perdure_proto import tasks
from perdure_proto.errors import Code, ServiceError
from perdure_proto.failures import TimeoutFailure
from perdure_proto.options import RetryPolicy
from tests.engine import FAILURE, NAMESPACE, Cluster, OneServer, Worker

ONCE = RetryPolicy(maximum_attempts=1)


async def start(server: OneServer, activity_id: str = "pay", **options: Any) -> svc.StartActivityAnswer:
    request = svc.StartActivityRequest(activity_type="Pay", **options)
    return await server.api.start_activity(NAMESPACE, activity_id, request)


async def result(server: OneServer, activity_id: str = "pay", wait: float = 0) -> svc.ActivityResultAnswer:
    return await server.api.activity_result(NAMESPACE, activity_id, "", wait)


async def event_types(cluster: Cluster) -> list[str]:
    return [row[0] for row in await cluster.rows("select event_type from history_events order by run_id, event_id")]


async def test_it_runs_and_ends_with_its_result(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """One append starts it, one ends it; no workflow task is written."""
    await start(server)
    task = await worker.activity_task()
    await worker.respond(tasks.ActivityTaskCompletion(token=task.token, result=Raw(b'"paid"')))
    answer = await result(server)
    assert ("COMPLETED", b'"paid"') == (answer.status, bytes(answer.result))
    assert [
        "WorkflowExecutionStarted",
        "ActivityTaskScheduled",
        "ActivityTaskStarted",
        "ActivityTaskCompleted",
        "WorkflowExecutionCompleted",
    ] == await event_types(cluster)


async def test_its_worker_is_told_of_no_workflow(server: OneServer, worker: Worker) -> None:
    """The task names the activity and its run, and no workflow."""
    run_id = (await start(server)).run_id
    task = await worker.activity_task()
    assert ("pay", run_id, "", "") == (task.activity_id, task.run_id, task.workflow_id, task.workflow_type)


async def test_it_is_tried_again(server: OneServer, worker: Worker) -> None:
    """A failure is retried by its policy; the last one is its own."""
    await start(server, retry_policy=RetryPolicy(maximum_attempts=2, initial_interval=timedelta(seconds=1)))
    await worker.failed(await worker.activity_task())
    server.move(1)
    await worker.failed(await worker.activity_task())
    answer = await result(server)
    assert ("FAILED", FAILURE) == (answer.status, answer.failure)


async def test_it_times_out(server: OneServer, worker: Worker) -> None:
    """The failure says which timeout it was."""
    await start(server, start_to_close_timeout=timedelta(seconds=5), retry_policy=ONCE)
    await worker.activity_task()
    server.move(6)
    failure = (await result(server)).failure
    assert failure is not None
    assert isinstance(failure.info, TimeoutFailure)
    assert "START_TO_CLOSE" == failure.info.timeout_type


async def test_one_that_nobody_runs_is_cancelled_at_once(server: OneServer) -> None:
    """A cancel request before any attempt ends it."""
    await start(server)
    await server.api.cancel_activity(NAMESPACE, "pay", svc.CancelWorkflowRequest(reason="no"))
    assert "CANCELED" == (await result(server)).status


async def test_a_running_one_is_asked_to_stop(server: OneServer, worker: Worker) -> None:
    """Its worker is told, and its acknowledgement ends it."""
    await start(server)
    task = await worker.activity_task()
    await server.api.cancel_activity(NAMESPACE, "pay", svc.CancelWorkflowRequest(reason="no"))
    told = await server.api.describe_activity(NAMESPACE, "pay", "")
    assert (True, "no") == (told.cancel_requested, told.cancel_reason)
    await worker.respond(tasks.ActivityTaskCancellation(token=task.token))
    assert "CANCELED" == (await result(server)).status


async def test_it_is_terminated(server: OneServer, worker: Worker) -> None:
    """Nobody is waited for; what its worker says later is refused."""
    await start(server)
    task = await worker.activity_task()
    await server.api.terminate_activity(NAMESPACE, "pay", svc.TerminateWorkflowRequest(reason="no"))
    assert "TERMINATED" == (await result(server)).status
    assert Code.TASK_NOT_FOUND == (await worker.done(task)).code


async def test_it_outlasts_its_server(cluster: Cluster, server: OneServer) -> None:
    """A new owner offers it again."""
    await start(server)
    successor = await cluster.restart(server)
    worker = Worker(successor)
    await worker.done(await worker.activity_task())
    assert "COMPLETED" == (await result(successor)).status


async def test_ids_are_taken_as_those_of_workflows_are(server: OneServer) -> None:
    """A repeat gets the first answer; another start of a running one is refused, with the code of activities."""
    first = await start(server, request_id="r")
    assert (first.run_id, False) == ((again := await start(server, request_id="r")).run_id, again.started)
    with pytest.raises(ServiceError) as caught:
        await start(server)
    assert Code.ACTIVITY_ALREADY_STARTED == caught.value.code


async def test_activities_and_workflows_do_not_meet(server: OneServer) -> None:
    """An id may name one of each; lists and counts have one kind."""
    await start(server, "same")
    await server.start("same")
    listed = await server.api.list_activities(NAMESPACE, "ActivityId = 'same'", 10, "")
    assert ["Pay"] == [each.activity_type for each in listed.executions]
    assert 1 == (await server.api.count_workflows(NAMESPACE, "")).count
    assert 1 == (await server.api.count_activities(NAMESPACE, "ActivityType = 'Pay'")).count
    assert "Order" == (await server.describe("same")).execution.workflow_type


async def test_one_that_is_not_there_is_not_found(server: OneServer) -> None:
    """The error has the code of activities."""
    await server.start("order")
    with pytest.raises(ServiceError) as caught:
        await result(server, "order")
    assert Code.ACTIVITY_NOT_FOUND == caught.value.code


async def test_a_bad_start_is_refused(server: OneServer) -> None:
    """Timeouts must be positive and policies whole."""
    for options in ({"heartbeat_timeout": timedelta(0)}, {"retry_policy": RetryPolicy(maximum_attempts=-1)}):
        with pytest.raises(ServiceError) as caught:
            await start(server, **options)
        assert Code.INVALID_ARGUMENT == caught.value.code


async def test_its_parked_task_comes_back(cluster: Cluster) -> None:
    """What waits in the database for room in its queue is found under the queue's namespace."""
    server = await cluster.server(queue_window_max=1)
    for number in range(3):
        await start(server, f"pay-{number}")
    worker = Worker(server)
    for _ in range(3):
        await worker.done(await worker.activity_task())
    counted = await server.api.count_activities(NAMESPACE, "ExecutionStatus = 'Completed'")
    assert 3 == counted.count
