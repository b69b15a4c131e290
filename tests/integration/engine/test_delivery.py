"""Started records, delivery and take-over: who runs what, what a new owner knows, and what is kept when."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from perdure_proto import commands as c
from perdure_proto import tasks
from perdure_proto.errors import Code, ServiceError
from perdure_proto.options import Priority, RetryPolicy
from perdure_proto.service import TerminateWorkflowRequest
from perdure_server.history import requests as req
from perdure_server.history.invariants import same_state
from perdure_server.history.state import STATE_VERSION
from perdure_server.store.port import StoreUnavailableError
from tests.engine import FAILURE, NAMESPACE, Cluster, OneServer, Worker, is_waiting

SECOND = timedelta(seconds=1)
ACTIVITY = c.ScheduleActivityTask(activity_id="1", activity_type="Pay")
LAST = c.ScheduleActivityTask(activity_id="1", activity_type="Pay", retry_policy=RetryPolicy(maximum_attempts=1))
LONG = c.ScheduleActivityTask(activity_id="1", activity_type="Pay", start_to_close_timeout=3600 * SECOND)
NEVER = timedelta(days=1)


async def test_a_new_owner_accepts_a_workflow_task_it_never_saw(cluster: Cluster, server: OneServer) -> None:
    """A completion whose start died with its owner is taken, and written with the time of the token."""
    await server.start()
    task = await Worker(server).workflow_task()
    successor = await cluster.restart(server)
    worker = Worker(successor, held=[task.token])
    await worker.acknowledge()
    assert tasks.CompletionResult() == await worker.answer(task, c.CompleteWorkflowExecution())
    assert "WorkflowExecutionCompleted" == (await successor.event_types())[-1]


async def test_a_new_owner_accepts_an_activity_it_never_saw(
    cluster: Cluster, server: OneServer, worker: Worker
) -> None:
    """The result of an attempt whose start no row tells of is taken."""
    await server.start()
    await worker.turn(ACTIVITY)
    activity = await worker.activity_task()
    successor = await cluster.restart(server)
    other = Worker(successor, held=[activity.token])
    await other.acknowledge()
    assert tasks.CompletionResult() == await other.done(activity)


async def test_a_stale_completion_tells_the_worker_to_evict(server: OneServer, worker: Worker) -> None:
    """The answer to a task that was answered already is refused, and changes nothing."""
    await server.start()
    task = await worker.workflow_task()
    await worker.answer(task)
    assert Code.TASK_NOT_FOUND == (await worker.answer(task)).code


async def test_a_task_shows_only_what_has_landed(server: OneServer, worker: Worker) -> None:
    """A worker never sees an event that the log may yet lose."""
    await server.start()
    server.store.gate.clear()
    signalling = asyncio.ensure_future(server.signal())
    await server.store.waiting.wait()
    taking = asyncio.ensure_future(worker.workflow_task())
    assert await is_waiting(taking)
    server.store.gate.set()
    await signalling
    assert b"WorkflowExecutionSignaled" in bytes((await taking).events)


async def test_the_start_of_an_activity_is_kept_after_its_delivery(cluster: Cluster) -> None:
    """A while after the worker acknowledged it, an attempt has a row."""
    server = await cluster.server(activity_started_after=timedelta(0))
    worker = Worker(server)
    await server.start()
    await worker.turn(ACTIVITY)
    await worker.activity_task()
    assert [] == await cluster.rows("select 1 from activities")
    await worker.acknowledge()
    batch = await server.store.until(lambda batch: batch.activities)
    assert "worker-1" == batch.activities[0].session


async def test_the_last_allowed_attempt_is_kept_before_it_is_given_out(cluster: Cluster, server: OneServer) -> None:
    """An attempt that must not be made twice is a row before a worker has it."""
    worker = Worker(server)
    await server.start()
    await worker.turn(LAST)
    server.store.gate.clear()
    taking = asyncio.ensure_future(worker.activity_task())
    assert await is_waiting(taking)
    server.store.gate.set()
    await taking
    assert 1 == len(await cluster.rows("select 1 from activities where started_at is not null"))


async def test_the_start_of_an_activity_is_kept_before_its_cancel_request(cluster: Cluster, server: OneServer) -> None:
    """The cancel request and the row of the attempt that it is for are one transaction."""
    worker = Worker(server)
    await server.start()
    await worker.turn(ACTIVITY)
    activity = await worker.activity_task()
    await server.signal()
    await worker.turn(c.RequestCancelActivityTask(scheduled_event_id=5))
    batch = await server.store.until(lambda batch: batch.activities)
    assert b"ActivityTaskCancelRequested" in batch.appends[0].events
    assert (tasks.CancelActivity(token=activity.token),) == worker.pushes


async def test_buffered_events_are_kept_and_flushed_by_a_new_owner(cluster: Cluster, server: OneServer) -> None:
    """A signal acknowledged while a task runs survives the server, and is in the log when the next one has loaded."""
    await server.start()
    await Worker(server).workflow_task()
    await server.signal()
    assert 1 == len(await cluster.rows("select 1 from buffered_events"))
    successor = await cluster.restart(server)
    await successor.settle()
    assert "WorkflowExecutionSignaled" == (await successor.event_types())[-1]
    assert [] == await cluster.rows("select 1 from buffered_events")


async def test_what_is_owed_is_said_in_the_transaction_that_owes(server: OneServer, worker: Worker) -> None:
    """Each append that makes a task due says so itself."""
    await server.start()
    await worker.turn()
    await server.sweep()
    await server.signal()
    batch = await server.store.until(lambda batch: batch.appends and b"Signaled" in batch.appends[0].events)
    assert [True] == [wake.owed for wake in batch.wakes]


async def test_what_is_owed_no_more_is_cleared_when_idle(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """A run that waits for the outside is not loaded by the next owner."""
    await server.start()
    await worker.turn()
    await server.sweep()
    assert [(False,)] == await cluster.rows("select owed from wakes")
    assert 0 == await (await cluster.restart(server)).recover()


async def test_wake_at_is_the_earliest_deadline(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """An idle run says when it must be looked at next."""
    await server.start()
    await worker.turn(
        c.StartTimer(timer_id="late", start_to_fire_timeout=90 * SECOND),
        c.StartTimer(timer_id="soon", start_to_fire_timeout=70 * SECOND),
    )
    await server.sweep()
    assert [(server.run().state.timers["soon"].fire_at,)] == await cluster.rows("select wake_at from wakes")


async def test_a_run_timeout_wakes_an_idle_run(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """Run timeouts count among the deadlines."""
    await server.start(workflow_run_timeout=90 * SECOND)
    await worker.turn()
    await server.sweep()
    (row,) = await cluster.rows("select wake_at from wakes")
    assert (server.run().state.started.event_time + 90 * SECOND,) == row


async def test_the_look_ahead_finds_an_evicted_timer(cluster: Cluster) -> None:
    """A run that left memory comes back before its timer is due, and the timer fires."""
    server = await cluster.server(evict_after=timedelta(0), look_ahead=SECOND, snapshot_events=3)
    worker = Worker(server)
    await server.start()
    await worker.turn(c.StartTimer(timer_id="1", start_to_fire_timeout=60 * SECOND))
    for _ in range(3):
        await server.sweep()
    assert {} == server.engine.residents.by_run
    server.offset += 61 * SECOND
    assert 1 == await server.upkeep.scan()
    server.move(0)
    assert "TimerFired" in await server.event_types()


async def test_a_scan_that_failed_is_made_again(cluster: Cluster) -> None:
    """What came due while the database was away is found when it is back."""
    server = await cluster.server(evict_after=timedelta(0), look_ahead=SECOND)
    await server.start()
    await Worker(server).turn(c.StartTimer(timer_id="1", start_to_fire_timeout=60 * SECOND))
    for _ in range(3):
        await server.sweep()
    server.offset += 61 * SECOND
    server.store.__dict__["due_runs"] = away
    with pytest.raises(StoreUnavailableError):
        await server.upkeep.scan()
    del server.store.__dict__["due_runs"]
    assert 1 == await server.upkeep.scan()


async def away(*_: Any) -> Any:
    raise StoreUnavailableError("away")


async def test_timers_of_a_server_that_lost_its_shards_are_silent(cluster: Cluster, server: OneServer) -> None:
    """What comes due between the loss and the end of the engine is the new owner's, and no error here."""
    await server.start()
    await Worker(server).turn(c.StartTimer(timer_id="1", start_to_fire_timeout=60 * SECOND))
    await cluster.server()
    with pytest.raises(ServiceError):
        await server.start("other")
    await server.lost.wait()
    server.move(61)


