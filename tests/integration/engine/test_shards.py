"""A run whose shard moves to another server while both live, in each state that a run can be in.

Each test is an interleaving: what the giver knows must not be lost, who waits there is sent on, and what workers were
given by the giver is taken by the taker. The fixture checks the invariants of the database after each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from perdure_proto import async_activities as asy
from perdure_proto import commands as c
from perdure_proto import service as svc
from perdure_proto import tasks
from perdure_proto.errors import Code, ServiceError
from perdure_proto.options import RetryPolicy
from perdure_server.frontend.port import OutcomeWait
from perdure_server.store.port import ActivityKey
from tests.engine import NAMESPACE, SHARDS, Cluster, OneServer, Worker, is_waiting
from tests.integration.engine.paying import allowed, begun, payments_in
from tests.integration.engine.test_eager import PAY, PAY_AGAIN, end
from tests.integration.engine.test_waitpoints import YES, token_of

DONE = c.CompleteWorkflowExecution()
LONG = c.ScheduleActivityTask(activity_id="1", activity_type="Pay", start_to_close_timeout=timedelta(hours=1))
LAST = c.ScheduleActivityTask(activity_id="1", activity_type="Pay", retry_policy=RetryPolicy(maximum_attempts=1))
SLOW_RETRY = RetryPolicy(initial_interval=timedelta(seconds=30))
UPDATE = svc.UpdateWorkflowRequest(update_id="u")


@pytest_asyncio.fixture
async def taker(cluster: Cluster, server: OneServer) -> OneServer:
    """The server beside `server`: it owns nothing yet."""
    return await cluster.server("server-2", shards=())


async def outcome(work: Awaitable[Any]) -> str:
    """How a request ends."""
    try:
        answer = await work
    except ServiceError as error:
        return str(error.code)
    return type(answer).__name__


async def waiting(work: Awaitable[Any]) -> asyncio.Future[Any]:
    """A request that has come as far as it can."""
    asking = asyncio.ensure_future(work)
    assert await is_waiting(asking)
    return asking


# ---- whose it is ---------------------------------------------------------------------------------------------------

START = svc.StartWorkflowRequest(workflow_type="Order")
PAY_ALONE = svc.StartActivityRequest(activity_type="Pay", task_queue="default")
AT = (NAMESPACE, "order", "1")
ASKED: dict[str, Callable[[OneServer, str], Awaitable[Any]]] = {
    "start": lambda s, _: s.api.start_workflow(NAMESPACE, "order", START),
    "start_activity": lambda s, _: s.api.start_activity(NAMESPACE, "order", PAY_ALONE),
    "cancel_activity": lambda s, _: s.api.cancel_activity(NAMESPACE, "order", svc.CancelWorkflowRequest()),
    "terminate_activity": lambda s, _: s.api.terminate_activity(NAMESPACE, "order", svc.TerminateWorkflowRequest()),
    "activity_result": lambda s, _: s.api.activity_result(NAMESPACE, "order", "", 0),
    "describe_activity": lambda s, _: s.api.describe_activity(NAMESPACE, "order", ""),
    "signal": lambda s, _: s.signal(),
    "signal_run": lambda s, run: s.signal(run_id=run),
    "cancel": lambda s, _: s.api.cancel_workflow(NAMESPACE, "order", svc.CancelWorkflowRequest()),
    "terminate": lambda s, _: s.api.terminate_workflow(NAMESPACE, "order", svc.TerminateWorkflowRequest()),
    "pause": lambda s, _: s.api.pause_workflow(NAMESPACE, "order", svc.PauseWorkflowRequest()),
    "unpause": lambda s, _: s.api.unpause_workflow(NAMESPACE, "order", svc.UnpauseWorkflowRequest()),
    "reset": lambda s, _: s.api.reset_workflow(NAMESPACE, "order", svc.ResetWorkflowRequest(point="first")),
    "reopen": lambda s, _: s.api.reopen_workflow(NAMESPACE, "order", svc.ReopenWorkflowRequest()),
    "pause_one": lambda s, _: s.api.pause_activity(AT, svc.PauseActivityRequest()),
    "reset_one": lambda s, _: s.api.reset_activity(AT, svc.ResetActivityRequest()),
    "query": lambda s, _: s.api.query_workflow(NAMESPACE, "order", "state", svc.QueryWorkflowRequest()),
    "update": lambda s, _: s.api.update_workflow(NAMESPACE, "order", "set", UPDATE),
    "update_with_start": lambda s, _: s.api.update_with_start(
        NAMESPACE, "order", "set", svc.UpdateWithStartRequest(start=START, update=UPDATE)
    ),
    "update_outcome": lambda s, _: s.api.update_outcome(NAMESPACE, "order", "u", OutcomeWait()),
    "result": lambda s, _: s.api.workflow_result(NAMESPACE, "order", "", 0),
    "describe": lambda s, _: s.describe(),
    "history": lambda s, _: s.history(),
    "complete_by_ids": lambda s, _: s.api.complete_activity(
        NAMESPACE, asy.CompleteActivityRequest(workflow_id="order", activity_id="1")
    ),
    "complete_by_token": lambda s, run: s.api.complete_activity(
        NAMESPACE, asy.CompleteActivityRequest(task_token=f"a.{shard_of(s)}.{run}.5.1.1")
    ),
    "heartbeat": lambda s, run: s.api.heartbeat_activity(
        NAMESPACE, asy.HeartbeatActivityRequest(task_token=f"a.{shard_of(s)}.{run}.5.1.1")
    ),
}


def shard_of(server: OneServer, workflow_id: str = "order") -> int:
    return server.engine.residents.shard_of(NAMESPACE, workflow_id)


@pytest.mark.parametrize("name", ASKED)
async def test_what_is_another_servers_is_refused_before_any_effect(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker, name: str
) -> None:
    """Every way to a run says whose it is and where that one is, and leaves no row."""
    started = await server.start()
    await worker.turn(LONG)
    before = await cluster.rows("select count(*) from history")
    with pytest.raises(ServiceError) as caught:
        await ASKED[name](taker, started.run_id)
    told = (caught.value.code, caught.value.details)
    where = shard_of(taker, "order") if "activity" not in name else caught.value.details["shard"]
    assert (Code.WRONG_OWNER, {"shard": where, "address": "http://server-1"}) == told
    await taker.settle()
    assert before == await cluster.rows("select count(*) from history")
    assert {} == taker.engine.residents.by_run


async def test_a_waitpoint_is_resumed_at_the_owner(server: OneServer, taker: OneServer) -> None:
    """The token says the shard: another server resumes nothing."""
    await server.start()
    token = await token_of(server)
    assert "WRONG_OWNER" == await outcome(taker.api.resume_waitpoint(token, YES))
    await server.api.resume_waitpoint(token, YES)


async def test_a_worker_is_told_where_its_completion_belongs(server: OneServer, taker: OneServer) -> None:
    """The result of a completion for another server's run has that server's address; nothing is lost by it."""
    await server.start()
    worker = Worker(server)
    task = await worker.workflow_task()
    stranger = Worker(taker)
    await stranger.acknowledge()
    refused = await stranger.answer(task, DONE)
    assert (Code.WRONG_OWNER, "http://server-1") == (refused.code, refused.owner)
    assert tasks.CompletionResult() == await worker.answer(task, DONE)


async def test_a_token_of_no_shard_is_no_matter_for_others(taker: OneServer) -> None:
    """A worker that sends nonsense is not sent around for ever."""
    stranger = Worker(taker)
    await stranger.acknowledge()
    nonsense = tasks.TaskReturned(token="w.77777.00000000-0000-7000-8000-000000000000.2.3.1.1")
    assert [Code.TASK_NOT_FOUND] == [result.code for result in await stranger.respond(nonsense)]


# ---- what moves ----------------------------------------------------------------------------------------------------


async def test_a_task_that_is_due_is_handed_out_by_the_taker(
    cluster: Cluster, server: OneServer, taker: OneServer
) -> None:
    """It leaves the queue of the giver, where a worker asks in vain."""
    await server.start()
    await cluster.hand_over(server, taker)
    assert 0 == (await server.api.describe_task_queue(NAMESPACE, "default")).workflow_backlog
    assert () == (await Worker(server, "late").poll(workflows=1, wait=0)).tasks
    await Worker(taker).turn(DONE)


async def test_a_task_that_was_started_is_completed_at_the_taker(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """The giver names the owner, and that one takes the token which it never saw."""
    await server.start()
    task = await worker.workflow_task()
    await cluster.hand_over(server, taker)
    refused = await worker.answer(task, DONE)
    assert (Code.WRONG_OWNER, "http://server-2") == (refused.code, refused.owner)
    other = Worker(taker, held=[task.token])
    await other.acknowledge()
    assert tasks.CompletionResult() == await other.answer(task, DONE)


async def test_a_task_that_is_being_built_is_not_handed_out(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """It waits for what was staged before it when its run moves: the taker hands it out, and nobody has it twice."""
    await server.start()
    server.store.gate.clear()
    signalling = await waiting(server.signal())
    polling = await waiting(worker.poll(workflows=1, wait=0))
    giving = await waiting(server.api.give_up(range(SHARDS)))
    server.store.gate.set()
    await giving
    assert "Acknowledged" == await outcome(signalling)
    assert () == (await polling).tasks
    taker.api.gain(range(SHARDS))
    await taker.upkeep.recover()
    await Worker(taker).turn(DONE)


async def test_an_activity_that_nobody_took_is_offered_by_the_taker(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """Its first attempt, once."""
    await server.start()
    await worker.turn(PAY)
    await cluster.hand_over(server, taker)
    other = Worker(taker)
    task = await other.activity_task()
    assert 1 == task.attempt
    assert tasks.CompletionResult() == await other.done(task)


@pytest.mark.parametrize("acknowledged", [True, False])
async def test_an_attempt_that_has_just_begun_is_not_run_twice(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker, *, acknowledged: bool
) -> None:
    """It has run for less than a second: the giver keeps a row of it, and the taker gives it to nobody else."""
    await server.start()
    await worker.turn(PAY)
    task = await worker.activity_task()
    if acknowledged:
        await worker.acknowledge()
    await cluster.hand_over(server, taker)
    assert () == (await Worker(taker, "other").poll(activities=1, wait=0)).tasks
    same = Worker(taker)
    await same.acknowledge()
    assert tasks.CompletionResult() == await same.done(task)


async def test_the_last_attempt_is_handed_out_although_its_run_has_moved(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """Its row is on its way when the shard is given: whoever reads the row waits for a worker, so one must have it."""
    await server.start()
    await worker.turn(LAST)
    server.store.gate.clear()
    taking = await waiting(worker.activity_task())
    giving = await waiting(server.api.give_up(range(SHARDS)))
    server.store.gate.set()
    await giving
    taker.api.gain(range(SHARDS))
    await taker.upkeep.recover()
    other = Worker(taker)
    await other.acknowledge()
    assert tasks.CompletionResult() == await other.done(await taking)


async def test_an_attempt_that_backs_off_is_tried_again_at_the_taker(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """When its time has come, and with its number."""
    await server.start()
    await worker.turn(c.ScheduleActivityTask(activity_id="1", activity_type="Pay", retry_policy=SLOW_RETRY))
    await worker.failed(await worker.activity_task())
    await cluster.hand_over(server, taker)
    server.move(60)
    taker.move(31)
    assert 2 == (await Worker(taker).activity_task()).attempt


async def test_a_timer_fires_at_the_taker_alone(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """The giver's clock goes on, and nothing of it happens."""
    await server.start()
    await worker.turn(c.StartTimer(timer_id="t", start_to_fire_timeout=timedelta(seconds=5)))
    await cluster.hand_over(server, taker)
    server.move(60)
    await server.settle()
    assert "TimerStarted" == (await taker.event_types())[-1]
    taker.move(6)
    assert "TimerFired" in await taker.event_types()


