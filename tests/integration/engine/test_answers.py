"""Every answer waits for the last pending append of its workflow id, and is worth nothing once the fence is lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from perdure_proto import commands as c
from perdure_proto import service as svc
from perdure_proto import tasks
from perdure_proto.errors import Code, ServiceError
from perdure_server.history import requests as req
from tests.engine import NAMESPACE, Cluster, OneServer, Worker, is_waiting

ACTIVITY = c.ScheduleActivityTask(activity_id="1", activity_type="Pay")


async def test_a_start_is_answered_when_it_is_durable(server: OneServer) -> None:
    """Before the commit of a start its caller hears nothing."""
    server.store.gate.clear()
    starting = asyncio.ensure_future(server.start())
    assert await is_waiting(starting)
    server.store.gate.set()
    assert (await starting).started


async def test_a_repeated_start_waits_for_the_first(server: OneServer) -> None:
    """A duplicate start is not answered before what it repeats is durable."""
    server.store.gate.clear()
    first = asyncio.ensure_future(server.start(request_id="r"))
    second = asyncio.ensure_future(server.start(request_id="r"))
    assert await is_waiting(second)
    server.store.gate.set()
    assert (await first).run_id == (await second).run_id
    assert not (await second).started


async def test_a_refused_start_waits(server: OneServer) -> None:
    """That a workflow runs already is not said before that run is durable."""
    server.store.gate.clear()
    first = asyncio.ensure_future(server.start())
    second = asyncio.ensure_future(server.start())
    assert await is_waiting(second)
    server.store.gate.set()
    await first
    with pytest.raises(ServiceError) as refused:
        await second
    assert Code.WORKFLOW_ALREADY_STARTED == refused.value.code


async def test_a_signal_is_answered_when_it_is_durable(server: OneServer) -> None:
    """Before the commit of a signal its caller hears nothing."""
    await server.start()
    server.store.gate.clear()
    signalling = asyncio.ensure_future(server.signal())
    assert await is_waiting(signalling)
    server.store.gate.set()
    await signalling


async def test_a_repeated_signal_waits_for_the_first(server: OneServer) -> None:
    """A duplicate signal is not answered before what it repeats is durable."""
    await server.start()
    server.store.gate.clear()
    first = asyncio.ensure_future(server.signal(request_id="r"))
    second = asyncio.ensure_future(server.signal(request_id="r"))
    assert await is_waiting(second)
    server.store.gate.set()
    await asyncio.gather(first, second)
    assert 1 == (await server.event_types()).count("WorkflowExecutionSignaled")


async def test_a_refusal_waits_for_the_close_it_speaks_of(server: OneServer) -> None:
    """That a workflow is closed is not said before the close is durable."""
    await server.start()
    server.store.gate.clear()
    ending = asyncio.ensure_future(server.api.terminate_workflow(NAMESPACE, "order", svc.TerminateWorkflowRequest()))
    assert await is_waiting(ending)
    signalling = asyncio.ensure_future(server.signal())
    assert await is_waiting(signalling)
    server.store.gate.set()
    await ending
    with pytest.raises(ServiceError) as refused:
        await signalling
    assert Code.WORKFLOW_CLOSED == refused.value.code


async def test_a_description_shows_only_what_is_durable(server: OneServer) -> None:
    """A read that sees a pending append waits for it."""
    await server.start()
    server.store.gate.clear()
    signalling = asyncio.ensure_future(server.signal())
    assert await is_waiting(signalling)
    reading = asyncio.ensure_future(server.describe())
    assert await is_waiting(reading)
    server.store.gate.set()
    await signalling
    assert 3 == (await reading).execution.history_length


async def test_a_read_is_confirmed_by_a_commit_begun_after_it(server: OneServer) -> None:
    """The commit in flight may have held the fence long ago: a read waits for a later one."""
    await server.start()
    server.store.gate.clear()
    signalling = asyncio.ensure_future(server.signal())
    await server.store.waiting.wait()
    reading = asyncio.ensure_future(server.describe())
    assert await is_waiting(reading)
    server.store.gate.set()
    await asyncio.gather(signalling, reading)
    assert 1 == server.store.confirmations


async def test_a_read_of_a_server_that_lost_its_fence_fails(cluster: Cluster, server: OneServer) -> None:
    """A server that was taken over answers no read from memory."""
    await server.start()
    await cluster.server()
    with pytest.raises(ServiceError) as refused:
        await server.describe()
    assert Code.UNAVAILABLE == refused.value.code


async def test_a_result_is_read_under_the_fence(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """How a workflow ended is not said by a server that lost its fence: it may have been started anew."""
    await server.start()
    await worker.turn(c.CompleteWorkflowExecution())
    await cluster.server()
    with pytest.raises(ServiceError) as refused:
        await server.api.workflow_result(NAMESPACE, "order", "", 0)
    assert Code.UNAVAILABLE == refused.value.code


async def test_reads_after_the_loss_are_refused(cluster: Cluster, server: OneServer) -> None:
    """Once the fence is known to be lost no answer hangs."""
    await server.start()
    await cluster.server()
    with pytest.raises(ServiceError):
        await server.describe()
    with pytest.raises(ServiceError):
        await server.describe()


async def test_a_long_poll_ends_when_the_server_does(server: OneServer) -> None:
    """Who waits for a result is told to ask elsewhere."""
    await server.start()
    waiting = asyncio.ensure_future(server.api.workflow_result(NAMESPACE, "order", "", 60))
    assert await is_waiting(waiting)
    await server.die()
    with pytest.raises(ServiceError) as refused:
        await waiting
    assert Code.UNAVAILABLE == refused.value.code


async def test_a_buffered_signal_does_not_outlive_the_fence(cluster: Cluster) -> None:
    """A signal that waits in the buffer of a server that was taken over is refused, not forgotten."""
    server = await cluster.server()
    await server.start()
    await Worker(server).workflow_task()
    signalling = asyncio.ensure_future(server.signal())
    assert await is_waiting(signalling)
    await cluster.server()
    with pytest.raises(ServiceError) as refused:
        await signalling
    assert Code.UNAVAILABLE == refused.value.code


async def test_a_completion_in_the_buffer_is_answered_when_it_is_kept(server: OneServer, worker: Worker) -> None:
    """The result of an activity that comes while a workflow task is started is durable before the worker hears so."""
    await server.start()
    await worker.turn(ACTIVITY)
    activity = await worker.activity_task()
    await server.signal()
    await worker.workflow_task()
    server.store.gate.clear()
    answering = asyncio.ensure_future(worker.done(activity))
    assert await is_waiting(answering)
    server.store.gate.set()
    assert tasks.CompletionResult() == await answering
    assert server.run().durable_buffer


async def test_a_refused_completion_waits_for_what_refuses_it(server: OneServer, worker: Worker) -> None:
    """That a task is not open any more is not said before that is durable."""
    await server.start()
    task = await worker.workflow_task()
    server.store.gate.clear()
    ending = asyncio.ensure_future(server.api.terminate_workflow(NAMESPACE, "order", svc.TerminateWorkflowRequest()))
    assert await is_waiting(ending)
    answering = asyncio.ensure_future(worker.answer(task))
    assert await is_waiting(answering)
    server.store.gate.set()
    await ending
    assert Code.TASK_NOT_FOUND == (await answering).code


async def test_an_endless_stream_of_signals_does_not_hold_up_a_read(server: OneServer) -> None:
    """A read waits for what was pending when it came, not for what comes later."""
    await server.start()
    server.store.gate.clear()
    first = asyncio.ensure_future(server.signal())
    await server.store.waiting.wait()
    execution = server.run()
    landing = asyncio.ensure_future(execution.landed())
    second = asyncio.ensure_future(server.signal())
    assert await is_waiting(second)
    server.store.gate.set()
    server.store.committed = asyncio.Condition()
    await asyncio.gather(first, landing)
    await second


async def test_a_buffered_signal_hears_that_the_server_is_over(cluster: Cluster) -> None:
    """A signal still in memory when the fence turns out to be lost is refused when its time is up."""
    server = await cluster.server(buffer_unacknowledged_for=timedelta(seconds=0.3))
    await server.start()
    await Worker(server).workflow_task()
    signalling = asyncio.ensure_future(server.signal())
    assert await is_waiting(signalling)
    await cluster.server()
    with pytest.raises(ServiceError):
        await server.start("other")
    with pytest.raises(ServiceError) as refused:
        await signalling
    assert Code.UNAVAILABLE == refused.value.code


async def test_a_run_that_closes_while_it_is_read_has_more_to_come(
    server: OneServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who follows a history is not told that it ends before its last event was given."""
    await server.start()
    read = server.store.history

    async def history(*arguments: Any) -> Any:
        rows = await read(*arguments)
        server.engine.transact(server.run(), req.TerminateExecution())
        return rows

    monkeypatch.setattr(server.store, "history", history, raising=False)
    answer = await server.api.history(NAMESPACE, "order", "", 2, 0)
    monkeypatch.undo()
    assert (b"[]", 3) == (bytes(answer.events), answer.next_event_id)
    assert 0 == (await server.api.history(NAMESPACE, "order", "", 2, 0)).next_event_id