async def test_a_run_with_a_cancelled_timer_can_be_evicted(cluster: Cluster) -> None:
    """A row that names the time of a timer that is gone is set right, or the run would stay in memory for ever."""
    server = await cluster.server(evict_after=timedelta(0), look_ahead=SECOND)
    worker = Worker(server)
    await server.start()
    await worker.turn(
        c.StartTimer(timer_id="1", start_to_fire_timeout=60 * SECOND),
        c.StartTimer(timer_id="2", start_to_fire_timeout=600 * SECOND),
    )
    await server.sweep()
    await server.signal()
    await worker.turn(c.CancelTimer(timer_id="1"))
    await server.sweep()
    server.move(61)
    await server.upkeep.scan()
    for _ in range(3):
        await server.sweep()
    assert {} == server.engine.residents.by_run


async def test_an_evicted_run_comes_back_as_it_was(cluster: Cluster) -> None:
    """Snapshot, later events and rows give the state that left memory."""
    server = await cluster.server(evict_after=timedelta(0), snapshot_events=3)
    worker = Worker(server)
    await server.start()
    await worker.turn(
        c.ScheduleActivityTask(
            activity_id="1", activity_type="Pay", retry_policy=RetryPolicy(initial_interval=90 * SECOND)
        )
    )
    await worker.failed(await worker.activity_task())
    before = server.run()
    for _ in range(3):
        await server.sweep()
    assert {} == server.engine.residents.by_run
    assert 1 == len(await cluster.rows("select 1 from snapshots"))
    await server.describe()
    assert before is not server.run()
    assert [] == same_state(before.state, server.run().state)


