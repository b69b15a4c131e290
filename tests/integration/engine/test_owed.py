"""What is owed to other executions, in the moments between a decision and its commit, and when a server dies there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from perdure_proto import commands as c
from perdure_proto import events as ev
from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import UpdateWorkflowRequest
from perdure_server.engine.inbox import Answer, Inbox, Source
from perdure_server.history import requests as req
from perdure_server.history.outbox import Delivery
from perdure_server.store.port import DataRefusedError
from tests.engine import NAMESPACE, Cluster, OneServer, Worker
from tests.integration.engine.test_across import CHILD, DONE, SIGNAL, cut_off, with_child


class SlowInbox:
    """An inbox that takes what is named once `gate` is open, and nothing else."""

    def __init__(self, server: OneServer, *kinds: str) -> None:
        self._inbox: Inbox = server.engine.outbox._inbox
        self._outbox = server.engine.outbox
        self._kinds = kinds
        self.gate = asyncio.Event()
        self.waiting = 0
        self._outbox._inbox = self  # type: ignore[assignment]

    def give_way(self) -> None:
        """From now on all is taken."""
        self._outbox._inbox = self._inbox

    async def take(self, source: Source, delivery: Delivery) -> Answer:
        if delivery.kind not in self._kinds:
            raise ServiceError(Code.UNAVAILABLE, "nothing of that kind gets there")
        self.waiting += 1
        await self.gate.wait()
        return await self._inbox.take(source, delivery)

    async def take_signals(self, source: Source, deliveries: Sequence[Delivery]) -> list[Answer]:
        await self.gate.wait()
        return await self._inbox.take_signals(source, deliveries)


async def all_has_run() -> None:
    """Lets everything run that waits for nothing."""
    for _ in range(50):
        await asyncio.sleep(0)


async def until_nothing_is_owed(cluster: Cluster) -> None:
    """Waits for the last acknowledgement to all that is closed."""
    await cluster.until_rows(
        "select where not exists (select from wakes join executions using (run_id) where owed and status > 1)"
    )


async def forget(server: OneServer, workflow_id: str) -> None:
    """Sweeps until an idle run has left memory."""
    while (NAMESPACE, workflow_id) in server.engine.residents.current:
        await server.sweep()


async def test_an_answer_that_comes_before_the_close_has_landed_clears_nothing(
    cluster: Cluster, server: OneServer, worker: Worker
) -> None:
    """The last answer to an open run comes while its close is on its way: what the close owes is owed all the same."""
    parent, child = await with_child(server, worker)
    await worker.answer(parent)
    inbox = SlowInbox(server, "signal")
    await worker.answer(child, SIGNAL)
    server.store.gate.clear()
    run = server.run("child")
    server.engine.transact(run, req.TerminateExecution())
    inbox.gate.set()
    while run.owing:
        await all_has_run()
    server.store.gate.set()
    await server.settle()
    successor = await cluster.restart(server)
    await Worker(successor).workflow_task()
    assert "ChildWorkflowExecutionTerminated" in await successor.event_types("parent")


@pytest.mark.parametrize(
    "command",
    [CHILD, c.ScheduleActivityTask(activity_id="1", activity_type="Pay", task_queue="default")],
    ids=["child", "activity"],
)
async def test_what_is_asked_for_beside_an_update_that_waits_is_owed(
    cluster: Cluster, server: OneServer, worker: Worker, command: c.AnyCommand
) -> None:
    """An update that came while a task ran is only in memory; what the task asked for is owed in its own append."""
    await server.start("parent")
    await worker.turn()
    await server.sweep()
    updating = [asyncio.ensure_future(update(server, "first"))]
    task = await worker.workflow_task()
    updating.append(asyncio.ensure_future(update(server, "second")))
    await all_has_run()
    cut_off(server)
    await worker.answer(task, c.AcceptUpdate(update_id="first"), c.CompleteUpdate(update_id="first"), command)
    assert [(True,)] == await cluster.rows("select owed from wakes")
    await server.die()
    await asyncio.gather(*updating, return_exceptions=True)


async def update(server: OneServer, update_id: str) -> None:
    await server.api.update_workflow(NAMESPACE, "parent", "set", UpdateWorkflowRequest(update_id=update_id))


async def test_a_start_that_will_lose_does_not_hide_a_child(
    cluster: Cluster, server: OneServer, worker: Worker
) -> None:
    """A stranger's start of the child's id, which cannot win, is not taken for the end of the child."""
    parent, child = await with_child(server, worker)
    await worker.answer(child)
    await forget(server, "child")
    inbox = SlowInbox(server, "close_child")
    await worker.answer(parent, DONE)
    server.store.gate.clear()
    starting = asyncio.ensure_future(server.start("child"))
    await all_has_run()
    inbox.gate.set()
    await all_has_run()
    server.store.gate.set()
    await asyncio.gather(starting, return_exceptions=True)
    inbox.give_way()
    await until_nothing_is_owed(cluster)
    ended = await server.api.workflow_result(NAMESPACE, "child", child.run_id, 0)
    assert "TERMINATED" == ended.status


async def test_a_child_that_continues_as_new_meanwhile_is_closed(
    cluster: Cluster, server: OneServer, worker: Worker
) -> None:
    """The end of a child may meet its next run before that has landed: it begins and ends in one commit."""
    parent, child = await with_child(server, worker)
    inbox = SlowInbox(server, "close_child")
    await worker.answer(parent, DONE)
    server.store.gate.clear()
    continuing = asyncio.ensure_future(worker.answer(child, c.ContinueAsNewWorkflowExecution()))
    await all_has_run()
    inbox.gate.set()
    await all_has_run()
    server.store.gate.set()
    await continuing
    await server.settle()
    successor = await cluster.restart(server)
    await until_nothing_is_owed(cluster)
    ended = await successor.describe("child")
    assert (False, "TERMINATED") == (ended.execution.run_id == child.run_id, ended.execution.status)


async def test_thousands_of_deliveries_do_not_leave_at_once(cluster: Cluster) -> None:
    """A task that asks for many children starts as many together as one commit takes, and all of them."""
    server = await cluster.server(deliveries_under_way_max=2)
    inbox = SlowInbox(server, "start_child")
    await server.start("parent")
    children = [c.StartChildWorkflowExecution(workflow_id=f"child-{n}", workflow_type="Order") for n in range(5)]
    await Worker(server).turn(*children)
    await all_has_run()
    under_way = inbox.waiting
    inbox.gate.set()
    while server.run("parent").owing:
        await all_has_run()
    assert (2, 6) == (under_way, len(server.engine.residents.current))


async def test_a_new_owner_writes_the_answers_that_were_kept_in_rows(
    cluster: Cluster, server: OneServer, worker: Worker
) -> None:
    """A start and a close that came while the parent's task ran are written once by whoever finds them in rows."""
    await server.start("parent")
    inbox = SlowInbox(server, "start_child", "child_closed")
    await worker.turn(CHILD)
    await server.signal("parent")
    await worker.workflow_task()
    inbox.gate.set()
    await worker.turn(DONE)
    await until_nothing_is_owed(cluster)
    assert [(2,)] == await cluster.rows("select count(*) from buffered_events")
    successor = await cluster.restart(server)
    told = [each for each in await successor.event_types("parent") if each.startswith("ChildWorkflow")]
    assert ["ChildWorkflowExecutionStarted", "ChildWorkflowExecutionCompleted"] == told


