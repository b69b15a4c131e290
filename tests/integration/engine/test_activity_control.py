"""Single activities that are paused, reset and given other options while they are pending."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perdure_proto import commands as c
from perdure_proto import tasks
from perdure_proto.errors import Code, ServiceError
from perdure_proto.options import RetryPolicy
from perdure_proto.service import (
    PauseActivityRequest,
    PendingActivity,
    ResetActivityRequest,
    UnpauseActivityRequest,
    UpdateActivityOptionsRequest,
)
from tests.engine import NAMESPACE, Cluster, OneServer, Worker

SECOND = timedelta(seconds=1)
AT = NAMESPACE, "order", "1"
ACTIVITY = c.ScheduleActivityTask(activity_id="1", activity_type="Pay", retry_policy=RetryPolicy(maximum_attempts=9))
BEATS = c.ScheduleActivityTask(activity_id="1", activity_type="Pay", heartbeat_timeout=10 * SECOND)


async def pending(server: OneServer) -> PendingActivity:
    return (await server.describe()).pending_activities[0]


async def begin(server: OneServer, worker: Worker, command: c.ScheduleActivityTask = ACTIVITY) -> None:
    await server.start()
    await worker.turn(command)


async def test_a_paused_activity_is_not_handed_out(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """Though it is queued already, and after a restart; describe says who paused it."""
    await begin(server, worker)
    await server.api.pause_activity(AT, PauseActivityRequest(reason="bank", identity="ada"))
    assert () == (await worker.poll(activities=1, wait=0.05)).tasks
    successor = await cluster.restart(server)
    other = Worker(successor)
    assert () == (await other.poll(activities=1, wait=0.05)).tasks
    found = await pending(successor)
    assert found.pause is not None
    assert ("PAUSED", "ada", "bank") == (found.state, found.pause.identity, found.pause.reason)
    await successor.api.unpause_activity(AT, UnpauseActivityRequest())
    assert 1 == (await other.activity_task()).attempt


async def test_an_attempt_that_heartbeats_is_told_and_not_counted(server: OneServer, worker: Worker) -> None:
    """It stops, and is the same attempt when the pause is over."""
    await begin(server, worker, BEATS)
    activity = await worker.activity_task()
    await server.api.pause_activity(AT, PauseActivityRequest())
    await worker.acknowledge()
    assert ["PAUSED"] == [push.reason for push in worker.pushes if isinstance(push, tasks.CancelActivity)]
    await worker.respond(tasks.ActivityTaskCancellation(token=activity.token))
    await server.api.unpause_activity(AT, UnpauseActivityRequest())
    assert 1 == (await worker.activity_task()).attempt


async def test_an_attempt_that_does_not_heartbeat_goes_on(server: OneServer, worker: Worker) -> None:
    """Its result closes the activity; a failure waits for the end of the pause."""
    await begin(server, worker)
    activity = await worker.activity_task()
    await server.api.pause_activity(AT, PauseActivityRequest())
    await worker.acknowledge()
    assert () == worker.pushes
    await worker.failed(activity)
    server.move(5)
    assert () == (await worker.poll(activities=1, wait=0.05)).tasks
    await server.api.unpause_activity(AT, UnpauseActivityRequest())
    await worker.done(await worker.activity_task())
    assert "ActivityTaskCompleted" in await server.event_types()


async def test_a_reset_begins_with_attempt_1(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """At once, though it backs off; a restart knows it too."""
    await begin(server, worker)
    await worker.failed(await worker.activity_task())
    assert 2 == (await pending(server)).attempt
    await server.api.reset_activity(AT, ResetActivityRequest())
    successor = await cluster.restart(server)
    assert 1 == (await Worker(successor).activity_task()).attempt


async def test_the_first_attempt_of_before_a_reset_is_another(
    cluster: Cluster, server: OneServer, worker: Worker
) -> None:
    """Its worker came late: what it says does not count, also after a restart; that of the new first attempt does."""
    await begin(server, worker)
    old = await worker.activity_task()
    await worker.failed(old)
    await server.api.reset_activity(AT, ResetActivityRequest())
    new = await worker.activity_task()
    assert (1, 1) == (old.attempt, new.attempt)
    assert Code.TASK_NOT_FOUND == (await worker.done(old)).code
    assert Code.TASK_NOT_FOUND == (await worker.respond(tasks.ActivityTransaction(token=old.token)))[0].code
    assert old.token.count(".") < new.token.count(".")
    successor = await cluster.restart(server)
    other = Worker(successor, held=[new.token])
    await other.acknowledge()
    assert Code.TASK_NOT_FOUND == (await other.done(old)).code
    assert tasks.CompletionResult() == await other.done(new)


async def test_a_pause_that_ends_with_a_reset_leaves_the_attempt_that_runs(server: OneServer, worker: Worker) -> None:
    """It may end the activity; where it fails, the next one is the first."""
    await begin(server, worker)
    await worker.failed(await worker.activity_task())
    server.move(2)
    second = await worker.activity_task()
    await server.api.pause_activity(AT, PauseActivityRequest())
    await server.api.unpause_activity(AT, UnpauseActivityRequest(reset_attempts=True))
    await worker.failed(second)
    assert 1 == (await worker.activity_task()).attempt


async def test_a_reset_of_a_running_attempt_holds_when_it_failed(server: OneServer, worker: Worker) -> None:
    """The next one is the first."""
    await begin(server, worker)
    activity = await worker.activity_task()
    await server.api.reset_activity(AT, ResetActivityRequest())
    await worker.failed(activity)
    assert 1 == (await worker.activity_task()).attempt


async def test_other_options_hold_at_once(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """Another queue takes it over, and a longer timeout holds after a restart."""
    await begin(server, worker)
    change = UpdateActivityOptionsRequest(task_queue="other", start_to_close_timeout=timedelta(hours=1))
    await server.api.update_activity_options(AT, change)
    assert () == (await worker.poll(activities=1, wait=0.05)).tasks
    assert "other" == (await pending(server)).task_queue
    await server.api.update_activity_options(AT, UpdateActivityOptionsRequest(task_queue="default"))
    activity = await worker.activity_task()
    assert timedelta(hours=1) == activity.start_to_close_timeout
    successor = await cluster.restart(server)
    other = Worker(successor, held=[activity.token])
    await other.acknowledge()
    successor.move(600)
    assert tasks.CompletionResult() == await other.done(activity)


async def test_the_options_can_be_had_back(server: OneServer, worker: Worker) -> None:
    """As the event says."""
    await begin(server, worker)
    await server.api.update_activity_options(AT, UpdateActivityOptionsRequest(heartbeat_timeout=SECOND))
    await server.api.update_activity_options(AT, UpdateActivityOptionsRequest(restore_original=True))
    assert (await worker.activity_task()).heartbeat_timeout is None


@pytest.mark.parametrize(
    "change",
    [
        UpdateActivityOptionsRequest(),
        UpdateActivityOptionsRequest(task_queue="q", restore_original=True),
        UpdateActivityOptionsRequest(heartbeat_timeout=timedelta(0)),
        UpdateActivityOptionsRequest(retry_policy=RetryPolicy(backoff_coefficient=0.5)),
    ],
)
async def test_options_that_cannot_be_are_refused(
    server: OneServer, worker: Worker, change: UpdateActivityOptionsRequest
) -> None:
    """With the field that is wrong."""
    await begin(server, worker)
    with pytest.raises(ServiceError) as refused:
        await server.api.update_activity_options(AT, change)
    assert Code.INVALID_ARGUMENT == refused.value.code


async def test_an_activity_that_is_not_pending_is_not_found(server: OneServer) -> None:
    """The error names it."""
    await server.start()
    with pytest.raises(ServiceError, match="no pending activity '1'"):
        await server.api.pause_activity(AT, PauseActivityRequest())
