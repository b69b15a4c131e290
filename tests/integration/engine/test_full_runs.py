"""A run whose history is full: nothing that is owed to it is lost, and it can be closed."""

from __future__ import annotations

from datetime import timedelta

import pytest
import pytest_asyncio

from perdure_proto import commands as c
from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import TerminateWorkflowRequest
from perdure_server.config import Limits
from tests.engine import NAMESPACE, Cluster, OneServer, Worker

FULL_AT = 8
WAITS_FOR = (
    c.ScheduleActivityTask(activity_id="1", activity_type="Pay"),
    c.StartTimer(timer_id="t", start_to_fire_timeout=timedelta(seconds=10)),
    c.StartChildWorkflowExecution(workflow_id="child", workflow_type="Order", parent_close_policy="abandon"),
    c.SignalExternalWorkflowExecution(workflow_id="missing", signal_name="go"),
)
ANSWERS = {
    "ActivityTaskCompleted",
    "TimerFired",
    "ChildWorkflowExecutionStarted",
    "ChildWorkflowExecutionCompleted",
    "SignalExternalWorkflowExecutionFailed",
}


@pytest_asyncio.fixture
async def server(cluster: Cluster) -> OneServer:
    """Its histories have room for the commands of one task."""
    return await cluster.server(limits=Limits(history_events_max=FULL_AT + 20, history_events_reserved=20))


async def fill(server: OneServer, worker: Worker) -> None:
    """A run that waits for one of each, all of which have come, and whose history is full."""
    await server.start()
    await worker.turn(*WAITS_FOR)
    server.move(11)
    child = await worker.workflow_task()
    assert "child" == child.workflow_id
    await worker.answer(child, c.CompleteWorkflowExecution())
    await server.settle()


async def test_a_full_run_takes_no_news(server: OneServer) -> None:
    """No activity is begun for it, a signal and an update are refused, and its history stays as it is."""
    await fill(server, Worker(server))
    assert FULL_AT == len(await server.event_types())
    assert ("activity", 5) not in server.run().offered
    assert () == (await Worker(server, "other").poll(activities=1, wait=0)).tasks
    with pytest.raises(ServiceError) as refused:
        await server.signal()
    assert Code.HISTORY_LIMIT is refused.value.code


async def test_what_is_owed_to_a_full_run_comes_when_it_has_room(cluster: Cluster, server: OneServer) -> None:
    """A server that begins with a higher limit brings all of it."""
    await fill(server, Worker(server))
    successor = await cluster.restart(server)
    successor.move(11)
    worker = Worker(successor)
    await worker.done(await worker.activity_task())
    while not set(await successor.event_types()) >= ANSWERS:
        await successor.settle()
    assert len(ANSWERS) == sum(name in ANSWERS for name in await successor.event_types())


async def test_an_answer_alone_is_owed(cluster: Cluster) -> None:
    """A run to which nothing but an answer is owed is found by the next server."""
    server = await cluster.server(limits=Limits(history_events_max=25, history_events_reserved=20))
    await server.start()
    await Worker(server).turn(WAITS_FOR[-1])
    await server.settle()
    await server.sweep()
    assert [(True,)] == await cluster.rows("select owed from wakes")
    successor = await cluster.restart(server)
    while "SignalExternalWorkflowExecutionFailed" not in await successor.event_types():
        await successor.settle()


async def test_the_result_of_a_running_activity_is_owed(cluster: Cluster, server: OneServer) -> None:
    """Its worker hears that the history is full, and the activity is done again once there is room."""
    worker = Worker(server)
    await server.start()
    await worker.turn(WAITS_FOR[0])
    activity = await worker.activity_task()
    for n in range(FULL_AT - 6):
        await server.signal(request_id=f"r{n}")
    assert Code.HISTORY_LIMIT is (await worker.done(activity)).code
    successor = await cluster.restart(server)
    again = Worker(successor, "worker-2")
    assert (await again.done(await again.activity_task())).code is None
    assert "ActivityTaskCompleted" in await successor.event_types()


async def test_a_full_run_that_closes_leaves_nothing_owed(cluster: Cluster, server: OneServer) -> None:
    """What it was not told is acknowledged with its close, also the end of its child."""
    await fill(server, Worker(server))
    assert await cluster.rows("select 1 from wakes")
    await server.api.terminate_workflow(NAMESPACE, "order", TerminateWorkflowRequest())
    while await cluster.rows("select 1 from wakes"):
        await server.settle()
    assert "WorkflowExecutionTerminated" == (await server.event_types())[-1]
