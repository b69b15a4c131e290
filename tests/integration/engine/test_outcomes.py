"""Transactional activities against all that closes activities: each test is an interleaving of ADR 0011."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from perdure_proto import commands as c
from perdure_proto import events as ev
from perdure_proto import tasks
from perdure_proto.async_activities import CompleteActivityRequest
from perdure_proto.codec import encoder
from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import StartWorkflowRequest, TerminateWorkflowRequest
from tests.engine import FAILURE, NAMESPACE, Cluster, OneServer, Worker, is_waiting
from tests.integration.engine.paying import QUICK, SECOND, Payments, allowed, begun, closings, pay, payments_in
from tests.integration.engine.test_across import with_child

FINISHES = msgspec.Raw(encoder.encode([c.CompleteWorkflowExecution()]))
SEALS = "select 1 from outcomes where seal is not null"


@pytest_asyncio.fixture
async def payments(database_url: str) -> AsyncIterator[Payments]:
    async with payments_in(database_url) as opened:
        yield opened


async def until(ask: Callable[[], Coroutine[Any, Any, list[str]]]) -> list[str]:
    """Asks until there is an answer; each question waits for what was staged."""
    while not (found := await ask()):
        pass
    return found


async def until_closed(server: OneServer) -> list[str]:
    """How it ended, as soon as it has."""
    return await until(lambda: closings(server))


# ---- before the transaction ----------------------------------------------------------------------------------------


async def test_what_allows_a_transaction_is_durable_first(server: OneServer, worker: Worker) -> None:
    """The worker hears that it may begin only when whoever closes the activity will know."""
    await server.start()
    await worker.turn(pay())
    task = await worker.activity_task()
    server.store.gate.clear()
    asking = asyncio.ensure_future(allowed(worker, task))
    assert await is_waiting(asking)
    server.store.gate.set()
    assert (await asking).place is not None
    [pending] = (await server.api.describe_workflow(NAMESPACE, "order", "")).pending_activities
    assert pending.transactional


async def test_a_new_owner_knows_that_a_transaction_may_commit(
    cluster: Cluster, server: OneServer, worker: Worker, payments: Payments
) -> None:
    """What was allowed by one owner is respected by the next: the outcome wins over its timeout."""
    _, place = await begun(server, worker)
    successor = await cluster.restart(server)
    assert "recorded" == await (await payments.transaction(place)).pay()
    successor.move(61)
    assert ["ActivityTaskCompleted"] == await until_closed(successor)


async def test_a_closed_activity_allows_no_transaction(server: OneServer, worker: Worker) -> None:
    """An attempt that timed out before it asked is told that it is over."""
    await server.start()
    await worker.turn(pay())
    task = await worker.activity_task()
    server.move(61)
    answer = await allowed(worker, task)
    assert (Code.TASK_NOT_FOUND, None) == (answer.code, answer.place)


# ---- closed otherwise ----------------------------------------------------------------------------------------------


async def time_out(server: OneServer, worker: Worker, task: tasks.ActivityTask) -> None:
    server.move(61)


async def fail(server: OneServer, worker: Worker, task: tasks.ActivityTask) -> None:
    await worker.respond(tasks.ActivityTaskFailure(token=task.token, failure=FAILURE))


async def complete_otherwise(server: OneServer, worker: Worker, task: tasks.ActivityTask) -> None:
    await worker.respond(tasks.ActivityTaskCompletion(token=task.token))


async def complete_from_elsewhere(server: OneServer, worker: Worker, task: tasks.ActivityTask) -> None:
    """By its ids, which say nothing of an outcome."""
    request = CompleteActivityRequest(workflow_id="order", activity_id="1")
    try:
        await server.api.complete_activity(NAMESPACE, request)
    except ServiceError as error:
        if error.code != Code.TASK_NOT_FOUND:  # it has ended, where an outcome is there
            raise


async def cancel(server: OneServer, worker: Worker, task: tasks.ActivityTask) -> None:
    await server.signal()
    await worker.turn(c.RequestCancelActivityTask(scheduled_event_id=5))
    await worker.respond(tasks.ActivityTaskCancellation(token=task.token))


async def give_back_when_cancelled(server: OneServer, worker: Worker, task: tasks.ActivityTask) -> None:
    await server.signal()
    await worker.turn(c.RequestCancelActivityTask(scheduled_event_id=5))
    await worker.respond(tasks.TaskReturned(token=task.token))


async def terminate(server: OneServer, worker: Worker, task: tasks.ActivityTask) -> None:
    await server.api.terminate_workflow(NAMESPACE, "order", TerminateWorkflowRequest())


async def replace(server: OneServer, worker: Worker, task: tasks.ActivityTask) -> None:
    request = StartWorkflowRequest(workflow_type="Order", id_conflict_policy="terminate_existing")
    await server.api.start_workflow(NAMESPACE, "order", request)


async def run_out_of_time(server: OneServer, worker: Worker, task: tasks.ActivityTask) -> None:
    server.move(500)


async def finish(server: OneServer, worker: Worker, task: tasks.ActivityTask) -> None:
    await server.signal()
    await worker.turn(c.CompleteWorkflowExecution())


async def time_out_in_a_task(server: OneServer, worker: Worker, task: tasks.ActivityTask) -> None:
    """The timeout is buffered, for a workflow task is started."""
    await server.signal()
    taken = await worker.workflow_task()
    server.move(61)
    await server.store.until(lambda batch: any(b"ActivityTask" in row.event for row in batch.buffered))
    await worker.answer(taken)


Way = Callable[[OneServer, Worker, tasks.ActivityTask], Coroutine[Any, Any, None]]

ACTIVITY_WAYS: dict[Way, str] = {
    time_out: "ActivityTaskTimedOut",
    fail: "ActivityTaskFailed",
    complete_otherwise: "ActivityTaskCompleted",
    complete_from_elsewhere: "ActivityTaskCompleted",
    cancel: "ActivityTaskCanceled",
    give_back_when_cancelled: "ActivityTaskCanceled",
    time_out_in_a_task: "ActivityTaskTimedOut",
}
RUN_WAYS: dict[Way, str] = {
    terminate: "WorkflowExecutionTerminated",
    replace: "WorkflowExecutionTerminated",
    run_out_of_time: "WorkflowExecutionTimedOut",
    finish: "WorkflowExecutionCompleted",
}
WAYS = ACTIVITY_WAYS | RUN_WAYS
LONG: dict[str, Any] = {"start_to_close_timeout": timedelta(days=1)}


ENDS = {*WAYS.values(), "ActivityTaskCompleted"}
STARTS: dict[Way, dict[str, Any]] = {
    run_out_of_time: {"workflow_run_timeout": 400 * SECOND},
    time_out_in_a_task: {"workflow_task_timeout": 100 * SECOND},
}


async def began(server: OneServer, worker: Worker, way: Way) -> tuple[tasks.ActivityTask, tasks.OutcomePlace, str]:
    """An attempt that may commit, of a run that lives as long as the way needs."""
    task, place = await begun(server, worker, STARTS.get(way), **(LONG if way in RUN_WAYS else {}))
    return task, place, server.run().run_id


async def ended(server: OneServer, run_id: str) -> list[str]:
    """How the run that the test began with and its activity were closed."""
    types = await server.event_types(run_id=run_id)
    return [each for each in types if each in ENDS]


async def until_ended(server: OneServer, run_id: str) -> list[str]:
    return await until(lambda: ended(server, run_id))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_what_closes_the_activity_keeps_its_transaction_from_committing(
    server: OneServer, worker: Worker, payments: Payments, way: Way
) -> None:
    """A transaction that is under way when the activity is closed otherwise is told so, and leaves no rows."""
    task, place, run_id = await began(server, worker, way)
    transaction = await payments.transaction(place)
    await transaction.begin()
    await way(server, worker, task)
    assert [WAYS[way]] == await until_ended(server, run_id)
    assert "sealed" == await transaction.record()
    await transaction.roll_back()
    assert [] == await payments.attempts()


@pytest.mark.parametrize("way", [*ACTIVITY_WAYS, terminate, replace, run_out_of_time], ids=lambda way: way.__name__)
async def test_an_outcome_that_is_there_wins(server: OneServer, worker: Worker, payments: Payments, way: Way) -> None:
    """What would close the activity finds that it has committed: it is completed with its result, then the run ends."""
    task, place, run_id = await began(server, worker, way)
    assert "recorded" == await (await payments.transaction(place)).pay()
    await way(server, worker, task)
    expected = ["ActivityTaskCompleted", *([RUN_WAYS[way]] if way in RUN_WAYS else [])]
    await until_ended(server, run_id)
    await server.settle()
    assert expected == await ended(server, run_id)
    (completed,) = [e for e in await server.history(run_id=run_id) if isinstance(e, ev.ActivityTaskCompleted)]
    assert (b'"paid"', [1]) == (bytes(completed.result), await payments.attempts())


async def test_a_workflow_that_ends_hears_of_the_outcome_first(
    server: OneServer, worker: Worker, payments: Payments
) -> None:
    """The outcome is news to the workflow, so its closing is refused as with any activity that completes meanwhile."""
    _, place = await begun(server, worker)
    assert "recorded" == await (await payments.transaction(place)).pay()
    await server.signal()
    assert Code.UNHANDLED_COMMAND == (await worker.turn(c.CompleteWorkflowExecution())).code
    assert ["ActivityTaskCompleted"] == await closings(server)


@pytest.mark.parametrize("way", [time_out, fail, terminate], ids=lambda way: way.__name__)
async def test_closing_waits_for_a_transaction_that_has_recorded(
    server: OneServer, worker: Worker, payments: Payments, way: Way
) -> None:
    """Between record and commit nobody knows: the request is held, and then the outcome wins."""
    task, place, run_id = await began(server, worker, way)
    transaction = await payments.transaction(place)
    await transaction.begin()
    assert "recorded" == await transaction.record()
    closing = asyncio.ensure_future(way(server, worker, task))
    await server.store.sealing.wait()
    assert [] == await ended(server, run_id)
    await transaction.commit()
    await closing
    assert "ActivityTaskCompleted" == (await until_ended(server, run_id))[0]
    assert [1] == await payments.attempts()


async def test_a_parent_that_closes_its_child_waits_too(
    cluster: Cluster, server: OneServer, worker: Worker, payments: Payments
) -> None:
    """A policy that terminates is held like any request, and is owed until the child is closed."""
    parent, child = await with_child(server, worker, parent_close_policy="terminate")
    await worker.answer(child, pay(**LONG))
    transaction = await payments.transaction((await allowed(worker, await worker.activity_task())).place)
    await transaction.begin()
    await transaction.record()
    await worker.answer(parent, c.CompleteWorkflowExecution())
    await server.store.sealing.wait()
    await is_waiting(asyncio.sleep(0))
    await server.settle()
    assert [(True,)] == await cluster.rows("select owed from wakes where run_id = $1", parent.run_id)
    await transaction.commit()
    run_id = server.run("child").run_id
    await until(lambda: terminated(server, run_id))
    types = await server.event_types("child", run_id)
    assert ["ActivityTaskCompleted", "WorkflowExecutionTerminated"] == [each for each in types if each in ENDS]


async def terminated(server: OneServer, run_id: str) -> list[str]:
    return [each for each in await server.event_types("child", run_id) if each == "WorkflowExecutionTerminated"]


async def test_a_transaction_that_recorded_and_rolled_back_is_as_none(
    server: OneServer, worker: Worker, payments: Payments
) -> None:
    """The timeout waited for it and then takes its course."""
    _, place = await begun(server, worker)
    transaction = await payments.transaction(place)
    await transaction.begin()
    await transaction.record()
    server.move(61)
    await server.store.sealing.wait()
    await transaction.roll_back()
    assert ["ActivityTaskTimedOut"] == await until_closed(server)
    assert [] == await payments.attempts()


async def test_nobody_else_waits_for_a_users_transaction(server: OneServer, worker: Worker, payments: Payments) -> None:
    """While a seal waits, other runs commit and are read, and this one takes signals."""
    _, place = await begun(server, worker)
    transaction = await payments.transaction(place)
    await transaction.begin()
    await transaction.record()
    server.move(61)
    await server.store.sealing.wait()
    await server.start("another")
    await server.signal()
    assert ["WorkflowExecutionStarted", "WorkflowTaskScheduled"] == await server.event_types("another")
    await transaction.commit()
    assert ["ActivityTaskCompleted"] == await until_closed(server)


async def test_a_seal_that_waits_too_long_is_tried_again(server: OneServer, worker: Worker, payments: Payments) -> None:
    """Its connection is given up after a second; the request stays held."""
    _, place = await begun(server, worker)
    transaction = await payments.transaction(place)
    await transaction.begin()
    await transaction.record()
    server.move(61)
    await server.store.until_sealing(2)
    assert [] == await closings(server)
    await transaction.commit()
    assert ["ActivityTaskCompleted"] == await until_closed(server)


# ---- several attempts ----------------------------------------------------------------------------------------------


async def again(server: OneServer, worker: Worker) -> tasks.ActivityTask:
    """The next attempt, once its backoff is over."""
    server.move(1)
    return await worker.activity_task()


async def test_of_two_attempts_at_once_one_commits(server: OneServer, worker: Worker, payments: Payments) -> None:
    """The second waits for the first, hears that it is settled, and the activity has the result of the first."""
    first, place = await begun(server, worker, retry_policy=QUICK)
    await worker.failed(first)  # as a worker that was lost
    second = await again(server, worker)
    other = await payments.transaction((await allowed(worker, second)).place)
    transaction = await payments.transaction(place)
    await transaction.begin()
    assert "recorded" == await transaction.record('"first"')
    await other.begin()
    recording = asyncio.ensure_future(other.record('"second"'))
    await transaction.commit()
    assert "settled" == await recording
    await other.roll_back()
    result = (await worker.respond(tasks.ActivityTaskCompletion(token=second.token, result=b'"second"')))[0]  # type: ignore[arg-type]
    assert Code.TASK_NOT_FOUND == result.code
    (completed,) = [e for e in await server.history() if isinstance(e, ev.ActivityTaskCompleted)]
    assert (b'"first"', [1]) == (bytes(completed.result), await payments.attempts())


async def test_a_later_attempt_finds_the_outcome_when_it_begins(
    server: OneServer, worker: Worker, payments: Payments
) -> None:
    """It does not run its block: it is told that it is over, and the activity is completed."""
    first, place = await begun(server, worker, retry_policy=QUICK)
    await worker.failed(first)
    assert "recorded" == await (await payments.transaction(place)).pay()
    assert Code.TASK_NOT_FOUND == (await allowed(worker, await again(server, worker))).code
    assert ["ActivityTaskCompleted"] == await closings(server)
    started = [e for e in await server.history() if isinstance(e, ev.ActivityTaskStarted)]
    assert [(1, "worker-1")] == [(event.attempt, event.identity) for event in started]


@pytest.mark.parametrize("closed", ["settled", "sealed"])
async def test_an_attempt_that_nobody_knows_any_more_cannot_commit(
    server: OneServer, worker: Worker, payments: Payments, closed: str
) -> None:
    """The outcome or the seal outlives the activity: a first attempt that goes on after the close leaves no rows."""
    first, place = await begun(server, worker, retry_policy=QUICK)
    zombie = await payments.transaction(place)
    await zombie.begin()
    await worker.failed(first)
    second = await again(server, worker)
    if closed == "settled":
        other = await payments.transaction((await allowed(worker, second)).place)
        await other.pay()
        await worker.respond(tasks.ActivityTaskCompletion(token=second.token, recorded=True))
    else:
        await worker.done(second)
    assert ["ActivityTaskCompleted"] == await closings(server)
    await server.engine.outcomes.sweep()
    assert closed == await zombie.record()
    await zombie.roll_back()
    assert ([2] if closed == "settled" else []) == await payments.attempts()


@pytest.mark.parametrize("recorded", [True, False])
async def test_an_eager_turn_is_taken_with_what_is_recorded_only(
    server: OneServer, worker: Worker, payments: Payments, recorded: bool
) -> None:
    """What the workflow does next goes with a recorded result; with any other the activity ends as always."""
    task, place = await begun(server, worker)
    if recorded:
        await (await payments.transaction(place)).pay()
    turn = tasks.EagerTurn(last_event_id=5, started_at=server.engine.now(), history_size_bytes=1, commands=FINISHES)
    completion = tasks.ActivityTaskCompletion(token=task.token, turn=turn, recorded=recorded)
    (result,) = await worker.respond(completion)
    assert (None, recorded) == (result.code, bool(result.history_size_bytes))
    finished = ["ActivityTaskCompleted", *(["WorkflowExecutionCompleted"] if recorded else [])]
    assert finished == await closings(server)


async def test_an_eager_turn_waits_for_no_other_transaction(
    server: OneServer, worker: Worker, payments: Payments
) -> None:
    """It would close the run of another activity that may commit: the task is handed out as always."""
    await server.start()
    await worker.turn(pay(activity_id="other"), pay())
    other, task = await worker.activity_task(), await worker.activity_task()
    await allowed(worker, other)
    await (await payments.transaction((await allowed(worker, task)).place)).pay()
    turn = tasks.EagerTurn(last_event_id=6, started_at=server.engine.now(), history_size_bytes=1, commands=FINISHES)
    completion = tasks.ActivityTaskCompletion(token=task.token, turn=turn, recorded=True)
    assert (tasks.CompletionResult(),) == await worker.respond(completion)
    assert not server.run().held
    assert "WorkflowTaskScheduled" == (await server.event_types())[-1]


async def test_a_late_answer_of_the_attempt_that_committed_is_taken(
    server: OneServer, worker: Worker, payments: Payments
) -> None:
    """Its worker was thought lost and another attempt runs, which is told to stop: what committed counts."""
    first, place = await begun(server, worker, retry_policy=QUICK)
    await worker.failed(first)
    await again(server, worker)
    await (await payments.transaction(place)).pay()
    completion = tasks.ActivityTaskCompletion(token=first.token, recorded=True)
    assert (tasks.CompletionResult(),) == await worker.respond(completion)
    await server.settle()
    assert ["ActivityTaskCompleted"] == await closings(server)
    await worker.acknowledge()
    assert ["NOT_FOUND"] == [push.reason for push in worker.pushes if isinstance(push, tasks.CancelActivity)]


# ---- found by the sweep --------------------------------------------------------------------------------------------


async def test_the_sweep_finds_what_a_dead_worker_has_committed(cluster: Cluster, payments: Payments) -> None:
    """The last attempt allowed committed and died before it could say so: nobody waits for its timeout."""
    server = await cluster.server(outcome_looked_for_after=timedelta(0))
    _, place = await begun(server, Worker(server), start_to_close_timeout=timedelta(days=1))
    await server.engine.outcomes.sweep()
    assert [] == await closings(server)
    await (await payments.transaction(place)).pay()
    await server.engine.outcomes.sweep()
    assert ["ActivityTaskCompleted"] == await closings(server)


async def test_the_sweep_of_a_new_owner_finds_it_too(cluster: Cluster, payments: Payments) -> None:
    """Worker and server died together."""
    server = await cluster.server(outcome_looked_for_after=timedelta(0))
    _, place = await begun(server, Worker(server), start_to_close_timeout=timedelta(days=1))
    await (await payments.transaction(place)).pay()
    successor = await cluster.restart(server, outcome_looked_for_after=timedelta(0))
    await successor.engine.outcomes.sweep()
    assert ["ActivityTaskCompleted"] == await closings(successor)


async def test_the_sweep_asks_once_for_many(cluster: Cluster) -> None:
    """However many transactions are under way, they are looked for in pages."""
    server = await cluster.server(outcome_looked_for_after=timedelta(0), outcomes_page=4)
    worker = Worker(server)
    await server.start()
    await worker.turn(*(pay(activity_id=str(number)) for number in range(8)))
    for _ in range(8):
        await allowed(worker, await worker.activity_task())
    await server.engine.outcomes.sweep()
    assert 2 == server.store.looks


async def test_a_run_with_a_transaction_stays_in_memory(cluster: Cluster, payments: Payments) -> None:
    """An attempt that was given up may still commit, and only what is in memory is looked for."""
    server = await cluster.server(evict_after=timedelta(0), outcome_looked_for_after=timedelta(0))
    worker = Worker(server)
    policy = pay().retry_policy
    assert policy is not None
    slow = type(policy)(initial_interval=timedelta(days=1), maximum_attempts=9)
    first, place = await begun(server, worker, retry_policy=slow)
    await worker.failed(first)
    await server.settle()
    for _ in range(3):
        await server.sweep()
    await (await payments.transaction(place)).pay()
    await server.engine.outcomes.sweep()
    assert "order" in {execution.workflow_id for execution in server.engine.residents.by_run.values()}
    assert ["ActivityTaskCompleted"] == await closings(server)


# ---- seals that closed nothing -------------------------------------------------------------------------------------


async def test_a_seal_that_closed_nothing_is_taken_away(
    cluster: Cluster, server: OneServer, worker: Worker, payments: Payments
) -> None:
    """News kept the workflow open while its activity was sealed: the activity may commit again."""
    _, place = await begun(server, worker)
    await server.signal()
    task = await worker.workflow_task()
    server.store.seal_gate.clear()
    answering = asyncio.ensure_future(worker.answer(task, c.CompleteWorkflowExecution()))
    await server.store.sealing.wait()
    signalling = asyncio.ensure_future(server.signal())
    await is_waiting(signalling)
    server.store.seal_gate.set()
    assert Code.UNHANDLED_COMMAND == (await answering).code
    await signalling
    await server.store.unsealed.wait()
    assert [] == await cluster.rows(SEALS)
    assert "recorded" == await (await payments.transaction(place)).pay()


@pytest.mark.parametrize("by", ["sweep", "begin"])
async def test_a_seal_whose_owner_died_is_taken_away(cluster: Cluster, payments: Payments, by: str) -> None:
    """The owner died between the seal and the close: its successor, which goes on, takes the seal away."""
    server = await cluster.server()
    task, place = await begun(server, Worker(server), start_to_close_timeout=timedelta(days=1))
    server.store.gate.clear()
    closing = asyncio.ensure_future(terminate(server, Worker(server), task))
    await cluster.until_rows(SEALS)
    successor = await cluster.restart(server, outcome_looked_for_after=timedelta(0))
    await asyncio.gather(closing, return_exceptions=True)
    if by == "sweep":
        await successor.engine.outcomes.sweep()
    else:
        worker = Worker(successor, "worker-1", held=[task.token])
        await worker.acknowledge()
        assert (await allowed(worker, task)).place == place
    assert "recorded" == await (await payments.transaction(place)).pay()
