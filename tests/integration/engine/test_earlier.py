"""A message that a run took before it closed is for no later run of the workflow id, however late it is repeated."""

from __future__ import annotations

from typing import Any

import pytest

from perdure_proto import commands as c
from perdure_proto import events as ev
from perdure_proto import service as svc
from perdure_proto.errors import Code, ServiceError
from perdure_server.engine.inbox import Answer, Source
from perdure_server.history.outbox import Delivery
from tests.engine import NAMESPACE, Cluster, OneServer, Worker

DONE = c.CompleteWorkflowExecution()
GO = svc.StartSignal(name="go")
SIGNAL = c.SignalExternalWorkflowExecution(workflow_id="order", signal_name="go")
CANCEL = c.RequestCancelExternalWorkflowExecution(workflow_id="order")
HOUR = 3600


async def replaced(server: OneServer, worker: Worker) -> str:
    """The run that is there closes, and a stranger has its workflow id."""
    await worker.turn(DONE)
    return (await server.start()).run_id


async def signals(server: OneServer, run_id: str) -> int:
    return (await server.event_types(run_id=run_id)).count("WorkflowExecutionSignaled")


async def cancel(server: OneServer, request_id: str) -> svc.Acknowledged:
    return await server.api.cancel_workflow(NAMESPACE, "order", svc.CancelWorkflowRequest(request_id=request_id))


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("closes", [False, True])
async def test_a_start_with_a_signal_that_a_replaced_run_took(
    cluster: Cluster, server: OneServer, worker: Worker, *, restarted: bool, closes: bool
) -> None:
    """A repeat is answered by the run that took the signal, and neither signals nor starts another."""
    first = await server.start()
    await server.start(start_signal=GO, request_id="r1")
    stranger = await replaced(server, worker)
    if closes:
        await worker.turn(DONE)
    if restarted:
        server = await cluster.restart(server)
    repeated = await server.start(start_signal=GO, request_id="r1")
    assert (first.run_id, False) == (repeated.run_id, repeated.started)
    assert 0 == await signals(server, stranger)
    assert [(2,)] == await cluster.rows("select count(*)::int from executions")


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_signal_that_a_replaced_run_took(
    cluster: Cluster, server: OneServer, worker: Worker, *, restarted: bool
) -> None:
    """A repeat gets the first answer; a signal with another id reaches the stranger."""
    first = await server.start()
    await server.signal(request_id="r1")
    stranger = await replaced(server, worker)
    if restarted:
        server = await cluster.restart(server)
    assert first.run_id == (await server.signal(request_id="r1")).run_id
    assert stranger == (await server.signal(request_id="r2")).run_id
    assert 1 == await signals(server, stranger)


async def test_a_signal_two_chains_ago(server: OneServer, worker: Worker) -> None:
    """A run that continued as new, handing the signal on, and then was replaced twice, still answers."""
    await server.start()
    first = await server.signal(request_id="r1")
    await worker.turn(c.ContinueAsNewWorkflowExecution(unclaimed_signals=(3,)))
    assert 1 == await signals(server, server.run().run_id)
    await replaced(server, worker)
    stranger = await replaced(server, worker)
    assert first.run_id == (await server.signal(request_id="r1")).run_id
    assert 0 == await signals(server, stranger)


async def test_a_signal_that_named_its_run_is_for_that_run(server: OneServer, worker: Worker) -> None:
    """Who names a run means that one, whatever another has taken."""
    first = await server.start()
    await server.signal(request_id="r1")
    stranger = await replaced(server, worker)
    assert first.run_id == (await server.signal(request_id="r1")).run_id
    assert stranger == (await server.signal(request_id="r1", run_id=stranger)).run_id
    assert first.run_id == (await server.signal(request_id="r1", run_id=first.run_id)).run_id
    assert 1 == await signals(server, stranger)


async def test_a_cancel_request_that_a_replaced_run_took(server: OneServer, worker: Worker) -> None:
    """A repeat does not stop the stranger."""
    first = await server.start()
    await cancel(server, "r1")
    stranger = await replaced(server, worker)
    assert first.run_id == (await cancel(server, "r1")).run_id
    assert not server.run().state.cancel_requested
    assert stranger == (await cancel(server, "r2")).run_id