async def test_tasks_over_the_window_are_parked_and_come_back(cluster: Cluster) -> None:
    """What matching has no room for waits in the database, and all of it is done in the end."""
    server = await cluster.server(queue_window_max=2)
    for n in range(6):
        await server.start(f"order-{n}")
    await server.settle()
    assert await cluster.rows("select 1 from parked")
    worker = Worker(server)
    for _ in range(6):
        await worker.turn(c.CompleteWorkflowExecution())
    assert [] == await cluster.rows("select 1 from executions where status = 1")


async def test_parked_tasks_come_back_by_priority(cluster: Cluster) -> None:
    """What waits in the database keeps the priority of its workflow: the most urgent is paged back first."""
    server = await cluster.server(queue_window_max=1)
    for key in (3, 5, 4, 1, 2):
        await server.start(f"order-{key}", priority=Priority(priority_key=key))
    await server.settle()
    worker = Worker(server)
    served = []
    for _ in range(5):
        task = await worker.workflow_task()
        served.append(task.workflow_id)
        await worker.answer(task, c.CompleteWorkflowExecution())
    assert ["order-3", "order-1", "order-2", "order-4", "order-5"] == served


async def test_what_is_on_its_way_to_be_parked_is_not_missed(cluster: Cluster) -> None:
    """A refill looks after what was parked before it has landed: nobody would look a second time."""
    server = await cluster.server(queue_window_max=1)
    await server.start("first")
    server.store.gate.clear()
    starting = asyncio.create_task(server.start("second"))
    await server.store.let_one_pass()
    await starting
    looked: list[str] = []
    find = server.store.parked_tasks

    async def parked_tasks(*queue: Any) -> Any:
        looked.append("looked")
        return await find(*queue)

    server.store.__dict__["parked_tasks"] = parked_tasks
    refill = asyncio.create_task(server.api.handout.refill("default", "default", "workflow", 5))
    assert (True, []) == (await is_waiting(refill), looked)
    server.store.gate.set()
    await refill
    assert ["first", "second"] == await served(server, 2)


