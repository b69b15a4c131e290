"""Between executions: children, messages, and what is owed when a server dies or an answer is lost."""

from __future__ import annotations

from typing import Any

import pytest

from perdure_proto import commands as c
from perdure_proto import events as ev
from perdure_proto.errors import Code, ServiceError
from perdure_proto.options import ParentClosePolicy
from perdure_proto.service import TerminateWorkflowRequest
from perdure_proto.tasks import WorkflowTask
from perdure_server.engine.inbox import Answer, Source
from perdure_server.history.outbox import Delivery
from tests.engine import NAMESPACE, Cluster, OneServer, Worker

DONE = c.CompleteWorkflowExecution()
CHILD = c.StartChildWorkflowExecution(workflow_id="child", workflow_type="Order")
SIGNAL = c.SignalExternalWorkflowExecution(workflow_id="other", signal_name="go")
CANCEL = c.RequestCancelExternalWorkflowExecution(workflow_id="other")


class Unreachable:
    """An inbox that nothing reaches."""

    async def take(self, source: Source, delivery: Delivery) -> Answer:
        raise ServiceError(Code.UNAVAILABLE, "nothing gets there")

    async def take_signals(self, source: Source, deliveries: Any) -> list[Answer]:
        raise ServiceError(Code.UNAVAILABLE, "nothing gets there")


def cut_off(server: OneServer) -> None:
    """From now on nothing of this server reaches another execution."""
    server.engine.outbox._inbox = Unreachable()  # type: ignore[assignment]


async def tasks_of(worker: Worker, *workflow_ids: str) -> list[WorkflowTask]:
    """The next workflow tasks, in the order of the ids named."""
    tasks = [await worker.workflow_task() for _ in workflow_ids]
    return sorted(tasks, key=lambda task: workflow_ids.index(task.workflow_id))


async def with_child(server: OneServer, worker: Worker, **options: Any) -> tuple[WorkflowTask, WorkflowTask]:
    """A parent that knows that its child runs, and the first task of the child."""
    await server.start("parent")
    command = c.StartChildWorkflowExecution(workflow_id="child", workflow_type="Order", **options)
    await worker.turn(command)
    parent, child = await tasks_of(worker, "parent", "child")
    return parent, child


def names(events: list[ev.AnyEvent], *kinds: str) -> list[str]:
    """The types of the events about other executions."""
    return [event.event_type for event in events if any(kind in event.event_type for kind in kinds)]


async def test_a_child_starts_and_its_parent_hears_how_it_ended(server: OneServer, worker: Worker) -> None:
    """The intent, the start and the end of a child are events of its parent."""
    parent, child = await with_child(server, worker)
    await worker.answer(parent)
    await worker.answer(child, DONE)
    await worker.turn(DONE)
    assert [
        "StartChildWorkflowExecutionInitiated",
        "ChildWorkflowExecutionStarted",
        "ChildWorkflowExecutionCompleted",
    ] == names(await server.history("parent"), "Child")


async def test_a_child_knows_its_parent(server: OneServer, worker: Worker) -> None:
    """The first event of a child names the run and the event that asked for it."""
    await with_child(server, worker)
    (parent_run, started) = (server.run("parent").run_id, server.run("child").state.started)
    assert (NAMESPACE, "parent", parent_run, 5) == (
        started.parent_workflow_namespace,
        started.parent_workflow_id,
        started.parent_run_id,
        started.parent_initiated_event_id,
    )


async def test_a_child_whose_id_is_taken_fails_to_start(server: OneServer, worker: Worker) -> None:
    """A running workflow of that id that somebody else started is not the child."""
    await server.start("child")
    await server.start("parent")
    _, parent = await tasks_of(worker, "child", "parent")
    await worker.answer(parent, CHILD)
    await worker.turn()
    (failed,) = [e for e in await server.history("parent") if isinstance(e, ev.StartChildWorkflowExecutionFailed)]
    assert "WORKFLOW_ALREADY_EXISTS" == failed.cause


