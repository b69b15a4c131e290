"""The committer's laws: passing errors, data errors, unknown outcomes, a lost fence, and whole transitions."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from perdure_proto import commands as c
from perdure_proto import service as svc
from perdure_proto import tasks
from perdure_proto.errors import Code, ServiceError
from perdure_server.engine.execution import Execution
from perdure_server.store.port import CommitOutcomeUnknownError, DataRefusedError, StoreUnavailableError
from tests.engine import NAMESPACE, Cluster, OneServer, Worker, cluster_on, is_waiting
from tests.integration.store.answer_loss import AnswerLoss
from tests.postgres import scratch_folder


async def test_a_passing_error_repeats_the_batch(server: OneServer) -> None:
    """A commit that did not reach Postgres is sent again, and nobody hears of it."""
    server.store.failures.append(StoreUnavailableError("away"))
    assert (await server.start()).started


async def test_a_data_error_is_found_by_halving(server: OneServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workflow whose value Postgres refuses fails alone; the others of its batch land."""
    names = [f"order-{n}" for n in range(5)]
    commit = server.store._store.commit

    async def refuse(fence: object, batch: object) -> object:
        if any(start.workflow_id == "order-3" for start in batch.starts):  # type: ignore[attr-defined]
            raise DataRefusedError("bad")
        return await commit(fence, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(server.store._store, "commit", refuse)
    results = await asyncio.gather(*(server.start(name) for name in names), return_exceptions=True)
    refused = [name for name, result in zip(names, results, strict=True) if isinstance(result, ServiceError)]
    assert ["order-3"] == refused


async def test_a_dropped_run_is_read_again(server: OneServer) -> None:
    """A run whose append was refused is loaded again by itself, for its timers run on."""
    await server.start()
    server.store.failures.extend([DataRefusedError("bad")])
    with pytest.raises(ServiceError):
        await server.signal()
    assert (NAMESPACE, "order") not in server.engine.residents.current
    await server.upkeep.reload()
    assert 2 == server.run().state.last_event_id


async def test_a_transition_that_fails_half_way_leaves_nothing(
    server: OneServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect between decision and staging: the caller hears of it, and the run is as the log has it."""
    await server.start()
    fail_once = iter([RuntimeError("defect")])
    arm = server.engine.arm

    def fail(execution: Execution) -> None:
        for error in fail_once:
            raise error
        arm(execution)

    monkeypatch.setattr(server.engine, "arm", fail)
    with pytest.raises(RuntimeError):
        await server.signal(name="lost")
    await server.signal(name="kept")
    types = ["WorkflowExecutionStarted", "WorkflowTaskScheduled", "WorkflowExecutionSignaled"]
    assert types == await server.event_types()


async def test_a_dropped_run_takes_its_later_appends_with_it(server: OneServer) -> None:
    """What was staged on top of a refused append, in whatever batch, is refused too."""
    await server.start()
    server.store.failures.append(DataRefusedError("bad"))
    server.store.gate.clear()
    first = asyncio.ensure_future(server.signal())
    await server.store.waiting.wait()
    second = asyncio.ensure_future(server.signal())
    await is_waiting(second)
    server.committer.seal()
    third = asyncio.ensure_future(server.start("other"))
    await is_waiting(third)
    server.store.gate.set()
    results = await asyncio.gather(first, second, third, return_exceptions=True)
    assert [True, True, False] == [isinstance(result, ServiceError) for result in results]
    assert ["WorkflowExecutionStarted", "WorkflowTaskScheduled"] == await server.event_types()


async def test_what_waits_is_counted_until_it_has_landed(server: OneServer) -> None:
    """Runs and bytes in flight and in full batches behind it are counted, and in the end none."""
    backlog = server.committer.backlog
    server.store.gate.clear()
    first = asyncio.ensure_future(server.start("a"))
    await server.store.waiting.wait()
    alone = backlog.bytes
    assert (1, True) == (backlog.runs, alone > 0)
    others = [asyncio.ensure_future(server.start(workflow_id)) for workflow_id in "bc"]
    await is_waiting(others[1])
    server.committer.seal()
    assert (3, True) == (backlog.runs, backlog.bytes > 2 * alone)
    server.store.gate.set()
    await asyncio.gather(first, *others)
    await server.committer.drain()
    assert (0, 0) == (backlog.runs, backlog.bytes)


async def test_a_lost_answer_is_read_back(database_url: str) -> None:
    """A commit whose answer was lost has happened: its callers hear so, and it is not done twice."""
    with scratch_folder() as folder:
        async with AnswerLoss(database_url, folder).running() as loss, cluster_on(loss.dsn) as cluster:
            server = await cluster.server()
            await server.start()
            await server.signal(request_id="1")  # after this the statement is prepared
            epoch = server.owner.fence.epoch
            loss.lose_next_answer()
            await server.signal(request_id="2")
            assert epoch + 1 == server.owner.fence.epoch
            assert 2 == (await server.event_types()).count("WorkflowExecutionSignaled")


async def test_a_commit_that_did_not_happen_is_sent_again(server: OneServer) -> None:
    """An unknown outcome that turns out to be nothing is repeated, under a new epoch."""
    await server.start()
    epoch = server.owner.fence.epoch
    server.store.failures.append(CommitOutcomeUnknownError("died"))
    await server.signal()
    assert epoch + 1 == server.owner.fence.epoch
    assert 1 == (await server.event_types()).count("WorkflowExecutionSignaled")


async def test_the_loss_of_the_fence_drops_everything(cluster: Cluster, server: OneServer) -> None:
    """After another server took over nothing that was staged lands, its callers may try again, memory is empty."""
    await server.start()
    successor = await cluster.server()
    with pytest.raises(ServiceError) as refused:
        await server.signal()
    await server.lost.wait()
    await server.api.close()
    assert Code.UNAVAILABLE == refused.value.code
    assert {} == server.engine.residents.by_run
    assert 2 == len(await successor.event_types())


async def test_a_deadline_after_the_loss_of_the_fence_is_the_successors(cluster: Cluster, server: OneServer) -> None:
    """Until the old server has stopped its timers they ring on: it does nothing then, and raises nothing."""
    await server.start(workflow_run_timeout=timedelta(seconds=5))
    successor = await cluster.server()
    with pytest.raises(ServiceError):
        await server.start("other")
    await server.lost.wait()
    server.move(6)
    successor.move(6)
    await successor.settle()
    assert "WorkflowExecutionTimedOut" == (await successor.event_types())[-1]


async def test_a_full_batch_does_not_tear_a_transition(cluster: Cluster) -> None:
    """What one transition writes is one transaction, also when it is the last that the batch takes."""
    server = await cluster.server(batch_rows_max=1)
    await server.start()
    (batch,) = server.store.batches
    assert [True] == [wake.owed for wake in batch.wakes]


async def test_a_full_batch_does_not_tear_a_chain(cluster: Cluster) -> None:
    """A continued run begins in the transaction that closes its predecessor, also in a batch that is full."""
    server = await cluster.server(batch_rows_max=1)
    worker = Worker(server)
    await server.start()
    await worker.turn(c.ContinueAsNewWorkflowExecution())
    batch = await server.store.until(lambda batch: batch.changes)
    assert 1 == len(batch.starts)


async def test_a_full_batch_takes_no_more_runs(cluster: Cluster) -> None:
    """A batch has a bound."""
    server = await cluster.server(batch_rows_max=2)
    await asyncio.gather(*(server.start(f"order-{n}") for n in range(5)))
    assert 2 == max(len(batch.appends) for batch in server.store.batches)


async def test_a_batch_has_a_bound_in_bytes(cluster: Cluster) -> None:
    """Large events fill a batch sooner."""
    server = await cluster.server(batch_bytes_max=100)
    await asyncio.gather(*(server.start(f"order-{n}") for n in range(3)))
    assert 1 == max(len(batch.appends) for batch in server.store.batches)


async def test_a_repeated_start_gets_its_own_run(server: OneServer, worker: Worker) -> None:
    """A repeat of a start is answered with the run it made, whatever happened since."""
    first = await server.start(request_id="r")
    await worker.turn(c.CompleteWorkflowExecution())
    await server.start(request_id="other")
    assert first.run_id == (await server.start(request_id="r")).run_id


async def test_the_id_of_a_completed_workflow_may_be_used_again(server: OneServer, worker: Worker) -> None:
    """The default policy allows a second run after the first."""
    await server.start()
    await worker.turn(c.CompleteWorkflowExecution())
    assert (await server.start()).started


@pytest.mark.parametrize("policy", ["allow_duplicate_failed_only", "reject_duplicate"])
async def test_the_id_of_a_completed_workflow_may_be_kept(server: OneServer, worker: Worker, policy: str) -> None:
    """A reuse policy can forbid a second run after a success."""
    await server.start()
    await worker.turn(c.CompleteWorkflowExecution())
    with pytest.raises(ServiceError) as refused:
        await server.start(id_reuse_policy=policy)
    assert Code.WORKFLOW_ALREADY_STARTED == refused.value.code


async def test_a_start_may_use_the_running_one(server: OneServer) -> None:
    """`use_existing` answers with the run that is there."""
    first = await server.start()
    second = await server.start(id_conflict_policy="use_existing")
    assert (first.run_id, False) == (second.run_id, second.started)


async def test_a_start_may_end_the_running_one(server: OneServer) -> None:
    """`terminate_existing` closes the old run in the transaction that begins the new."""
    first = await server.start()
    second = await server.start(id_conflict_policy="terminate_existing")
    assert second.started
    assert "WorkflowExecutionTerminated" == (await server.event_types(run_id=first.run_id))[-1]
    assert any(batch.changes and batch.starts for batch in server.store.batches)


async def test_a_start_that_loses_at_the_store_is_judged_by_the_policies(cluster: Cluster, server: OneServer) -> None:
    """Memory need not know the other run: the insert decides."""
    await server.start()
    server.engine.residents.remove(server.run())
    with pytest.raises(ServiceError) as refused:
        await server.start()
    assert Code.WORKFLOW_ALREADY_STARTED == refused.value.code


async def test_an_update_moves_to_the_next_run(server: OneServer, worker: Worker) -> None:
    """An update that waits does not block continue-as-new, and its caller gets the answer of the new run."""
    await server.start()
    task = await worker.workflow_task()
    request = svc.UpdateWorkflowRequest(update_id="u")
    updating = asyncio.ensure_future(server.api.update_workflow(NAMESPACE, "order", "set", request))
    assert await is_waiting(updating)
    await worker.answer(task, c.ContinueAsNewWorkflowExecution())
    await worker.turn(c.AcceptUpdate(update_id="u"), c.CompleteUpdate(update_id="u"))
    answer = await updating
    assert ("COMPLETED", server.run().run_id) == (answer.stage, answer.run_id)


async def test_an_update_of_an_earlier_run_is_not_run_again(server: OneServer, worker: Worker) -> None:
    """A repeat of an update that an earlier run of the chain completed gets that outcome."""
    await server.start()
    await worker.turn()
    request = svc.UpdateWorkflowRequest(update_id="u")
    updating = asyncio.ensure_future(server.api.update_workflow(NAMESPACE, "order", "set", request))
    await worker.turn(
        c.AcceptUpdate(update_id="u"), c.CompleteUpdate(update_id="u"), c.ContinueAsNewWorkflowExecution()
    )
    assert await updating == await server.api.update_workflow(NAMESPACE, "order", "set", request)


async def test_rows_on_top_of_a_refused_append_are_not_written(cluster: Cluster, server: OneServer) -> None:
    """A row beside the log that was staged after a refused append goes with it, though it has no append of its own."""
    worker = Worker(server)
    await server.start()
    await worker.turn(c.ScheduleActivityTask(activity_id="1", activity_type="Pay"))
    activity = await worker.activity_task()
    server.store.failures.append(DataRefusedError("bad"))
    server.store.gate.clear()
    signalling = asyncio.ensure_future(server.signal())
    await server.store.waiting.wait()
    beating = asyncio.ensure_future(worker.respond(tasks.ActivityHeartbeat(token=activity.token)))
    assert await is_waiting(beating)
    server.store.gate.set()
    with pytest.raises(ServiceError):
        await signalling
    ((result,), rows) = (await beating, await cluster.rows("select 1 from activities"))
    assert (True, []) == (result.code is not None, rows)


@pytest.mark.parametrize("keeps_rows_first", [True, False])
async def test_a_close_leaves_no_timer_in_the_buffer(
    cluster: Cluster, server: OneServer, worker: Worker, keeps_rows_first: bool
) -> None:
    """A timer that fired during the task that cancels it and closes the run leaves no row, before or after."""
    await server.start()
    await worker.turn(c.StartTimer(timer_id="1", start_to_fire_timeout=timedelta(seconds=5)))
    await server.signal()
    task = await worker.workflow_task()
    run = server.run()
    server.move(6)
    if keeps_rows_first:
        server.engine.transactor.buffer_durably(run)
    await worker.answer(task, c.CancelTimer(timer_id="1"), c.CompleteWorkflowExecution())
    server.engine.transactor.buffer_durably(run)
    await server.settle()
    assert ([], []) == (await cluster.rows("select from wakes"), await cluster.rows("select from buffered_events"))
