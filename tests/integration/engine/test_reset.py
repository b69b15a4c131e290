"""Going back: what is copied, what is told again, and that a death on the way leaves nothing that is seen."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from perdure_proto import commands as c
from perdure_proto import events as ev
from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import (
    ResetWorkflowAnswer,
    ResetWorkflowRequest,
    TerminateWorkflowRequest,
    UpdateWorkflowRequest,
)
from perdure_server.history.invariants import same_state
from tests.engine import NAMESPACE, SHARDS, Cluster, OneServer, Worker, is_waiting

ACTIVITY = c.ScheduleActivityTask(activity_id="1", activity_type="Pay")
OTHER = c.ScheduleActivityTask(activity_id="2", activity_type="Pay")
TIMER = c.StartTimer(timer_id="t", start_to_fire_timeout=timedelta(hours=1))
DONE = c.CompleteWorkflowExecution()


async def reset(server: OneServer, **options: Any) -> ResetWorkflowAnswer:
    return await server.api.reset_workflow(NAMESPACE, "order", ResetWorkflowRequest(reason="why", **options))


async def two_steps(server: OneServer, worker: Worker) -> str:
    """Two activities, one after the other; the run id. Its tasks completed with events 4 and 10."""
    answer = await server.start(request_id="start")
    await worker.turn(ACTIVITY)
    await worker.done(await worker.activity_task())
    await worker.turn(OTHER)
    return answer.run_id


async def test_the_history_is_copied_up_to_the_task(server: OneServer, worker: Worker) -> None:
    """The task's completion and all after it are gone; the task is given up and another is due."""
    base = await two_steps(server, worker)
    before = await server.history(run_id=base)
    answer = await reset(server, event_id=10)
    after = await server.history()
    assert answer.run_id != base
    assert before[:9] == after[:9]
    failed = after[9]
    assert isinstance(failed, ev.WorkflowTaskFailed)
    assert ("RESET_WORKFLOW", base, answer.run_id) == (failed.cause, failed.base_run_id, failed.new_run_id)
    assert ["WorkflowTaskScheduled"] == [event.event_type for event in after[10:]]
    assert "WorkflowExecutionTerminated" == (await server.event_types(run_id=base))[-1]


