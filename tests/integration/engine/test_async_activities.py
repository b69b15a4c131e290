"""Activities that no worker ends: what is kept of them, who may end them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from perdure_proto import async_activities as asy
from perdure_proto import commands as c
from perdure_proto import tasks
from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import TerminateWorkflowRequest
from tests.engine import FAILURE, NAMESPACE, Cluster, OneServer, Worker, is_waiting
from tests.integration.engine.test_delivery import ACTIVITY, LONG


async def detached(server: OneServer, worker: Worker, command: c.ScheduleActivityTask = LONG) -> tasks.ActivityTask:
    """A workflow whose activity has left its worker."""
    await server.start()
    await worker.turn(command)
    task = await worker.activity_task()
    assert tasks.CompletionResult() == (await worker.respond(tasks.ActivityTaskDetached(token=task.token)))[0]
    return task


def complete(**fields: Any) -> asy.CompleteActivityRequest:
    return asy.CompleteActivityRequest(result=Raw(b'"done"'), identity="clerk", **fields)


async def test_a_worker_is_answered_when_the_start_is_kept(server: OneServer, worker: Worker) -> None:
    """Whoever is told that the worker let go of an attempt can rely on it: a row says so."""
    await server.start()
    await worker.turn(LONG)
    task = await worker.activity_task()
    server.store.gate.clear()
    report = worker.respond(tasks.ActivityTaskDetached(token=task.token))
    assert await is_waiting(report)
    server.store.gate.set()
    row = (await server.store.until(lambda batch: batch.activities)).activities[0]
    assert (task.started_time, "") == (row.started_at, row.session)


async def test_a_lost_worker_does_not_fail_what_it_let_go_of(server: OneServer, worker: Worker) -> None:
    """The attempt is the first still after its worker has left, and its token completes it."""
    task = await detached(server, worker)
    server.api.matching.leave(NAMESPACE, "default", tasks.LeaveRequest(session=worker.session))
    await server.api.complete_activity(NAMESPACE, complete(task_token=task.token))
    started, completed, *_ = (await server.history())[5:]
    assert ("worker-1", 1, "clerk") == (started.identity, started.attempt, completed.identity)  # type: ignore[union-attr]


async def test_a_new_owner_waits_for_nobody(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """After a restart the attempt goes on: no worker is missed, and its token completes it."""
    task = await detached(server, worker)
    successor = await cluster.restart(server)
    run = (await successor.api.engine.residents.find(NAMESPACE, "order")).state
    successor.engine._miss_workers(successor.run(), [(5, 1, 0)])
    assert run.activities[5].is_detached
    await successor.api.complete_activity(NAMESPACE, complete(task_token=task.token))
    assert "ActivityTaskCompleted" in await successor.event_types()


async def test_it_needs_no_memory(server: OneServer, worker: Worker) -> None:
    """A run that waits for a person leaves memory, and its activity is completed by ids."""
    await detached(server, worker)
    for _ in range(3):
        await server.sweep()
    assert {} == server.engine.residents.by_run
    await server.api.complete_activity(NAMESPACE, complete(workflow_id="order", activity_id="1"))
    assert "ActivityTaskCompleted" in await server.event_types()


async def test_a_heartbeat_says_that_it_is_to_stop(server: OneServer, worker: Worker) -> None:
    """Nobody can be told of a cancel request but by its next heartbeat; then it can report that it stopped."""
    task = await detached(server, worker)
    beat = asy.HeartbeatActivityRequest(task_token=task.token, details=Raw(b"[7]"))
    assert not (await server.api.heartbeat_activity(NAMESPACE, beat)).cancel_requested
    stopped = asy.ReportActivityCancellationRequest(task_token=task.token, details=Raw(b'["tidied up"]'))
    with pytest.raises(ServiceError, match="was not asked to stop"):
        await server.api.report_activity_cancellation(NAMESPACE, stopped)
    await server.signal()
    await worker.turn(c.RequestCancelActivityTask(scheduled_event_id=5))
    assert (await server.api.heartbeat_activity(NAMESPACE, beat)).cancel_requested
    await server.api.report_activity_cancellation(NAMESPACE, stopped)
    assert "ActivityTaskCanceled" in await server.event_types()


async def test_a_failure_from_elsewhere_is_retried(server: OneServer, worker: Worker) -> None:
    """The next attempt finds the details that came with the failure; the old token ends nothing more."""
    task = await detached(server, worker)
    failed = asy.FailActivityRequest(task_token=task.token, failure=FAILURE, heartbeat_details=Raw(b"[8]"))
    await server.api.fail_activity(NAMESPACE, failed)
    with pytest.raises(ServiceError, match="is being tried again"):
        await server.api.complete_activity(NAMESPACE, complete(task_token=task.token))
    server.move(2)
    again = await worker.activity_task()
    assert (2, b"[8]") == (again.attempt, bytes(again.heartbeat_details))


async def test_ids_complete_an_activity_that_nobody_has_begun(server: OneServer, worker: Worker) -> None:
    """Completed by its ids it counts as begun and ended at once; nothing else can be said of it."""
    await server.start()
    await worker.turn(ACTIVITY)
    ids: dict[str, Any] = {"workflow_id": "order", "activity_id": "1"}
    with pytest.raises(ServiceError, match="no attempt that runs"):
        await server.api.heartbeat_activity(NAMESPACE, asy.HeartbeatActivityRequest(**ids))
    with pytest.raises(ServiceError, match="no attempt that runs"):
        await server.api.fail_activity(NAMESPACE, asy.FailActivityRequest(**ids, failure=FAILURE))
    await server.api.complete_activity(NAMESPACE, complete(**ids))
    assert ["ActivityTaskStarted", "ActivityTaskCompleted"] == (await server.event_types())[5:7]
    assert () == (await worker.poll(activities=1, wait=0)).tasks


RUN = "019b0000-0000-7000-8000-00000000ffff"


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "nonsense",
        "é",
        "w.1.x.2.3.1.0",
        "a.x.y.5.1.0",
        "a.1.not-a-run.5.1.0",
        f"a.1.{RUN}.5.1.0",
        f"a.99999999999999999999.{RUN}.5.1.0",
        f"a.-1.{RUN}.5.1.99999999999999999999999999999",
    ],
)
async def test_a_forged_token_is_refused(server: OneServer, forged: str) -> None:
    """Whatever text comes, the answer is a code: no token is `INVALID_ARGUMENT`, a wrong one `TASK_NOT_FOUND`."""
    with pytest.raises(ServiceError) as caught:
        await server.api.complete_activity(NAMESPACE, complete(task_token=forged))
    assert (Code.TASK_NOT_FOUND if forged else Code.INVALID_ARGUMENT) == caught.value.code


@pytest.mark.parametrize("part", ["shard", "event", "attempt", "time", "namespace"])
async def test_a_token_must_fit_in_every_part(server: OneServer, worker: Worker, part: str) -> None:
    """One that names another shard, event, attempt, start or namespace ends nothing."""
    task = await detached(server, worker)
    kind, shard, run, event, attempt, time = task.token.split(".")
    changed = {
        "shard": f"{kind}.{(int(shard) + 1) % 8}.{run}.{event}.{attempt}.{time}",
        "event": f"{kind}.{shard}.{run}.6.{attempt}.{time}",
        "attempt": f"{kind}.{shard}.{run}.{event}.2.{time}",
        "time": f"{kind}.{shard}.{run}.{event}.{attempt}.{int(time) + 1}",
        "namespace": task.token,
    }
    with pytest.raises(ServiceError) as caught:
        await server.api.complete_activity(
            "other" if part == "namespace" else NAMESPACE, complete(task_token=changed[part])
        )
    assert Code.TASK_NOT_FOUND == caught.value.code
    assert "ActivityTaskCompleted" not in await server.event_types()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"workflow_id": "order", "activity_id": "9"}, Code.ACTIVITY_NOT_FOUND),
        ({"workflow_id": "order", "activity_id": "1", "run_id": RUN}, Code.WORKFLOW_NOT_FOUND),
        ({"workflow_id": "other", "activity_id": "1"}, Code.WORKFLOW_NOT_FOUND),
        ({"workflow_id": "order"}, Code.INVALID_ARGUMENT),
        ({"activity_id": "1"}, Code.ACTIVITY_NOT_FOUND),
        ({"run_id": RUN}, Code.INVALID_ARGUMENT),
        ({"task_token": "a", "workflow_id": "order"}, Code.INVALID_ARGUMENT),
    ],
)
async def test_wrong_ids_are_refused(server: OneServer, worker: Worker, fields: dict[str, str], code: Code) -> None:
    """The code says whether the workflow or the activity is not there."""
    await detached(server, worker)
    with pytest.raises(ServiceError) as caught:
        await server.api.complete_activity(NAMESPACE, complete(**fields))
    assert code == caught.value.code


async def test_nothing_is_ended_in_a_closed_workflow(server: OneServer, worker: Worker) -> None:
    """Neither a token nor ids find an activity there."""
    task = await detached(server, worker)
    await server.api.terminate_workflow(NAMESPACE, "order", TerminateWorkflowRequest())
    for fields, code in (
        ({"task_token": task.token}, Code.TASK_NOT_FOUND),
        ({"workflow_id": "order", "activity_id": "1"}, Code.ACTIVITY_NOT_FOUND),
    ):
        with pytest.raises(ServiceError) as caught:
            await server.api.complete_activity(NAMESPACE, complete(**fields))
        assert code == caught.value.code


async def test_a_result_that_is_too_large_is_refused_at_the_door(server: OneServer, worker: Worker) -> None:
    """The caller is told; the activity is still pending and can be completed with less."""
    task = await detached(server, worker)
    large = asy.CompleteActivityRequest(task_token=task.token, result=Raw(b'"' + b"x" * 2_100_000 + b'"'))
    with pytest.raises(ServiceError, match="the limit is"):
        await server.api.complete_activity(NAMESPACE, large)
    await server.api.complete_activity(NAMESPACE, complete(task_token=task.token))


async def test_who_is_faster_than_the_report_wins(server: OneServer, worker: Worker) -> None:
    """Completed by its token before its worker said that it let go: the report comes too late, and nothing happens."""
    await server.start()
    await worker.turn(LONG)
    task = await worker.activity_task()
    await server.api.complete_activity(NAMESPACE, complete(task_token=task.token))
    (late,) = await worker.respond(tasks.ActivityTaskDetached(token=task.token))
    assert Code.TASK_NOT_FOUND == late.code