async def test_a_new_owner_starts_the_child_that_was_owed(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """A server that dies between the intent and the start leaves the start to its successor."""
    await server.start("parent")
    cut_off(server)
    await worker.turn(CHILD)
    successor = await cluster.restart(server)
    await tasks_of(Worker(successor), "parent", "child")
    assert "ChildWorkflowExecutionStarted" in await successor.event_types("parent")


async def test_a_start_that_was_not_answered_is_not_done_twice(
    cluster: Cluster, server: OneServer, worker: Worker
) -> None:
    """The successor of a server that started a child and told nobody finds the child that runs."""
    parent, _ = await with_child(server, worker)
    run_id = server.run("child").run_id
    source = Source(NAMESPACE, "parent", parent.run_id, parent.run_id)
    initiated = next(e for e in await server.history("parent") if e.event_id == 5)
    assert isinstance(initiated, ev.StartChildWorkflowExecutionInitiated)
    again = Delivery(kind="start_child", event_id=5, namespace=NAMESPACE, workflow_id="child", initiated=initiated)
    assert Answer(run_id) == await server.engine.outbox._inbox.take(source, again)


async def test_a_new_owner_tells_the_parent_what_was_owed(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """A child that closed stays owed until its parent has acknowledged, over the death of a server."""
    parent, child = await with_child(server, worker)
    await worker.answer(parent)
    cut_off(server)
    await worker.answer(child, DONE)
    successor = await cluster.restart(server)
    await Worker(successor).turn(DONE)
    assert "ChildWorkflowExecutionCompleted" in await successor.event_types("parent")


async def test_a_closed_run_is_owed_until_all_have_acknowledged(
    cluster: Cluster, server: OneServer, worker: Worker
) -> None:
    """The row that recovery reads goes with the last acknowledgement."""
    parent, child = await with_child(server, worker)
    await worker.answer(parent)
    await worker.answer(child, DONE)
    await worker.turn(DONE)
    await server.settle()
    assert [] == await cluster.rows("select * from wakes")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("terminate", "WorkflowExecutionTerminated"),
        ("request_cancel", "WorkflowExecutionCancelRequested"),
        ("abandon", "WorkflowTaskScheduled"),
    ],
)
async def test_the_policy_says_what_becomes_of_a_child(
    server: OneServer, worker: Worker, policy: ParentClosePolicy, expected: str
) -> None:
    """A parent that closes ends its child, asks it to stop, or leaves it."""
    parent, child = await with_child(server, worker, parent_close_policy=policy)
    await worker.answer(child)
    await worker.answer(parent, DONE)
    await server.settle()
    assert expected in await server.event_types("child")
    assert ("terminate" == policy) == (server.run("child").state.closed is not None)


async def test_a_new_owner_closes_the_children_of_a_closed_parent(
    cluster: Cluster, server: OneServer, worker: Worker
) -> None:
    """What a closed parent owes its children outlasts its server."""
    parent, _ = await with_child(server, worker)
    cut_off(server)
    await worker.answer(parent, DONE)
    successor = await cluster.restart(server)
    await successor.settle()
    assert "WorkflowExecutionTerminated" == (await successor.event_types("child"))[-1]