async def test_a_repeat_while_the_first_is_under_way(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """A request that comes twice at once begins one run, and both are told of it."""
    await two_steps(server, worker)
    answers = await asyncio.gather(*(reset(server, point="last", request_id="twice") for _ in range(2)))
    assert 1 == len({answer.run_id for answer in answers})
    assert [(2,)] == await cluster.rows("select count(*)::int from executions")


async def test_the_last_point_may_be_newer_than_what_has_landed(server: OneServer, worker: Worker) -> None:
    """A task that is completed while the reset is confirmed is copied from the log, so it is waited for."""
    await server.start()
    await worker.turn()
    await server.signal()
    task = await worker.workflow_task()
    copied: list[str] = []
    begin_copy = server.store.begin_copy

    async def begin(*run: Any) -> None:
        copied.append("begun")
        await begin_copy(*run)

    server.store.__dict__["begin_copy"] = begin
    server.store.gate.clear()
    resetting = asyncio.create_task(reset(server, point="last"))
    await server.store.waiting.wait()
    answering = asyncio.create_task(worker.answer(task))
    assert await is_waiting(answering)
    await server.store.let_one_pass()
    await server.store.waiting.wait()  # the first has landed, and the next stands at the gate
    assert (True, []) == (await is_waiting(resetting), copied)
    server.store.gate.set()
    await answering
    answer = await resetting
    assert "WorkflowTaskFailed" in await server.event_types(run_id=answer.run_id)


async def test_a_run_that_leaves_memory_while_it_is_copied(server: OneServer, worker: Worker) -> None:
    """A signal that comes between the reading of the log and the switch is told to the new run."""
    base = (await server.start()).run_id
    await worker.turn(TIMER)
    store, begin_copy, history = server.store, server.store.begin_copy, server.store.history
    signals = 0

    async def begin(*run: Any) -> None:
        server.engine.residents.remove(server.run())  # as the sweep does with one that is idle
        await begin_copy(*run)

    async def read(shard_id: int, run_id: str, after: int, rows_max: int) -> Any:
        nonlocal signals
        rows = await history(shard_id, run_id, after, rows_max)
        if run_id == base and rows_max > 1 and not signals:
            signals += 1
            await server.signal()
        return rows

    store.__dict__ |= {"begin_copy": begin, "history": read}
    await reset(server, point="last")
    types = await server.event_types()
    closed = (await server.history(run_id=base))[-1]
    assert (1, 1) == (signals, types.count("WorkflowExecutionSignaled"))
    assert isinstance(closed, ev.WorkflowExecutionTerminated)
    assert 3 == closed.reset_event_id


async def test_a_run_stays_in_memory_for_the_switch(cluster: Cluster) -> None:
    """However often the sweep looks: it would be looked for again and again."""
    server = await cluster.server(idle_after=timedelta(0), evict_after=timedelta(0))
    base = (await server.start()).run_id
    await Worker(server).turn(TIMER)
    history = server.store.history
    swept: list[bool] = []

    async def read(shard_id: int, run_id: str, after: int, rows_max: int) -> Any:
        if run_id == base and rows_max > 1:
            await server.sweep()
            await server.sweep()
            swept.append(base in server.engine.residents.by_run)
        return await history(shard_id, run_id, after, rows_max)

    server.store.__dict__["history"] = read
    await reset(server, point="last")
    assert [True] == swept


async def test_the_old_run_knows_the_new_one(server: OneServer, worker: Worker) -> None:
    """Its description says where it went on."""
    base = await two_steps(server, worker)
    answer = await reset(server, point="last")
    described = await server.api.describe_workflow(NAMESPACE, "order", base)
    assert ("TERMINATED", answer.run_id) == (described.execution.status, described.reset_run_id)


@pytest.mark.parametrize(
    ("where", "length"),
    [({"point": "first"}, 3), ({"point": "last"}, 9), ({"activity_id": "1"}, 3), ({"activity_id": "2"}, 9)],
)
async def test_points_by_name(server: OneServer, worker: Worker, where: dict[str, Any], length: int) -> None:
    """The first task, the last, and the one that scheduled an activity."""
    await two_steps(server, worker)
    await reset(server, **where)
    assert "WorkflowTaskFailed" == (await server.event_types())[length]


async def test_the_new_run_goes_on(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """A worker gets the whole history, after a restart too, and ends it."""
    await two_steps(server, worker)
    await reset(server, event_id=4)
    successor = await cluster.restart(server)
    other = Worker(successor)
    task = await other.workflow_task()
    assert 1 == task.history_from
    await other.answer(task, DONE)
    assert "COMPLETED" == (await successor.describe()).execution.status


async def test_the_rebuilt_state_is_the_live_one(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """What the log says of a run that was reset is what its owner knows."""
    await two_steps(server, worker)
    await server.signal(request_id="s")
    await reset(server, event_id=10)
    live = server.run().state
    successor = await cluster.restart(server)
    await successor.describe()
    assert [] == same_state(live, successor.run().state)


async def test_pending_activities_are_scheduled_anew(server: OneServer, worker: Worker) -> None:
    """One that was scheduled before the point and had not ended is run again, with its whole time."""
    await server.start()
    await worker.turn(ACTIVITY)
    await worker.activity_task()
    await server.signal()
    await worker.turn(TIMER)
    server.move(59)
    answer = await reset(server, point="last")
    other = Worker(server, "worker-2")
    again = await other.activity_task()
    assert (answer.run_id, 1) == (again.run_id, again.attempt)
    server.move(59)
    await server.settle()
    assert "ActivityTaskTimedOut" not in await server.event_types()


async def test_later_signals_are_told_again(server: OneServer, worker: Worker) -> None:
    """In order, between the task that was given up and the new one."""
    await two_steps(server, worker)
    for name in ("one", "two"):
        await server.signal(name=name)
    await reset(server, event_id=4)
    names = [each.signal_name for each in await server.history() if isinstance(each, ev.WorkflowExecutionSignaled)]
    assert ["one", "two"] == names


async def test_signals_can_be_left_out(server: OneServer, worker: Worker) -> None:
    """Where they are excluded none is told again."""
    await two_steps(server, worker)
    await server.signal()
    await reset(server, event_id=4, reapply_exclude=("signal",))
    assert "WorkflowExecutionSignaled" not in await server.event_types()


async def test_a_signal_in_the_buffer_is_told_again(server: OneServer, worker: Worker) -> None:
    """It came while a task was started, and is in neither log yet."""
    await two_steps(server, worker)
    await server.signal(name="first")
    await worker.workflow_task()
    signalling = asyncio.ensure_future(server.signal(name="late"))
    await reset(server, event_id=4)
    await signalling
    names = [each.signal_name for each in await server.history() if isinstance(each, ev.WorkflowExecutionSignaled)]
    assert ["first", "late"] == names


async def test_later_updates_are_admitted_again(server: OneServer, worker: Worker) -> None:
    """The new run's first task brings them, after a restart too."""
    await two_steps(server, worker)
    request = UpdateWorkflowRequest(update_id="u", wait_for_stage="ACCEPTED")
    updating = asyncio.ensure_future(server.api.update_workflow(NAMESPACE, "order", "set", request))
    task = await worker.workflow_task()
    await worker.answer(task, c.AcceptUpdate(update_id="u"), c.CompleteUpdate(update_id="u"))
    await updating
    await reset(server, event_id=4)
    assert "WorkflowExecutionUpdateAdmitted" in await server.event_types()
    other = Worker(server, "worker-2")
    again = await other.workflow_task()
    assert ["u"] == [delivery.update_id for delivery in again.updates]
    await other.answer(again, c.AcceptUpdate(update_id="u"), c.CompleteUpdate(update_id="u"), DONE)


async def test_a_repeat_gets_the_first_answer(server: OneServer, worker: Worker) -> None:
    """By request id; the run that it made is not reset again."""
    await two_steps(server, worker)
    first = await reset(server, event_id=4, request_id="r")
    assert ResetWorkflowAnswer(run_id=first.run_id, reset=False) == await reset(server, event_id=4, request_id="r")


async def test_the_start_is_still_the_starts(server: OneServer, worker: Worker) -> None:
    """A repeat of the start gets the run that it began, not the copy."""
    base = await two_steps(server, worker)
    await reset(server, event_id=4)
    assert base == (await server.start(request_id="start")).run_id


async def test_a_closed_run_is_taken_back(server: OneServer, worker: Worker) -> None:
    """It stays as it ended; the new one is current and open."""
    base = await two_steps(server, worker)
    await worker.done(await worker.activity_task())
    await worker.turn(DONE)
    await reset(server, activity_id="2")
    assert "RUNNING" == (await server.describe()).execution.status
    assert "WorkflowExecutionCompleted" == (await server.event_types(run_id=base))[-1]


async def test_an_earlier_run_of_a_chain_is_taken_back(server: OneServer, worker: Worker) -> None:
    """The current one is terminated, and the messages of the whole chain are told again, each once."""
    base = (await server.start()).run_id
    await worker.turn(TIMER)
    await server.signal(name="one")
    await worker.turn(c.ContinueAsNewWorkflowExecution(unclaimed_signals=(5 + 1,)))
    current = server.run().run_id
    await server.signal(name="two")
    await reset(server, run_id=base, point="first")
    names = [each.signal_name for each in await server.history() if isinstance(each, ev.WorkflowExecutionSignaled)]
    assert ["one", "two"] == names
    assert "WorkflowExecutionTerminated" == (await server.event_types(run_id=current))[-1]


async def test_a_reset_run_can_be_reset(server: OneServer, worker: Worker) -> None:
    """From the first run again: what came to the second is not lost, and nothing comes twice."""
    base = await two_steps(server, worker)
    await server.signal(name="one")
    await reset(server, event_id=4)
    await server.signal(name="two")
    await reset(server, run_id=base, event_id=10)
    names = [each.signal_name for each in await server.history() if isinstance(each, ev.WorkflowExecutionSignaled)]
    assert ["one", "two"] == names


@pytest.mark.parametrize(
    "where", [{}, {"event_id": 5}, {"event_id": 999}, {"activity_id": "x"}, {"event_id": 4, "point": "first"}]
)
async def test_what_is_no_point_is_refused(server: OneServer, worker: Worker, where: dict[str, Any]) -> None:
    """Nothing is changed."""
    await two_steps(server, worker)
    with pytest.raises(ServiceError) as refused:
        await reset(server, **where)
    assert refused.value.code in {Code.INVALID_ARGUMENT, Code.ACTIVITY_NOT_FOUND}
    assert "RUNNING" == (await server.describe()).execution.status


async def test_a_run_without_a_task_has_no_point(server: OneServer) -> None:
    """There is nothing to go back to."""
    await server.start()
    with pytest.raises(ServiceError, match="has not completed a workflow task"):
        await reset(server, point="last")


async def test_a_run_timeout_is_counted_anew(server: OneServer, worker: Worker) -> None:
    """The new run has the whole of it."""
    await server.start(workflow_run_timeout=timedelta(minutes=1))
    await worker.turn(TIMER)
    server.move(50)
    await reset(server, point="last")
    server.move(50)
    await server.settle()
    assert "RUNNING" == (await server.describe()).execution.status
    server.move(11)
    await server.settle()
    assert "TIMED_OUT" == (await server.describe()).execution.status


STEPS = ("begin_copy", "copy_history", "put_history", "history", "commit")


@pytest.mark.parametrize("step", STEPS)
async def test_a_death_on_the_way_leaves_nothing_visible(
    cluster: Cluster, server: OneServer, worker: Worker, step: str
) -> None:
    """The run goes on as if nothing had been asked; what was copied goes with retention; a repeat works."""
    base = await two_steps(server, worker)
    reached = asyncio.Event()

    async def hangs(*_: object, **__: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    setattr(server.store, step, hangs)
    asking = asyncio.ensure_future(reset(server, event_id=4, request_id="r"))
    await reached.wait()
    asking.cancel()
    successor = await cluster.restart(server)
    assert base == (await successor.describe()).execution.run_id
    assert "RUNNING" == (await successor.describe()).execution.status
    await successor.store.delete_orphans(range(SHARDS), 10, timedelta(0))
    assert [] == await cluster.rows("select run_id from history where run_id not in (select run_id from executions)")
    assert [] == await cluster.rows("select run_id from resets")
    assert (await reset(successor, event_id=4, request_id="r")).reset


async def test_a_copy_of_many_pages(cluster: Cluster) -> None:
    """Pages of two rows make the same copy."""
    server = await cluster.server(history_page_rows=2)
    worker = Worker(server)
    await server.start()
    await worker.turn(TIMER)
    for number in range(5):
        await server.signal(name=str(number))
        await worker.turn()
    before = await server.api.history(NAMESPACE, "order", "", 0, 0)
    last = server.run().state.previous_started_event_id
    await reset(server, point="last")
    state = server.run().state
    assert last + 2 + 1 - 1 == state.last_event_id
    assert 5 == state.signals
    assert before.run_id != server.run().run_id


async def test_the_current_run_of_another_chain_gives_way(server: OneServer, worker: Worker) -> None:
    """The id was used again meanwhile: that run is terminated, and its messages stay its own."""
    base = await two_steps(server, worker)
    await server.api.terminate_workflow(NAMESPACE, "order", TerminateWorkflowRequest())
    other = (await server.start()).run_id
    await server.signal(name="not mine")
    await reset(server, run_id=base, event_id=4)
    assert "WorkflowExecutionTerminated" == (await server.event_types(run_id=other))[-1]
    assert "WorkflowExecutionSignaled" not in await server.event_types()