async def test_ids_are_kept_for_ten_minutes(server: OneServer, worker: Worker) -> None:
    """A client has long stopped repeating; an id that is used again later is another message."""
    await server.start()
    await server.signal(request_id="r1")
    await worker.turn(DONE)
    server.move(HOUR)
    stranger = (await server.start()).run_id
    assert stranger == (await server.signal(request_id="r1")).run_id
    assert 1 == await signals(server, stranger)


async def test_a_run_on_a_free_id_looks_for_nothing(server: OneServer) -> None:
    """Signals to a run whose workflow id nobody had cost no read; one that replaced another costs one read."""
    reads = watch(server)
    await server.start()
    for n in range(3):
        await server.signal(request_id=f"r{n}")
    assert [] == reads
    worker = Worker(server)
    await replaced(server, worker)
    for n in range(3, 6):
        await server.signal(request_id=f"r{n}")
    await worker.turn(c.ContinueAsNewWorkflowExecution())
    await server.signal(request_id="r6")
    assert ["order"] == reads


def watch(server: OneServer) -> list[str]:
    """The workflow ids whose earlier runs are read from now on."""
    reads: list[str] = []
    store: Any = server.store
    read = store.requests_taken

    async def note(namespace_id: int, workflow_id: str, *more: Any) -> dict[str, str]:
        reads.append(workflow_id)
        found: dict[str, str] = await read(namespace_id, workflow_id, *more)
        return found

    store.requests_taken = note
    return reads


async def delivered(server: OneServer, worker: Worker, command: c.AnyCommand) -> tuple[Source, Delivery]:
    """What a workflow sent to another that was there, as it would be sent again by a new owner."""
    await server.start()
    await worker.turn()
    await server.start("source")
    await worker.turn(command)
    tasks = [await worker.workflow_task() for _ in range(2)]
    for task in tasks:
        await worker.answer(task, *([] if task.workflow_id == "source" else [DONE]))
    (initiated,) = [e for e in await server.history("source") if "Initiated" in e.event_type]
    assert isinstance(
        initiated,
        ev.SignalExternalWorkflowExecutionInitiated | ev.RequestCancelExternalWorkflowExecutionInitiated,
    )
    run_id = server.run("source").run_id
    kind: Any = "signal" if isinstance(command, c.SignalExternalWorkflowExecution) else "cancel"
    delivery = Delivery(kind=kind, event_id=5, namespace=NAMESPACE, workflow_id="order", initiated=initiated)
    return Source(NAMESPACE, "source", run_id, run_id), delivery


@pytest.mark.parametrize("command", [SIGNAL, CANCEL], ids=["signal", "cancel"])
@pytest.mark.parametrize("later", [0, HOUR])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_delivery_that_is_repeated_reaches_no_stranger(
    cluster: Cluster, server: OneServer, *, command: c.AnyCommand, later: int, restarted: bool
) -> None:
    """As long as a source owes a message, its receiver is who took it first, and answers as before."""
    source, delivery = await delivered(server, Worker(server), command)
    first = server.run().run_id
    server.move(later)
    stranger = (await server.start()).run_id
    if restarted:
        server = await cluster.restart(server)
        server.move(later)
    assert Answer(first) == await server.engine.outbox._inbox.take(source, delivery)
    heard = await server.event_types(run_id=stranger)
    assert [] == [name for name in heard if "Signaled" in name or "CancelRequested" in name]


async def test_a_delivery_that_nobody_took_reaches_who_is_there(server: OneServer, worker: Worker) -> None:
    """A message that is delivered for the first time is for the run that has the workflow id then."""
    await server.start()
    await worker.turn(DONE)
    source, delivery = await delivered(server, worker, SIGNAL)
    assert Answer(server.run().run_id) == await server.engine.outbox._inbox.take(source, delivery)
    with pytest.raises(ServiceError) as refused:
        await server.signal(request_id="unknown")
    assert Code.WORKFLOW_CLOSED is refused.value.code
