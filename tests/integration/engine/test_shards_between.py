"""Executions that tell each other something while the shards of either move: each thing once, in order, never lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import pytest_asyncio

from perdure_proto import commands as c
from perdure_proto import ids
from perdure_proto import service as svc
from perdure_proto.errors import Code, ServiceError
from perdure_proto.events import WorkflowExecutionSignaled
from perdure_server.engine import peers
from perdure_server.history.outbox import Delivery
from tests.engine import NAMESPACE, SHARDS, Cluster, OneServer, Worker
from tests.integration.engine.test_across import CHILD, DONE, cut_off, names, tasks_of, with_child
from tests.integration.engine.test_owed import SlowInbox, all_has_run, until_nothing_is_owed
from tests.integration.engine.test_shards import outcome, shard_of


@pytest_asyncio.fixture
async def taker(cluster: Cluster, server: OneServer) -> OneServer:
    """The server beside `server`: it owns nothing yet."""
    return await cluster.server("server-2", shards=())


def shards_of(server: OneServer, workflow_id: str) -> list[int]:
    return [shard_of(server, workflow_id)]


def test_parent_child_and_other_are_of_different_shards() -> None:
    """The tests below move one and not the other."""
    assert 3 == len({ids.shard_of(NAMESPACE, each, SHARDS) for each in ("parent", "child", "other")})


async def signals(server: OneServer, workflow_id: str) -> list[str]:
    """The names of the signals that a run got, in order."""
    events = await server.history(workflow_id)
    return [event.signal_name for event in events if isinstance(event, WorkflowExecutionSignaled)]


async def test_a_child_of_another_server_starts_and_is_heard_of(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """Parent here, child there: the start and the end cross once, and the child knows its parent."""
    await cluster.hand_over(server, taker, shards_of(server, "child"))
    await server.start("parent")
    await worker.turn(CHILD)
    other = Worker(taker)
    child = await other.workflow_task()
    await worker.turn()
    await other.answer(child, DONE)
    await worker.turn(DONE)
    told = names(await server.history("parent"), "ChildWorkflowExecutionS", "ChildWorkflowExecutionC")
    assert ["ChildWorkflowExecutionStarted", "ChildWorkflowExecutionCompleted"] == [
        each for each in told if not each.startswith("Start")
    ]
    await until_nothing_is_owed(cluster)


async def test_a_child_that_moves_while_it_runs_tells_its_parent(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """Its close is owed by whoever owns it then."""
    parent, child = await with_child(server, worker)
    await worker.answer(parent)
    await cluster.hand_over(server, taker, shards_of(server, "child"))
    other = Worker(taker, held=[child.token])
    await other.acknowledge()
    await other.answer(child, DONE)
    await worker.turn(DONE)
    assert 1 == (await server.event_types("parent")).count("ChildWorkflowExecutionCompleted")
    await until_nothing_is_owed(cluster)


async def test_a_close_that_is_on_its_way_when_the_child_moves_is_told_once(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """The giver's lane has not got through: the taker tells it."""
    parent, child = await with_child(server, worker)
    await worker.answer(parent)
    cut_off(server)
    await worker.answer(child, DONE)
    await cluster.hand_over(server, taker, shards_of(server, "child"))
    await worker.turn(DONE)
    assert 1 == (await server.event_types("parent")).count("ChildWorkflowExecutionCompleted")
    await until_nothing_is_owed(cluster)


