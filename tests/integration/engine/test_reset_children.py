"""Children across a reset: those from before the point belong to the new run, those from after are closed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure_proto import commands as c
from perdure_proto import events as ev
from perdure_proto.failures import ApplicationFailure, Failure
from perdure_proto.service import (
    ReopenWorkflowRequest,
    ResetWorkflowAnswer,
    ResetWorkflowRequest,
    TerminateWorkflowRequest,
)
from perdure_server.engine.inbox import Answer, Inbox, Source
from perdure_server.history.outbox import Delivery
from tests.engine import NAMESPACE, Cluster, OneServer, Worker
from tests.integration.engine.test_across import CHILD, DONE, SIGNAL, cut_off, names, tasks_of, with_child

FAILS = c.FailWorkflowExecution(failure=Failure(message="a bug", info=ApplicationFailure(type="Bug")))


async def reset(server: OneServer, workflow_id: str = "parent", **options: Any) -> ResetWorkflowAnswer:
    return await server.api.reset_workflow(NAMESPACE, workflow_id, ResetWorkflowRequest(**options))


async def test_a_child_from_before_the_point_answers_the_new_run(server: OneServer, worker: Worker) -> None:
    """It goes on, and its end is an event of the new run."""
    parent, child = await with_child(server, worker)
    await worker.answer(parent)
    await reset(server, point="last")
    assert "RUNNING" == (await server.describe("child")).execution.status
    await worker.answer(child, DONE)
    other = Worker(server, "worker-2")
    task = await other.workflow_task()
    await other.answer(task, DONE)
    assert ["ChildWorkflowExecutionCompleted"] == names(await server.history("parent"), "ChildWorkflowExecutionComp")


async def test_a_child_answers_the_run_that_goes_on_after_two_resets(server: OneServer, worker: Worker) -> None:
    """Of two copies of its parent the one that is current hears of its end, in whatever order they were begun."""
    parent, child = await with_child(server, worker)
    await worker.answer(parent)
    base = server.run("parent").run_id
    first = await reset(server, point="last", run_id=base)
    await reset(server, point="last", run_id=base)

    async def begun_last(*_: Any) -> str:
        return first.run_id

    server.store.__dict__["reset_run"] = begun_last
    await worker.answer(child, DONE)
    other = Worker(server, "worker-2")
    await other.answer(await other.workflow_task(), DONE)
    assert ["ChildWorkflowExecutionCompleted"] == names(await server.history("parent"), "ChildWorkflowExecutionComp")


async def test_a_child_from_after_the_point_is_closed_first(server: OneServer, worker: Worker) -> None:
    """The first task of the new run may start one of that id again."""
    await server.start("parent")
    await worker.turn(c.RecordMarker(marker_name="before"))
    await server.signal("parent")
    await worker.turn(CHILD)
    parent, _ = await tasks_of(worker, "parent", "child")
    await worker.answer(parent)
    first = server.run("child").run_id
    await reset(server, event_id=4)
    other = Worker(server, "worker-2")
    await other.turn(CHILD)
    await tasks_of(other, "parent", "child")
    assert "WorkflowExecutionTerminated" == (await server.event_types("child", first))[-1]
    assert first != server.run("child").run_id
    assert "StartChildWorkflowExecutionFailed" not in await server.event_types("parent")


class Gates:
    """Deliveries of these kinds wait, whatever server sends them, until their gate is set."""

    def __init__(self) -> None:
        self.close_child, self.child_closed, self.start_child = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.child_closed.set()
        self.start_child.set()
        self.has_told = asyncio.Event()
        """The end of a child was told to its parent."""

    async def passed(self, kind: str) -> None:
        gate = getattr(self, kind, None)
        if gate is not None:
            await gate.wait()


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> Gates:
    """No child is closed by its policy before the test says so."""
    gates, take = Gates(), Inbox.take

    async def late(self: Inbox, source: Source, delivery: Delivery) -> Answer:
        await gates.passed(delivery.kind)
        answer = await take(self, source, delivery)
        if delivery.kind == "child_closed":
            gates.has_told.set()
        return answer

    monkeypatch.setattr(Inbox, "take", late)
    return gates


async def with_late_child(server: OneServer, worker: Worker) -> str:
    """A parent whose second task, after event 4, started a child; the run id of the child."""
    await server.start("parent")
    await worker.turn(c.RecordMarker(marker_name="before"))
    await server.signal("parent")
    await worker.turn(CHILD)
    for task in await tasks_of(worker, "parent", "child"):
        await worker.answer(task)
    return server.run("child").run_id


async def closed_before_the_first_task(server: OneServer, gates: Gates) -> None:
    """The task of the new run waits for the close of the child, and comes then."""
    other = Worker(server, "worker-2")
    assert () == (await other.poll(workflows=1, wait=0.05)).tasks
    gates.close_child.set()
    await other.turn(CHILD)
    await tasks_of(other, "parent", "child")
    assert "StartChildWorkflowExecutionFailed" not in await server.event_types("parent")


async def test_a_new_owner_closes_the_children_first(
    cluster: Cluster, server: OneServer, worker: Worker, gates: Gates
) -> None:
    """A server that dies between the reset and the close of a child leaves the waiting to its successor too."""
    child = await with_late_child(server, worker)
    await reset(server, event_id=4)
    successor = await cluster.restart(server)
    await closed_before_the_first_task(successor, gates)
    assert "WorkflowExecutionTerminated" == (await successor.event_types("child", child))[-1]


async def test_a_run_that_has_failed_closes_its_children_first(
    cluster: Cluster, server: OneServer, worker: Worker, gates: Gates
) -> None:
    """What closed before the reset may owe the close of a child still; a restart changes nothing in that."""
    await with_late_child(server, worker)
    await server.signal("parent")
    await worker.turn(FAILS)
    await reset(server, event_id=4)
    assert () == (await Worker(server, "worker-3").poll(workflows=1, wait=0.05)).tasks
    await closed_before_the_first_task(await cluster.restart(server), gates)


async def test_the_end_of_a_child_from_after_the_point_is_nobodys(
    server: OneServer, worker: Worker, gates: Gates
) -> None:
    """The new run has begun another child with an event of the same id, and does not take the one for the other."""
    await with_late_child(server, worker)
    await server.signal("parent")
    before = set(server.run("parent").state.children)
    gates.close_child.set()
    gates.child_closed.clear()
    await reset(server, event_id=4)
    other = Worker(server, "worker-2")
    gates.start_child.clear()
    await other.turn(CHILD)
    assert before == set(server.run("parent").state.children)
    gates.child_closed.set()
    await gates.has_told.wait()
    gates.start_child.set()
    for task in await tasks_of(other, "parent", "child"):
        await other.answer(task)
    assert "RUNNING" == (await server.describe("child")).execution.status
    assert ["ChildWorkflowExecutionStarted"] == names(await server.history("parent"), "ChildWorkflowExecution")[1:]


async def test_an_end_that_came_after_the_point_is_told_again(server: OneServer, worker: Worker) -> None:
    """The child was started before and closed after: the new run hears of it once."""
    parent, child = await with_child(server, worker)
    await worker.answer(parent)
    await worker.answer(child, DONE)
    await worker.turn()
    await reset(server, event_id=4 + 1 + 1 + 3)
    events = await server.history("parent")
    assert ["ChildWorkflowExecutionCompleted"] == names(events, "ChildWorkflowExecutionComp")
    await Worker(server, "worker-2").turn(DONE)


async def test_the_start_that_was_told_after_the_point_is_told_again(server: OneServer, worker: Worker) -> None:
    """Both events of the child are in the new run, and fit each other."""
    parent, child = await with_child(server, worker)
    await worker.answer(child, DONE)
    await worker.answer(parent)
    await worker.turn()
    await server.signal("parent")
    await worker.turn()
    await reset(server, point="last")
    events = await server.history("parent")
    (started,) = [event for event in events if isinstance(event, ev.ChildWorkflowExecutionStarted)]
    (closed,) = [event for event in events if isinstance(event, ev.ChildWorkflowExecutionCompleted)]
    assert started.event_id == closed.started_event_id


async def test_a_failed_parent_hears_on_reopening_that_its_child_was_closed(server: OneServer, worker: Worker) -> None:
    """The child ended with the failed run; the new run is told how, and the operator that it cannot be undone."""
    parent, _ = await with_child(server, worker)
    await worker.answer(parent)
    await server.signal("parent")
    await worker.turn(FAILS)
    await server.store.until(lambda batch: any(change.status == 5 for change in batch.changes))
    answer = await server.api.reopen_workflow(NAMESPACE, "parent", ReopenWorkflowRequest())
    assert ("1 children were closed or asked to stop when it failed",) == answer.notes
    assert ["ChildWorkflowExecutionTerminated"] == names(await server.history("parent"), "ExecutionTerminated")
    await Worker(server, "worker-2").turn(DONE)


async def test_the_child_of_an_earlier_workflow_is_nobodys(server: OneServer, worker: Worker) -> None:
    """It had the same parent id, event id and child id; the run that goes on has not started its own yet."""
    parent, child = await with_child(server, worker)
    await worker.answer(child, DONE)
    await worker.answer(parent)
    await worker.turn(DONE)
    await server.start("parent")
    task = await worker.workflow_task()
    cut_off(server)
    await worker.answer(task, CHILD)
    await server.signal("parent")
    await worker.turn()
    await server.api.terminate_workflow(NAMESPACE, "parent", TerminateWorkflowRequest())
    await reset(server, point="last")
    assert ["StartChildWorkflowExecutionInitiated"] == names(await server.history("parent"), "Child")


async def test_a_child_that_is_reset_stays_the_child(server: OneServer, worker: Worker) -> None:
    """Its parent hears nothing of the old run, and the end of the new one."""
    parent, child = await with_child(server, worker)
    await worker.answer(parent)
    await worker.answer(child)
    await reset(server, "child", point="last")
    assert "ChildWorkflowExecutionTerminated" not in await server.event_types("parent")
    other = Worker(server, "worker-2")
    await other.turn(DONE)
    await other.turn(DONE)
    assert "ChildWorkflowExecutionCompleted" in await server.event_types("parent")


async def test_the_new_run_closes_the_child_that_it_inherited(server: OneServer, worker: Worker) -> None:
    """By its policy, though the child names the old run as its parent."""
    parent, _ = await with_child(server, worker)
    await worker.answer(parent)
    await reset(server, point="last")
    await Worker(server, "worker-2").turn(DONE)
    await server.store.until(lambda batch: any(change.status == 5 for change in batch.changes[-1:]))
    child = server.run("child")
    while child.state.is_open:
        await server.settle()
    assert "TERMINATED" == child.state.status


async def test_a_message_that_was_not_answered_is_delivered_once(
    cluster: Cluster, server: OneServer, worker: Worker
) -> None:
    """The new run sends it again under the name that it had."""
    await server.start("other")
    await server.start("parent")
    _, parent = await tasks_of(worker, "other", "parent")
    cut_off(server)
    await worker.answer(parent, SIGNAL)
    await server.signal("parent")
    await worker.turn()
    await reset(server, point="last")
    successor = await cluster.restart(server)
    while "ExternalWorkflowExecutionSignaled" not in await successor.event_types("parent"):
        await successor.settle()
    assert 1 == (await successor.event_types("other")).count("WorkflowExecutionSignaled")