async def test_a_pause_goes_with_the_run(cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker) -> None:
    """Nothing is handed out until the taker is told to go on; a timer has stood still."""
    await server.start()
    await worker.turn(c.StartTimer(timer_id="t", start_to_fire_timeout=timedelta(seconds=5)))
    await server.api.pause_workflow(NAMESPACE, "order", svc.PauseWorkflowRequest())
    await cluster.hand_over(server, taker)
    taker.move(60)
    assert () == (await Worker(taker).poll(workflows=1, wait=0)).tasks
    await taker.api.unpause_workflow(NAMESPACE, "order", svc.UnpauseWorkflowRequest())
    assert "WorkflowExecutionUnpaused" == (await taker.event_types())[-1]
    taker.move(6)
    await Worker(taker, "other").turn(DONE)


async def test_an_eager_turn_is_taken_by_the_taker(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """What the worker has cached is what the log says, whoever owns it; its next task comes to that cache."""
    await server.start()
    await worker.turn(PAY)
    task = await worker.activity_task()
    await cluster.hand_over(server, taker)
    same = Worker(taker, held=[task.token])
    await same.acknowledge()
    (result,) = await same.respond(end(task, PAY_AGAIN))
    assert (None, True) == (result.code, result.history_size_bytes > 0)
    assert "worker-1" == taker.run().sticky_session


async def test_what_is_parked_comes_back_at_the_taker(cluster: Cluster) -> None:
    """The giver pages none of it in any more, the taker all of it."""
    giver = await cluster.server(queue_window_max=1)
    taker = await cluster.server("server-2", shards=(), queue_window_max=1)
    for number in range(5):
        await giver.start(f"order-{number}")
    await giver.settle()
    await cluster.hand_over(giver, taker)
    await giver.api.handout.refill(NAMESPACE, "default", "workflow", 9)
    other = Worker(taker)
    served = []
    for _ in range(5):
        task = await other.workflow_task()
        served.append(task.workflow_id)
        await other.answer(task, DONE)
    assert [f"order-{number}" for number in range(5)] == sorted(served)
    assert [] == await cluster.rows("select 1 from parked")


# ---- who waits -----------------------------------------------------------------------------------------------------


async def test_a_signal_in_the_buffer_is_acknowledged_and_kept(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """It came while a task ran, and would have been told within 50 ms: the hand-over does not wait for that."""
    await server.start()
    await worker.workflow_task()
    signalling = await waiting(server.signal(request_id="s"))
    await cluster.hand_over(server, taker)
    assert "Acknowledged" == await outcome(signalling)
    assert 1 == (await taker.event_types()).count("WorkflowExecutionSignaled")


async def test_what_was_staged_is_answered_and_waited_for(
    cluster: Cluster, server: OneServer, taker: OneServer
) -> None:
    """A start whose commit is on its way is neither lost nor made twice: the hand-over ends after it has landed."""
    server.store.gate.clear()
    starting = await waiting(server.start(request_id="r"))
    giving = await waiting(server.api.give_up(range(SHARDS)))
    assert "WRONG_OWNER" == await outcome(server.start("other"))
    server.store.gate.set()
    await giving
    assert (True, "StartWorkflowAnswer") == (starting.done(), await outcome(starting))
    taker.api.gain(range(SHARDS))
    again = await taker.start(request_id="r")
    assert (False, (await starting).run_id) == (again.started, again.run_id)


async def test_a_query_that_waits_is_sent_on(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """Whether a worker has it or not; its late answer is nobody's, and not that of the next owner's query."""
    await server.start()
    await worker.turn()
    ask = svc.QueryWorkflowRequest()
    asking = await waiting(server.api.query_workflow(NAMESPACE, "order", "state", ask))
    (query,) = (await worker.poll(workflows=1)).tasks
    queued = await waiting(server.api.query_workflow(NAMESPACE, "order", "state", ask))
    await cluster.hand_over(server, taker)
    assert ["WRONG_OWNER"] * 2 == [await outcome(asking), await outcome(queued)]
    again = await waiting(taker.api.query_workflow(NAMESPACE, "order", "state", ask))
    other = Worker(taker, held=[query.token])
    await other.acknowledge()
    number = query.queries[0].query_id  # type: ignore[union-attr]
    late = tasks.QueryTaskCompletion(
        token=query.token, results=(tasks.QueryResult(query_id=number, result=msgspec.Raw(b'"old"')),)
    )
    assert [Code.TASK_NOT_FOUND] == [result.code for result in await other.respond(late)]
    (task,) = (await other.poll(workflows=1)).tasks
    assert isinstance(task, tasks.QueryTask)
    result = tasks.QueryResult(query_id=task.queries[0].query_id, result=msgspec.Raw(b'"new"'))
    await other.respond(tasks.QueryTaskCompletion(token=task.token, results=(result,)))
    assert b'"new"' == bytes((await again).result)


@pytest.mark.parametrize("stage", ["ACCEPTED", "COMPLETED"])
async def test_an_update_that_waits_is_sent_on(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker, stage: svc.UpdateStage
) -> None:
    """Admitted and no more: the next owner admits it anew, and it is run once."""
    await server.start()
    await worker.turn()
    request = svc.UpdateWorkflowRequest(update_id="u", wait_for_stage=stage)
    updating = await waiting(server.api.update_workflow(NAMESPACE, "order", "set", request))
    await cluster.hand_over(server, taker)
    assert "WRONG_OWNER" == await outcome(updating)
    again = await waiting(taker.api.update_workflow(NAMESPACE, "order", "set", request))
    await Worker(taker).turn(c.AcceptUpdate(update_id="u"), c.CompleteUpdate(update_id="u"))
    assert "u" == (await again).update_id
    assert 1 == (await taker.event_types()).count("WorkflowExecutionUpdateAccepted")


async def test_an_update_that_was_accepted_is_found_at_the_taker(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """Who waits for its end waits there; the workflow does not get it again."""
    await server.start()
    await worker.turn()
    updating = await waiting(server.api.update_workflow(NAMESPACE, "order", "set", UPDATE))
    await worker.turn(c.AcceptUpdate(update_id="u"))
    await cluster.hand_over(server, taker)
    assert "WRONG_OWNER" == await outcome(updating)
    again = await waiting(taker.api.update_workflow(NAMESPACE, "order", "set", UPDATE))
    await taker.signal()
    same = Worker(taker)
    task = await same.workflow_task()
    assert () == task.updates
    await same.answer(task, c.CompleteUpdate(update_id="u"))
    assert "COMPLETED" == (await again).stage


@pytest.mark.parametrize("poll", ["result", "history"])
async def test_a_long_poll_is_sent_on(cluster: Cluster, server: OneServer, taker: OneServer, poll: str) -> None:
    """At once, not when its time is over: what it waits for happens elsewhere."""
    await server.start()
    await server.settle()
    asking = await waiting(
        server.api.workflow_result(NAMESPACE, "order", "", 60)
        if poll == "result"
        else server.api.history(NAMESPACE, "order", "", 2, 60)
    )
    await cluster.hand_over(server, taker)
    assert "WRONG_OWNER" == await outcome(asking)


async def test_a_signal_that_was_held_back_is_sent_on(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """After two refused closings signals wait for the end of the task: it will not end here."""
    await server.start()
    for _ in range(2):
        task = await worker.workflow_task()
        await server.signal()
        await worker.answer(task, DONE)
    await worker.workflow_task()
    signalling = await waiting(server.signal())
    await cluster.hand_over(server, taker)
    assert "WRONG_OWNER" == await outcome(signalling)
    await taker.signal()


# ---- resets and transactions ---------------------------------------------------------------------------------------


async def test_a_reset_on_its_way_is_not_made(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its copy was being written: nobody sees that, and the taker makes its own."""
    started = await server.start()
    await worker.turn(PAY)
    gate, copy = asyncio.Event(), server.store._store.copy_history

    async def slowly(*arguments: Any, **options: Any) -> tuple[int, int]:
        await gate.wait()
        return await copy(*arguments, **options)

    monkeypatch.setattr(server.store._store, "copy_history", slowly)
    back = svc.ResetWorkflowRequest(point="first", request_id="back")
    resetting = await waiting(server.api.reset_workflow(NAMESPACE, "order", back))
    await cluster.hand_over(server, taker)
    gate.set()
    assert "WRONG_OWNER" == await outcome(resetting)
    assert started.run_id == taker.run().run_id
    answer = await taker.api.reset_workflow(NAMESPACE, "order", back)
    assert [(2,)] == await cluster.rows("select count(*) from executions")
    assert answer.run_id == taker.run().run_id
    assert 1 == await taker.store.delete_orphans(range(SHARDS), 10, timedelta(0))


async def test_a_transaction_may_commit_while_its_activity_moves(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker, database_url: str
) -> None:
    """It was allowed by the giver; the taker finds what it recorded."""
    async with payments_in(database_url) as payments:
        task, place = await begun(server, worker)
        await cluster.hand_over(server, taker)
        assert "recorded" == await (await payments.transaction(place)).pay()
    same = Worker(taker, held=[task.token])
    await same.acknowledge()
    done = tasks.ActivityTaskCompletion(token=task.token, recorded=True)
    assert [None] == [result.code for result in await same.respond(done)]
    assert "ActivityTaskCompleted" in await taker.event_types()


async def test_a_seal_of_the_giver_does_not_come_after_the_taker_has_begun(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker, database_url: str
) -> None:
    """Law: the hand-over waits for what is sealed, and for its unsealing: the attempt can commit all the same."""
    async with payments_in(database_url) as payments:
        _, place = await begun(server, worker)
        server.store.seal_gate.clear()
        ending = await waiting(
            server.api.terminate_workflow(NAMESPACE, "order", svc.TerminateWorkflowRequest(reason="no"))
        )
        giving = asyncio.ensure_future(server.api.give_up(range(SHARDS)))
        await server.settle()
        assert await is_waiting(giving)
        server.store.seal_gate.set()
        await giving
        assert [] == await cluster.rows("select 1 from outcomes")
        assert "WRONG_OWNER" == await outcome(ending)
        taker.api.gain(range(SHARDS))
        await taker.upkeep.recover()
        assert "recorded" == await (await payments.transaction(place)).pay()
    run = taker.run()
    await taker.engine.outcomes._look([ActivityKey(run.key.shard_id, run.run_id, 5)])
    assert "ActivityTaskCompleted" in await taker.event_types()


async def test_a_transaction_is_allowed_by_the_taker_alone(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """An attempt that asks the giver is sent on before it may begin."""
    await server.start()
    await worker.turn(PAY)
    task = await worker.activity_task()
    await cluster.hand_over(server, taker)
    answer = await allowed(worker, task)
    assert (Code.WRONG_OWNER, None) == (answer.code, answer.place)