async def test_a_parent_that_moves_hears_of_its_child(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """The child is told nothing: it finds the parent's owner."""
    parent, child = await with_child(server, worker)
    await worker.answer(parent)
    await cluster.hand_over(server, taker, shards_of(server, "parent"))
    await worker.answer(child, DONE)
    await Worker(taker).turn(DONE)
    assert 1 == (await taker.event_types("parent")).count("ChildWorkflowExecutionCompleted")
    await until_nothing_is_owed(cluster)


async def test_a_start_whose_answer_was_lost_in_the_move_starts_one_child(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """The child began; the parent's next owner asks for it again, and is told of that same run."""
    await server.start("parent")
    server.store.gate.clear()
    turning = asyncio.ensure_future(worker.turn(CHILD))
    server.store.gate.set()
    await turning
    await cluster.until_rows("select 1 from executions where workflow_id = 'child'")
    await cluster.hand_over(server, taker, shards_of(server, "parent"))
    await Worker(taker).turn()
    assert 1 == (await taker.event_types("parent")).count("ChildWorkflowExecutionStarted")
    assert [(1,)] == await cluster.rows("select count(*) from executions where workflow_id = 'child'")


async def test_signals_keep_their_order_while_their_source_moves(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """What the giver had under way is given up: the taker sends all again, in order, and the receiver knows them."""
    await server.start("other")
    await server.start("parent")
    other, parent = await tasks_of(worker, "other", "parent")
    await worker.answer(other)
    inbox = SlowInbox(server, "signal")
    send = [c.SignalExternalWorkflowExecution(workflow_id="other", signal_name=f"s{n}") for n in range(3)]
    await worker.answer(parent, *send)
    await cluster.hand_over(server, taker, shards_of(server, "parent"))
    inbox.gate.set()
    inbox.give_way()
    await Worker(taker).turn(DONE)
    assert ["s0", "s1", "s2"] == await signals(server, "other")


async def test_signals_are_sent_on_while_their_target_moves(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """Nobody owns the target for a while: the lane repeats, and loses and doubles nothing."""
    await server.start("other")
    await server.start("parent")
    other, parent = await tasks_of(worker, "other", "parent")
    await worker.answer(other)
    moving = shards_of(server, "other")
    await server.api.give_up(moving)
    send = [c.SignalExternalWorkflowExecution(workflow_id="other", signal_name=f"s{n}") for n in range(3)]
    await worker.answer(parent, *send)
    cluster.peers.answers_lost = 1
    taker.api.gain(moving)
    await taker.upkeep.recover()
    await worker.turn(DONE)
    assert ["s0", "s1", "s2"] == await signals(taker, "other")
    assert len(cluster.peers.bodies) > 1


async def test_a_signal_that_waits_at_a_target_that_moves_is_told_there(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """It was held back by the end of a task: that the target has moved is no answer to its sender."""
    await server.start("other")
    for _ in range(2):
        task = await worker.workflow_task()
        await server.signal("other")
        await worker.answer(task, DONE)
    await worker.workflow_task()
    await server.start("parent")
    await worker.turn(c.SignalExternalWorkflowExecution(workflow_id="other", signal_name="late"))
    await all_has_run()
    await cluster.hand_over(server, taker, shards_of(server, "other"))
    await worker.turn(DONE)
    assert "late" in await signals(taker, "other")
    assert "ExternalWorkflowExecutionSignaled" in await server.event_types("parent")


async def test_a_lane_that_is_ended_before_it_began_is_forgotten(server: OneServer) -> None:
    """What is offered and given away in one turn of the loop leaves nothing behind."""
    await server.start("parent")
    outbox, delivery = server.engine.outbox, Delivery(kind="child_closed", event_id=5, namespace="", workflow_id="x")
    outbox.offer(server.run("parent"), [delivery])
    await outbox.end(range(SHARDS))
    await all_has_run()
    assert ({}, {}) == (outbox._lanes, outbox._tasks)


async def test_a_parcel_has_no_more_than_its_bytes(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signals that are too much for one request go in several, in order."""
    monkeypatch.setattr(peers, "PARCEL_BYTES_MAX", 1500)
    await cluster.hand_over(server, taker, shards_of(server, "other"))
    await taker.start("other")
    await server.start("parent")
    send = [c.SignalExternalWorkflowExecution(workflow_id="other", signal_name=f"s{n}") for n in range(9)]
    await worker.turn(*send)
    await worker.turn(DONE)
    assert [f"s{n}" for n in range(9)] == await signals(taker, "other")
    assert max(map(len, cluster.peers.bodies)) <= 1500


async def test_a_parcel_for_another_server_has_no_effect(server: OneServer, taker: OneServer, cluster: Cluster) -> None:
    """It is refused with the owner's address, before its target is looked for."""
    taking = peers.Mail(taker.engine, taker.engine.outbox._inbox, None)
    await server.start("parent")
    await cluster.hand_over(server, taker, shards_of(server, "child"))
    await Worker(server).turn(CHILD)
    await all_has_run()
    (body, *_) = cluster.peers.bodies
    await cluster.hand_over(taker, server, shards_of(server, "child"))
    with pytest.raises(ServiceError) as caught:
        await taking.take(body)
    assert (Code.WRONG_OWNER, "http://server-1") == (caught.value.code, caught.value.details["address"])


@pytest.mark.parametrize("body", [b"", b"{}", b'{"source":1}'])
async def test_what_is_no_parcel_is_refused(server: OneServer, body: bytes) -> None:
    """Bytes that nobody of ours has made."""
    assert "MALFORMED_JSON" == await outcome(server.api.deliver(body))


async def test_a_start_of_the_giver_does_not_come_after_the_taker_has_closed_the_child(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """Law: what was under way is cut off with its lane, or a child would begin whose end was asked for before."""
    third = await cluster.server("server-3", shards=())
    await cluster.hand_over(server, third, shards_of(server, "child"))
    await server.start("parent")
    late = cluster.peers.gate = asyncio.Event()
    await worker.turn(CHILD)
    await all_has_run()
    assert 1 == len(cluster.peers.bodies)
    await server.api.terminate_workflow(NAMESPACE, "parent", svc.TerminateWorkflowRequest())
    cluster.peers.gate = asyncio.Event()
    cluster.peers.gate.set()
    await cluster.hand_over(server, taker, shards_of(server, "parent"))
    await until_nothing_is_owed(cluster)
    late.set()
    await all_has_run()
    await third.settle()
    assert [] == await cluster.rows("select 1 from executions where workflow_id = 'child'")


async def test_a_reset_reads_the_end_of_a_child_of_another_server(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """The parent had closed, so that no log of its has the child's end: it is read where the child is."""
    parent, child = await with_child(server, worker, parent_close_policy="abandon")
    await worker.answer(parent)
    await server.signal("parent")
    await worker.turn(DONE)
    await cluster.hand_over(server, taker, shards_of(server, "child"))
    other = Worker(taker, held=[child.token])
    await other.acknowledge()
    await other.answer(child, DONE)
    await until_nothing_is_owed(cluster)
    back = svc.ResetWorkflowRequest(point="last")
    await server.api.reset_workflow(NAMESPACE, "parent", back)
    assert 1 == (await server.event_types("parent")).count("ChildWorkflowExecutionCompleted")


async def test_a_child_is_closed_by_a_parent_that_moved(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """The parent close policy reaches over servers."""
    parent, _ = await with_child(server, worker)
    await worker.answer(parent)
    await cluster.hand_over(server, taker, shards_of(server, "parent"))
    await taker.api.terminate_workflow(NAMESPACE, "parent", svc.TerminateWorkflowRequest())
    await until_nothing_is_owed(cluster)
    assert "WorkflowExecutionTerminated" == (await server.event_types("child"))[-1]


async def test_a_start_that_is_repeated_elsewhere_gets_its_run(
    cluster: Cluster, server: OneServer, taker: OneServer
) -> None:
    """Its first answer was lost with the giver; what it names is found by the request id."""
    first = await server.start(request_id="r")
    await cluster.hand_over(server, taker)
    again = await taker.start(request_id="r")
    assert (False, first.run_id) == (again.started, again.run_id)


async def test_update_with_start_goes_on_at_the_taker(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """The start was durable, the update was only held: the repeat finds the one and admits the other."""
    request = svc.UpdateWithStartRequest(
        start=svc.StartWorkflowRequest(workflow_type="Order", request_id="r"),
        update=svc.UpdateWorkflowRequest(update_id="u", wait=timedelta(seconds=30)),
    )
    asking = asyncio.ensure_future(server.api.update_with_start(NAMESPACE, "order", "set", request))
    await cluster.until_rows("select 1 from executions")
    await server.settle()
    await cluster.hand_over(server, taker)
    assert "WRONG_OWNER" == await outcome(asking)
    again = asyncio.ensure_future(taker.api.update_with_start(NAMESPACE, "order", "set", request))
    while not taker.run().state.admitted:
        await all_has_run()
    await Worker(taker).turn(c.AcceptUpdate(update_id="u"), c.CompleteUpdate(update_id="u"))
    assert "COMPLETED" == (await again).update.stage
    assert [(1,)] == await cluster.rows("select count(*) from executions")
