"""Signal-with-start: one transition, one signal for each request id, whatever happens in between."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure_proto import commands as c
from perdure_proto import service as svc
from perdure_proto.errors import Code, ServiceError
from tests.engine import NAMESPACE, Cluster, OneServer, Worker, is_waiting

GO = svc.StartSignal(name="go")


async def signal_with_start(server: OneServer, request_id: str = "r1", **options: Any) -> svc.StartWorkflowAnswer:
    return await server.start(start_signal=GO, request_id=request_id, **options)


async def signals(server: OneServer, run_id: str = "") -> int:
    return (await server.event_types(run_id=run_id)).count("WorkflowExecutionSignaled")


async def test_a_new_run_has_its_signal_in_one_append(server: OneServer, cluster: Cluster) -> None:
    """Started, Signaled and the first workflow task are one row of the log."""
    assert (await signal_with_start(server)).started
    expected = ["WorkflowExecutionStarted", "WorkflowExecutionSignaled", "WorkflowTaskScheduled"]
    assert expected == await server.event_types()
    assert [(1, 3)] == await cluster.rows("select first_event_id, last_event_id from history")


async def test_a_run_that_is_open_gets_the_signal(server: OneServer) -> None:
    """The default conflict policy is no refusal; the answer says that nothing was started."""
    first = await server.start()
    answer = await signal_with_start(server)
    assert (first.run_id, False) == (answer.run_id, answer.started)
    assert 1 == await signals(server)


async def test_of_two_at_once_one_starts_and_both_signal(server: OneServer) -> None:
    """The loser of the start finds the winner's run."""
    server.store.gate.clear()
    both = [asyncio.ensure_future(signal_with_start(server, name)) for name in ("r1", "r2")]
    await asyncio.sleep(0)
    server.store.gate.set()
    answers = await asyncio.gather(*both)
    assert [False, True] == sorted(answer.started for answer in answers)
    assert 2 == await signals(server)


async def test_a_repeat_is_no_second_signal(server: OneServer) -> None:
    """Neither where the first one started the run, nor where it found it."""
    answers = [await signal_with_start(server, request_id) for request_id in ("r1", "r1", "r2", "r2")]
    assert 1 == len({answer.run_id for answer in answers})
    assert [True, False, False, False] == [answer.started for answer in answers]
    assert 2 == await signals(server)


async def test_a_repeat_is_known_after_a_restart(cluster: Cluster, server: OneServer) -> None:
    """What was acknowledged is in the log, request id included."""
    await signal_with_start(server, "r1")
    await signal_with_start(server, "r2")
    server = await cluster.restart(server)
    await signal_with_start(server, "r1")
    await signal_with_start(server, "r2")
    assert 2 == await signals(server)


@pytest.mark.parametrize("closing", [c.ContinueAsNewWorkflowExecution(), c.CompleteWorkflowExecution()])
async def test_a_repeat_gets_the_run_that_took_the_signal(
    server: OneServer, worker: Worker, closing: c.AnyCommand
) -> None:
    """Also when that run has closed or continued as new meanwhile."""
    first = await server.start()
    signalled = await signal_with_start(server)
    assert (await worker.turn(closing)).code is None
    repeated = await signal_with_start(server)
    assert (first.run_id, False) == (repeated.run_id, repeated.started)
    assert signalled.run_id == repeated.run_id
    assert 1 == await signals(server, first.run_id)


async def test_a_repeat_is_known_down_the_chain(server: OneServer, worker: Worker) -> None:
    """Two runs later it is still the first run that answers."""
    first = await server.start()
    await signal_with_start(server)
    for _ in range(2):
        await worker.turn(c.ContinueAsNewWorkflowExecution())
    assert first.run_id == (await signal_with_start(server)).run_id
    assert 0 == await signals(server)


async def test_a_closed_run_is_replaced(server: OneServer, worker: Worker) -> None:
    """As a start does it, by the reuse policy."""
    first = await server.start()
    await worker.turn(c.CompleteWorkflowExecution())
    with pytest.raises(ServiceError) as refused:
        await signal_with_start(server, id_reuse_policy="reject_duplicate")
    assert Code.WORKFLOW_ALREADY_STARTED == refused.value.code
    second = await signal_with_start(server)
    assert second.started
    assert first.run_id != second.run_id
    assert 1 == await signals(server)


async def test_a_run_can_be_ended_for_it(server: OneServer) -> None:
    """`terminate_existing` begins a run with the signal; the old one does not get it."""
    first = await server.start()
    second = await signal_with_start(server, id_conflict_policy="terminate_existing")
    assert second.started
    assert (0, 1) == (await signals(server, first.run_id), await signals(server))


async def test_it_waits_where_signals_are_held(server: OneServer, worker: Worker) -> None:
    """After two refused closings it waits for the task, and starts the next run when that closed this one."""
    await server.start()
    for number in range(2):
        task = await worker.workflow_task()
        await server.signal(request_id=f"s{number}")
        assert Code.UNHANDLED_COMMAND == (await worker.answer(task, c.CompleteWorkflowExecution())).code
    task = await worker.workflow_task()
    waiting = asyncio.ensure_future(signal_with_start(server))
    assert await is_waiting(waiting)
    await worker.answer(task, c.CompleteWorkflowExecution())
    assert (await waiting).started
    assert 1 == await signals(server)


@pytest.mark.parametrize(
    ("signal", "code"),
    [
        (svc.StartSignal(name=""), Code.INVALID_ARGUMENT),
        (svc.StartSignal(name="x" * 256), Code.ID_TOO_LONG),
    ],
)
async def test_a_signal_that_cannot_be_sent_starts_nothing(
    server: OneServer, signal: svc.StartSignal, code: Code
) -> None:
    """It is refused before anything is written."""
    with pytest.raises(ServiceError) as refused:
        await server.start(start_signal=signal)
    assert code == refused.value.code
    with pytest.raises(ServiceError, match="no workflow"):
        await server.api.describe_workflow(NAMESPACE, "order", "")


async def test_a_repeat_that_finds_the_signal_staged_waits(server: OneServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same request came twice at once: the second is not answered before the first is durable."""
    await server.start()
    looks, goes_on, looked = asyncio.Event(), asyncio.Event(), asyncio.Event()
    look = server.store.execution_by_request

    async def look_later(*key: Any) -> Any:
        looks.set()
        await goes_on.wait()
        found = await look(*key)
        looked.set()
        return found

    monkeypatch.setattr(server.store, "execution_by_request", look_later, raising=False)
    second = asyncio.ensure_future(signal_with_start(server, "r"))
    await looks.wait()
    server.store.gate.clear()
    first = asyncio.ensure_future(server.signal(request_id="r"))
    goes_on.set()
    await looked.wait()
    assert await is_waiting(second)
    server.store.gate.set()
    assert (await first).run_id == (await second).run_id
