"""Updates in the engine: who waits and is told what, when runs end, move on, lose their worker or their owner."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from perdure_proto import commands as c
from perdure_proto import service as svc
from perdure_proto import tasks
from perdure_proto.errors import Code, ServiceError
from perdure_proto.failures import ApplicationFailure
from perdure_server.config import ServerSettings
from perdure_server.frontend.port import OutcomeWait
from tests.engine import FAILURE, NAMESPACE, Cluster, OneServer, Worker, is_waiting

ACCEPT, COMPLETE = c.AcceptUpdate(update_id="u"), c.CompleteUpdate(update_id="u")
DONE = c.CompleteWorkflowExecution()


def update(server: OneServer, update_id: str = "u", **options: Any) -> asyncio.Future[svc.UpdateWorkflowAnswer]:
    request = svc.UpdateWorkflowRequest(update_id=update_id, **options)
    return asyncio.ensure_future(server.api.update_workflow(NAMESPACE, "order", "set", request))


async def outcome(server: OneServer, update_id: str = "u", **options: Any) -> svc.UpdateWorkflowAnswer:
    return await server.api.update_outcome(NAMESPACE, "order", update_id, OutcomeWait(**options))


async def test_who_gave_up_waiting_is_forgotten_after_the_update_moved(server: OneServer, worker: Worker) -> None:
    """The wait ends in the run to which the update went: it would keep that run in memory for ever."""
    await server.start()
    task = await worker.workflow_task()
    waiting = update(server)
    assert await is_waiting(waiting)
    first = server.run()
    await worker.answer(task, c.ContinueAsNewWorkflowExecution())
    assert server.run() is not first
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert ({}, {}) == (first.update_waiters, server.run().update_waiters)


async def test_a_wait_that_is_over_names_the_run_to_which_the_update_went(server: OneServer, worker: Worker) -> None:
    """The stage is that of the run that has it now."""
    await server.start()
    task = await worker.workflow_task()
    waiting = update(server, wait=timedelta(seconds=1))
    assert await is_waiting(waiting)
    await worker.answer(task, c.ContinueAsNewWorkflowExecution())
    await worker.turn(ACCEPT)
    assert ("ACCEPTED", server.run().run_id) == ((await waiting).stage, (await waiting).run_id)


async def test_an_accepted_update_fails_with_its_workflow(server: OneServer, worker: Worker) -> None:
    """Whoever waits, and whoever asks later, gets the same failure."""
    await server.start()
    waiting = update(server)
    assert await is_waiting(waiting)
    await worker.turn(ACCEPT, DONE)
    failure = (await waiting).failure
    assert failure is not None
    assert ApplicationFailure(type="AcceptedUpdateCompletedWorkflow", non_retryable=True) == failure.info
    assert failure == (await update(server)).failure
    assert failure == (await outcome(server)).failure


async def test_an_update_that_was_only_admitted_ends_with_an_error(server: OneServer, worker: Worker) -> None:
    """The workflow closed without it: the caller knows that nothing was done."""
    await server.start()
    task = await worker.workflow_task()
    waiting = update(server)
    assert await is_waiting(waiting)
    await worker.answer(task, DONE)
    with pytest.raises(ServiceError) as caught:
        await waiting
    assert Code.WORKFLOW_CLOSED == caught.value.code
    with pytest.raises(ServiceError) as caught:
        await update(server, "other")
    assert Code.WORKFLOW_CLOSED == caught.value.code


async def test_both_stages_can_be_waited_for(server: OneServer, worker: Worker) -> None:
    """Who waits for the acceptance has it before the outcome is there."""
    await server.start()
    await worker.turn()
    accepted, completed = update(server, wait_for_stage="ACCEPTED"), update(server)
    assert await is_waiting(completed)
    await worker.turn(ACCEPT, c.StartTimer(timer_id="1", start_to_fire_timeout=timedelta(seconds=1)))
    assert "ACCEPTED" == (await accepted).stage
    assert not completed.done()
    assert "ACCEPTED" == (await outcome(server, stage="ACCEPTED")).stage
    assert "ACCEPTED" == (await outcome(server)).stage
    server.move(1)
    await worker.turn(COMPLETE)
    assert ("COMPLETED", "COMPLETED") == ((await completed).stage, (await outcome(server)).stage)


async def test_a_rejection_is_not_remembered(server: OneServer, worker: Worker) -> None:
    """The same id is judged again, and the log has nothing of the first time."""
    await server.start()
    await worker.turn()
    before = await server.event_types()
    waiting = update(server)
    await worker.turn(c.RejectUpdate(update_id="u", failure=FAILURE))
    assert FAILURE == (await waiting).failure
    assert before == await server.event_types()
    with pytest.raises(ServiceError) as caught:
        await outcome(server)
    assert Code.UPDATE_NOT_FOUND == caught.value.code
    waiting = update(server)
    await worker.turn(ACCEPT, COMPLETE)
    assert (await waiting).failure is None


async def test_so_many_updates_are_in_flight_at_most(server: OneServer, worker: Worker) -> None:
    """One more is refused, a repeat is not; there is room again when one has completed."""
    await server.start()
    await worker.turn()
    limit = ServerSettings().limits.updates_in_flight_max
    waiting = [update(server, str(number)) for number in range(limit)]
    assert await is_waiting(waiting[-1])
    with pytest.raises(ServiceError) as caught:
        await update(server)
    assert Code.RESOURCE_EXHAUSTED == caught.value.code
    again = update(server, "0")
    assert await is_waiting(again)
    assert limit == (await server.describe()).updates_in_flight
    task = await worker.workflow_task()
    assert limit == len(task.updates)
    await worker.answer(task, c.AcceptUpdate(update_id="0"), c.CompleteUpdate(update_id="0"))
    assert "COMPLETED" == (await waiting[0]).stage == (await again).stage
    more = update(server)
    assert await is_waiting(more)
    for one in (*waiting, more):
        one.cancel()


async def test_an_update_goes_to_another_worker_when_its_own_gives_it_back(server: OneServer, worker: Worker) -> None:
    """A worker that stops in the middle leaves nothing behind, in the log or in memory."""
    await server.start()
    await worker.turn()
    waiting = update(server)
    task = await worker.workflow_task()
    assert ["u"] == [one.update_id for one in task.updates]
    await worker.respond(tasks.TaskReturned(token=task.token))
    other = Worker(server, "worker-2")
    again = await other.workflow_task()
    assert ["u"] == [one.update_id for one in again.updates]
    await other.answer(again, ACCEPT, COMPLETE)
    assert Code.TASK_NOT_FOUND == (await worker.answer(task, ACCEPT, COMPLETE)).code
    assert "COMPLETED" == (await waiting).stage


async def test_an_update_that_its_owner_forgot_is_admitted_again(cluster: Cluster, server: OneServer) -> None:
    """It lived in memory; who sent it repeats it with its id, and it runs once."""
    worker = Worker(server)
    await server.start()
    await worker.turn()
    waiting = update(server)
    task = await worker.workflow_task()
    following = await cluster.restart(server)
    with pytest.raises(ServiceError) as caught:
        await waiting
    assert Code.UNAVAILABLE == caught.value.code
    again = update(following)
    worker = Worker(following, held=[task.token])
    await worker.turn(ACCEPT, COMPLETE)
    assert "COMPLETED" == (await again).stage
    assert 1 == (await following.event_types()).count("WorkflowExecutionUpdateAccepted")


async def test_an_accepted_update_is_awaited_anew_after_a_restart(cluster: Cluster, server: OneServer) -> None:
    """It is in the log: the new owner knows it, and its outcome is told to who asks again."""
    worker = Worker(server)
    await server.start()
    waiting = update(server, wait_for_stage="ACCEPTED")
    await worker.turn(ACCEPT, c.StartTimer(timer_id="1", start_to_fire_timeout=timedelta(seconds=1)))
    assert "ACCEPTED" == (await waiting).stage
    following = await cluster.restart(server)
    again = update(following)
    assert await is_waiting(again)
    following.move(1)
    await Worker(following).turn(COMPLETE)
    assert "COMPLETED" == (await again).stage


# Update-with-start.

Both = asyncio.Future[svc.UpdateWithStartAnswer]


def both(server: OneServer, request_id: str = "r", update_id: str = "u", wait: float = 20, **options: Any) -> Both:
    request = svc.UpdateWithStartRequest(
        start=svc.StartWorkflowRequest(workflow_type="Order", request_id=request_id, **options),
        update=svc.UpdateWorkflowRequest(update_id=update_id, wait=timedelta(seconds=wait)),
    )
    return asyncio.ensure_future(server.api.update_with_start(NAMESPACE, "order", "set", request))


async def code_of(answer: Both) -> Code:
    with pytest.raises(ServiceError) as caught:
        await answer
    return caught.value.code


@pytest.mark.parametrize("policy", ["fail", "use_existing", "terminate_existing"])
async def test_what_is_not_there_is_started_and_updated(server: OneServer, worker: Worker, policy: str) -> None:
    """The first workflow task brings the update; a repeat gets the same run and outcome."""
    waiting = both(server, id_conflict_policy=policy)
    task = await worker.workflow_task()
    assert ["u"] == [one.update_id for one in task.updates]
    await worker.answer(task, ACCEPT, COMPLETE)
    answer = await waiting
    assert (True, "COMPLETED") == (answer.start.started, answer.update.stage)
    again = await both(server, id_conflict_policy=policy)
    assert (answer.start.run_id, False) == (again.start.run_id, again.start.started)
    assert answer.update == again.update
    assert answer.update == (await both(server, request_id="other", id_conflict_policy=policy)).update


async def test_nothing_is_delivered_before_the_start_is_durable(server: OneServer, worker: Worker) -> None:
    """While the commit is out, no worker sees the update, and its caller waits."""
    server.store.gate.clear()
    waiting = both(server)
    polling = asyncio.ensure_future(worker.workflow_task())
    assert await is_waiting(polling)
    assert not waiting.done()
    server.store.gate.set()
    await worker.answer(await polling, ACCEPT, COMPLETE)
    assert "COMPLETED" == (await waiting).update.stage


async def test_an_update_may_be_the_end_of_the_workflow_that_it_started(server: OneServer, worker: Worker) -> None:
    """A workflow that returns in its first task still answers."""
    waiting = both(server)
    await worker.turn(ACCEPT, COMPLETE, DONE)
    assert "COMPLETED" == (await waiting).update.stage


async def test_what_runs_is_used_when_the_policy_says_so(server: OneServer, worker: Worker) -> None:
    """Only the update is sent."""
    first = await server.start()
    await worker.turn()
    waiting = both(server, id_conflict_policy="use_existing")
    await worker.turn(ACCEPT, COMPLETE)
    assert (first.run_id, False) == ((await waiting).start.run_id, (await waiting).start.started)


async def test_what_runs_refuses_by_default(server: OneServer, worker: Worker) -> None:
    """Neither is done; an update that it has already is answered all the same."""
    await server.start()
    await worker.turn()
    assert Code.WORKFLOW_ALREADY_STARTED == await code_of(both(server))
    assert 0 == (await server.describe()).updates_in_flight
    waiting = update(server)
    await worker.turn(ACCEPT, COMPLETE)
    assert (await waiting) == (await both(server)).update


async def test_what_runs_can_be_replaced(server: OneServer, worker: Worker) -> None:
    """It is terminated, and the update goes to the new run; a repeat terminates nothing."""
    first = await server.start()
    await worker.turn()
    waiting = both(server, id_conflict_policy="terminate_existing")
    task = await worker.workflow_task()
    again = both(server, id_conflict_policy="terminate_existing")
    await worker.answer(task, ACCEPT, COMPLETE)
    assert (task.run_id, True) == ((await waiting).start.run_id, (await waiting).start.started)
    assert (await waiting).update == (await again).update
    assert "WorkflowExecutionTerminated" == (await server.event_types(run_id=first.run_id))[-1]


@pytest.mark.parametrize(("policy", "is_allowed"), [("allow_duplicate", True), ("reject_duplicate", False)])
async def test_what_is_closed_is_started_again_where_that_is_allowed(
    server: OneServer, worker: Worker, policy: str, is_allowed: bool
) -> None:
    """An update that the closed workflow has is answered by it, whatever the policy says."""
    waiting = both(server)
    await worker.turn(ACCEPT, COMPLETE, DONE)
    done = await waiting
    assert done.update == (await both(server, request_id="other", id_reuse_policy=policy)).update
    waiting = both(server, request_id="other", update_id="v", id_reuse_policy=policy)
    if is_allowed:
        await worker.turn(c.AcceptUpdate(update_id="v"), c.CompleteUpdate(update_id="v"))
        assert (await waiting).start.started
        assert done.update == (await both(server)).update
    else:
        assert Code.WORKFLOW_ALREADY_STARTED == await code_of(waiting)


async def test_an_update_that_met_a_closing_workflow_starts_another(server: OneServer, worker: Worker) -> None:
    """It was admitted by the one that ran, which closed without it."""
    first = await server.start()
    task = await worker.workflow_task()
    waiting = both(server, id_conflict_policy="use_existing")
    assert await is_waiting(waiting)
    await worker.answer(task, DONE)
    await worker.turn(ACCEPT, COMPLETE)
    answer = await waiting
    assert answer.start.started
    assert first.run_id != answer.start.run_id == answer.update.run_id


async def test_an_update_that_its_own_workflow_did_not_take_is_refused(server: OneServer, worker: Worker) -> None:
    """The start was done once and is not done again."""
    waiting = both(server)
    await worker.turn(DONE)
    assert Code.WORKFLOW_CLOSED == await code_of(waiting)
    assert Code.WORKFLOW_CLOSED == await code_of(both(server))


async def test_the_update_of_a_start_goes_along_the_chain(server: OneServer, worker: Worker) -> None:
    """A repeat finds it though the workflow has continued as new, and another has its id since."""
    waiting = both(server)
    task = await worker.workflow_task()
    await worker.answer(task, c.ContinueAsNewWorkflowExecution())
    assert await is_waiting(waiting)
    again = both(server)
    await worker.turn(ACCEPT, COMPLETE, DONE)
    answer = await waiting
    assert answer.start.run_id != answer.update.run_id
    assert answer.update == (await again).update
    await server.start()
    assert answer.update == (await both(server)).update


async def test_a_repeat_after_a_restart_admits_the_update_again(cluster: Cluster, server: OneServer) -> None:
    """The start was durable; the update was not."""
    waiting = both(server)
    await server.store.until(lambda batch: batch.starts)
    following = await cluster.restart(server)
    with pytest.raises(ServiceError):
        await waiting
    again = both(following)
    while not (await following.describe()).updates_in_flight:
        assert not again.done()
    await Worker(following).turn(ACCEPT, COMPLETE)
    assert (False, "COMPLETED") == ((await again).start.started, (await again).update.stage)
    assert 1 == len(await cluster.rows("select 1 from executions"))


async def test_a_start_that_loses_sends_the_update_to_the_winner(server: OneServer, worker: Worker) -> None:
    """Memory did not know of it; the update that waited in the lost run goes to the one that is there."""
    first = await server.start()
    await worker.turn()
    await server.settle()
    server.engine.residents.remove(server.run())
    answers = [both(server, request_id=str(n), id_conflict_policy="use_existing") for n in range(2)]
    await worker.turn(ACCEPT, COMPLETE)
    assert {first.run_id} == {(await answer).start.run_id for answer in answers}


async def test_who_gives_up_leaves_no_wait_behind(server: OneServer) -> None:
    """Neither when the time is over nor when the connection closes."""
    answer = await both(server, wait=0)
    assert (True, "ADMITTED") == (answer.start.started, answer.update.stage)
    waiting = both(server)
    assert await is_waiting(waiting)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert {} == server.run().update_waiters


@pytest.mark.parametrize(
    "wrong",
    [
        {"update": svc.UpdateWorkflowRequest(update_id="u", run_id="00000000-0000-7000-8000-000000000000")},
        {"update": svc.UpdateWorkflowRequest(update_id="u", input=msgspec.Raw(b"3"))},
        {"start": svc.StartWorkflowRequest(workflow_type="")},
    ],
)
async def test_nothing_is_started_for_a_request_that_is_wrong(server: OneServer, wrong: dict[str, Any]) -> None:
    """Both halves are looked at first."""
    right = {
        "start": svc.StartWorkflowRequest(workflow_type="Order"),
        "update": svc.UpdateWorkflowRequest(update_id="u"),
    }
    with pytest.raises(ServiceError) as caught:
        await server.api.update_with_start(NAMESPACE, "order", "set", svc.UpdateWithStartRequest(**{**right, **wrong}))
    assert Code.INVALID_ARGUMENT == caught.value.code
    assert (NAMESPACE, "order") not in server.engine.residents.current