async def test_parked_tasks_of_closed_runs_hide_no_others(cluster: Cluster) -> None:
    """A refill that found nothing to offer does not mean that nothing is parked."""
    server = await cluster.server(queue_window_max=1)
    for name in ("first", "closed", "waits"):
        await server.start(name)
    await server.settle()
    await server.api.terminate_workflow("default", "closed", TerminateWorkflowRequest())
    assert ["first", "waits"] == await served(server, 2)


async def served(server: OneServer, tasks_: int) -> list[str]:
    """The workflows of the next tasks, which all end at once."""
    worker, workflow_ids = Worker(server), []
    for _ in range(tasks_):
        task = await worker.workflow_task()
        workflow_ids.append(task.workflow_id)
        await worker.answer(task, c.CompleteWorkflowExecution())
    return workflow_ids


async def test_completions_wait_for_the_database(server: OneServer, worker: Worker) -> None:
    """A run that cannot be read now does not cost its completion: the worker is asked to send it again."""
    await server.start()
    task = await worker.workflow_task()
    server.engine.residents.remove(server.run())
    server.store.__dict__["load_run"] = away
    with pytest.raises(ServiceError) as refused:
        await worker.answer(task, c.CompleteWorkflowExecution())
    assert Code.UNAVAILABLE == refused.value.code
    del server.store.__dict__["load_run"]
    assert tasks.CompletionResult() == await worker.answer(task, c.CompleteWorkflowExecution())


async def test_a_parked_task_of_a_closed_run_owes_nothing(cluster: Cluster) -> None:
    """The parked task of a run that ended meanwhile goes without a trace."""
    server = await cluster.server(queue_window_max=1)
    await server.start("first")
    await server.start("second")
    await server.settle()
    await server.api.terminate_workflow("default", "second", TerminateWorkflowRequest())
    await server.api.handout.refill("default", "default", "workflow", 5)
    assert [] == await cluster.rows("select 1 from parked")
    assert [(1,)] == await cluster.rows("select count(*)::int from wakes")


async def test_an_attempt_is_lost_when_its_worker_does_not_come_back(cluster: Cluster) -> None:
    """After a restart the worker has a while to return; then its attempt counts as failed."""
    server = await cluster.server(activity_started_after=timedelta(0))
    worker = Worker(server)
    await server.start()
    await worker.turn(LONG)
    await worker.activity_task()
    await worker.acknowledge()
    await server.store.until(lambda batch: batch.activities)
    await server.sweep()
    successor = await cluster.restart(server, worker_lost_after=timedelta(0))
    batch = await successor.store.until(lambda batch: batch.activities)
    assert (2, True) == (batch.activities[0].attempt, b"WORKER_LOST" in (batch.activities[0].last_failure or b""))


async def test_an_attempt_goes_on_when_its_worker_comes_back(cluster: Cluster) -> None:
    """A token that a worker lists as held is not given to another, and not lost."""
    server = await cluster.server(activity_started_after=timedelta(0))
    worker = Worker(server)
    await server.start()
    await worker.turn(ACTIVITY)
    activity = await worker.activity_task()
    await worker.acknowledge()
    await server.store.until(lambda batch: batch.activities)
    await server.sweep()
    successor = await cluster.restart(server, worker_lost_after=NEVER)
    returned = Worker(successor, held=[activity.token])
    await returned.acknowledge()
    execution = successor.run()
    successor.engine._miss_workers(execution, [(5, 1, 0)])
    assert 1 == execution.state.activities[5].attempt
    assert () == (await Worker(successor, "worker-2").poll(activities=1, wait=0)).tasks
    assert tasks.CompletionResult() == await returned.done(activity)