async def test_a_defect_in_a_delivery_does_not_end_its_lane(
    server: OneServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails in an unforeseen way is sent again, like all that is not answered."""
    await server.start("parent")
    take = server.engine.outbox._inbox.take
    fail_once = iter([RuntimeError("defect")])

    async def fail(source: Source, delivery: Delivery) -> Answer:
        for error in fail_once:
            raise error
        return await take(source, delivery)

    monkeypatch.setattr(server.engine.outbox._inbox, "take", fail)
    await worker.turn(CHILD)
    started = [(await worker.workflow_task()).workflow_id for _ in range(2)]
    assert ["child", "parent"] == sorted(started)


async def test_a_value_that_is_refused_to_a_child_is_no_answer_to_its_start(server: OneServer, worker: Worker) -> None:
    """A start that is sent again while Postgres refuses a value of the child finds the child, which runs."""
    parent, child = await with_child(server, worker)
    await worker.answer(child)
    initiated = next(e for e in await server.history("parent") if e.event_id == 5)
    assert isinstance(initiated, ev.StartChildWorkflowExecutionInitiated)
    again = Delivery(kind="start_child", event_id=5, namespace=NAMESPACE, workflow_id="child", initiated=initiated)
    server.store.failures.append(DataRefusedError("bad"))
    server.store.gate.clear()
    signalling = asyncio.ensure_future(server.signal("child"))
    await all_has_run()
    source = Source(NAMESPACE, "parent", parent.run_id, parent.run_id)
    starting = asyncio.ensure_future(server.engine.outbox._inbox.take(source, again))
    await all_has_run()
    server.store.gate.set()
    await asyncio.gather(signalling, return_exceptions=True)
    assert Answer(child.run_id) == await starting