async def test_only_the_own_child_is_closed(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """Another workflow that has the id of a child by now is not the child."""
    parent, _ = await with_child(server, worker)
    cut_off(server)
    await worker.answer(parent, DONE)
    await server.api.terminate_workflow(NAMESPACE, "child", TerminateWorkflowRequest())
    await server.start("child")
    successor = await cluster.restart(server)
    await successor.settle()
    await successor.describe("child")
    assert successor.run("child").state.is_open


async def test_a_child_that_was_not_started_is_not_started_to_be_closed(
    cluster: Cluster, server: OneServer, worker: Worker
) -> None:
    """A parent that asks for a child and closes in the same task starts none, unless it is abandoned."""
    await server.start("parent")
    left = c.StartChildWorkflowExecution(workflow_id="left", workflow_type="Order", parent_close_policy="abandon")
    await worker.turn(CHILD, left, DONE)
    assert "left" == (await worker.workflow_task()).workflow_id
    assert [("left",), ("parent",)] == await cluster.rows("select workflow_id from executions order by 1")


async def test_a_child_that_continues_as_new_is_one_child(server: OneServer, worker: Worker) -> None:
    """The parent hears of the end of the chain, not of its runs."""
    parent, child = await with_child(server, worker)
    await worker.answer(parent)
    await worker.answer(child, c.ContinueAsNewWorkflowExecution())
    await worker.turn(DONE)
    await worker.turn(DONE)
    heard = names(await server.history("parent"), "Child")
    assert ["ChildWorkflowExecutionStarted", "ChildWorkflowExecutionCompleted"] == heard[1:]


async def test_a_signal_reaches_another_execution_once(server: OneServer, worker: Worker) -> None:
    """However often it is delivered, the receiver records it once, and the sender has one answer."""
    await server.start("other")
    await server.start("parent")
    _, parent = await tasks_of(worker, "other", "parent")
    await worker.answer(parent, SIGNAL)
    again = await worker.workflow_task()
    initiated = next(e for e in await server.history("parent") if e.event_id == 5)
    assert isinstance(initiated, ev.SignalExternalWorkflowExecutionInitiated)
    delivery = Delivery(kind="signal", event_id=5, namespace=NAMESPACE, workflow_id="other", initiated=initiated)
    source = Source(NAMESPACE, "parent", again.run_id, again.run_id)
    assert Answer(server.run("other").run_id) == await server.engine.outbox._inbox.take(source, delivery)
    assert 1 == server.run("other").state.signals + len(server.run("other").state.buffer)
    assert "ExternalWorkflowExecutionSignaled" in await server.event_types("parent")


async def test_signals_to_one_execution_keep_their_order(server: OneServer, worker: Worker) -> None:
    """Signals of one task arrive as they were sent."""
    await server.start("other")
    await worker.turn()
    await server.start("parent")
    sent = [f"signal-{number}" for number in range(50)]
    await worker.turn(*(c.SignalExternalWorkflowExecution(workflow_id="other", signal_name=name) for name in sent))
    await tasks_of(worker, "other", "parent")
    got = [e.signal_name for e in await server.history("other") if isinstance(e, ev.WorkflowExecutionSignaled)]
    assert sent == got


@pytest.mark.parametrize("workflow_id", ["missing", "closed", "parent"])
@pytest.mark.parametrize("kind", ["signal", "cancel"])
async def test_a_message_that_nobody_can_have_fails(
    server: OneServer, worker: Worker, workflow_id: str, kind: str
) -> None:
    """A missing, closed or own execution gives the sender a failure, not a wait."""
    await server.start("closed")
    await worker.turn(DONE)
    await server.start("parent")
    command = (
        c.SignalExternalWorkflowExecution(workflow_id=workflow_id, signal_name="go")
        if kind == "signal"
        else c.RequestCancelExternalWorkflowExecution(workflow_id=workflow_id)
    )
    await worker.turn(command)
    await worker.workflow_task()
    (failed,) = [e for e in await server.history("parent") if "ExecutionFailed" in e.event_type]
    assert "EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND" == getattr(failed, "cause", "")


async def test_a_cancel_request_reaches_another_execution(server: OneServer, worker: Worker) -> None:
    """The receiver records who asked."""
    await server.start("other")
    await worker.turn()
    await server.start("parent")
    await worker.turn(CANCEL)
    parent, _ = await tasks_of(worker, "parent", "other")
    (asked,) = [e for e in await server.history("other") if isinstance(e, ev.WorkflowExecutionCancelRequested)]
    assert ("parent", parent.run_id, 5) == (
        asked.external_workflow_id,
        asked.external_run_id,
        asked.external_initiated_event_id,
    )


async def test_a_closed_source_still_delivers_its_messages(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """A signal that a workflow sent with its last task is owed until the receiver has it."""
    await server.start("other")
    await worker.turn()
    await server.start("parent")
    cut_off(server)
    await worker.turn(SIGNAL, DONE)
    successor = await cluster.restart(server)
    await successor.settle()
    await Worker(successor).workflow_task()
    assert "WorkflowExecutionSignaled" in await successor.event_types("other")


async def test_what_is_only_for_a_child_reaches_no_other(server: OneServer, worker: Worker) -> None:
    """A cancel that means a child does not reach a stranger of its id."""
    await server.start("other")
    await worker.turn()
    await server.start("parent")
    await worker.turn(c.RequestCancelExternalWorkflowExecution(workflow_id="other", child_workflow_only=True))
    await worker.workflow_task()
    assert "RequestCancelExternalWorkflowExecutionFailed" in await server.event_types("parent")
    assert not server.run("other").state.cancel_requested


async def test_a_description_shows_children_and_parent(server: OneServer, worker: Worker) -> None:
    """The parent's has the child that is pending, the child's has its parent."""
    await with_child(server, worker)
    child = (await server.describe("parent")).pending_children
    described = await server.describe("child")
    assert [("child", server.run("child").run_id)] == [(each.workflow_id, each.run_id) for each in child]
    assert ("parent", server.run("parent").run_id) == (described.parent_workflow_id, described.parent_run_id)