async def test_a_task_that_came_back_has_its_whole_time(server: OneServer, worker: Worker) -> None:
    """The deadline of an earlier hand-out of the same task does not end the later one."""
    await server.start()
    first = await worker.workflow_task()
    server.move(9)
    await worker.respond(tasks.TaskReturned(token=first.token))
    second = await worker.workflow_task()
    server.move(2)
    assert tasks.CompletionResult() == await worker.answer(second)


async def test_a_late_return_does_not_take_a_task_from_another(server: OneServer, worker: Worker) -> None:
    """An attempt handed back twice is due once."""
    await server.start()
    await worker.turn(ACTIVITY)
    first = await worker.activity_task()
    await worker.respond(tasks.TaskReturned(token=first.token))
    await worker.activity_task()
    await worker.respond(tasks.TaskReturned(token=first.token))
    assert server.run().state.activities[5].started_at is not None


async def test_a_stale_offer_does_not_swallow_the_next_attempt(server: OneServer, worker: Worker) -> None:
    """An attempt that became due while an old offer of its activity lay in the queue is given out."""
    await server.start()
    await worker.turn(ACTIVITY)
    await server.settle()
    execution = server.run()
    fail = req.FailActivity(scheduled_event_id=5, attempt=1, started_at=server.engine.now(), failure=FAILURE)
    server.engine.transact(execution, fail)
    server.move(2)
    await server.settle()
    assert 2 == (await worker.activity_task()).attempt


async def test_signals_are_held_after_two_refused_closings(server: OneServer, worker: Worker) -> None:
    """A storm of signals cannot keep a workflow open: after two refusals news waits, unacknowledged, for the task."""
    await server.start()
    for _ in range(2):
        task = await worker.workflow_task()
        await server.signal()
        assert Code.UNHANDLED_COMMAND == (await worker.answer(task, c.CompleteWorkflowExecution())).code
    task = await worker.workflow_task()
    signalling = asyncio.ensure_future(server.signal())
    assert await is_waiting(signalling)
    assert tasks.CompletionResult() == await worker.answer(task, c.CompleteWorkflowExecution())
    assert Code.WORKFLOW_CLOSED == (await asyncio.gather(signalling, return_exceptions=True))[0].code  # type: ignore[union-attr]


async def test_a_termination_frees_held_signals(server: OneServer, worker: Worker) -> None:
    """Signals that are held hear of every end of the task."""
    await server.start()
    for _ in range(2):
        task = await worker.workflow_task()
        await server.signal()
        await worker.answer(task, c.CompleteWorkflowExecution())
    await worker.workflow_task()
    signalling = asyncio.ensure_future(server.signal())
    assert await is_waiting(signalling)
    await server.api.terminate_workflow("default", "order", TerminateWorkflowRequest())
    (result,) = await asyncio.gather(signalling, return_exceptions=True)
    assert Code.WORKFLOW_CLOSED == result.code  # type: ignore[union-attr]


async def test_a_page_that_was_read_before_does_not_bring_an_old_run_back(server: OneServer) -> None:
    """While a page of due runs was on its way, a run of it was closed and another began: that one stays current."""
    old = await server.start()
    page = await server.store.load_runs([server.run().key], STATE_VERSION)
    await server.api.terminate_workflow(NAMESPACE, "order", TerminateWorkflowRequest())
    new = await server.start()
    server.engine.residents.install(page[0], NAMESPACE, is_current=True)
    assert (False, new.run_id) == (new.run_id == old.run_id, (await server.signal()).run_id)
