"""Gaining and giving away: what was read in another tenure is not believed, what was not recovered is not missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from perdure_proto import commands as c
from perdure_proto import service as svc
from perdure_proto import tasks
from perdure_proto.errors import Code, ServiceError
from perdure_proto.namespaces import CreateNamespaceRequest
from perdure_proto.waitpoints import WaitpointToken, sealed
from perdure_server.engine.namespaces import Namespaces
from perdure_server.store.port import StoreUnavailableError
from tests.engine import NAMESPACE, SHARDS, Cluster, OneServer, Worker, is_waiting
from tests.integration.engine.test_eager import PAY
from tests.integration.engine.test_owed import all_has_run
from tests.integration.engine.test_shards import DONE, LONG, outcome, shard_of, waiting
from tests.integration.engine.test_waitpoints import YES

ALL = range(SHARDS)
TIMER = c.StartTimer(timer_id="t", start_to_fire_timeout=timedelta(seconds=5))
Read = Callable[..., Any]


@pytest_asyncio.fixture
async def taker(cluster: Cluster, server: OneServer) -> OneServer:
    """The server beside `server`: it owns nothing yet."""
    return await cluster.server("server-2", shards=())


class SlowReads:
    """One kind of read of a server that has its rows, and does not bring them before `gate` is open."""

    def __init__(self, server: OneServer, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = asyncio.Event()
        self.done = asyncio.Event()
        self._read: Read = getattr(server.store._store, name)
        monkeypatch.setattr(server.store._store, name, self._slowly)

    async def _slowly(self, *arguments: Any) -> Any:
        found = await self._read(*arguments)
        self.done.set()
        await self.gate.wait()
        return found


# ---- what was read before ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", ["load_run", "current_run"])
async def test_a_load_that_was_under_way_installs_nothing(
    cluster: Cluster, server: OneServer, taker: OneServer, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """The shard was given away while its rows were on their way: who asked is sent on."""
    await server.start()
    await cluster.hand_over(server, taker)
    reads = SlowReads(taker, read, monkeypatch)
    taker.engine.residents.remove(taker.run())
    asking = asyncio.ensure_future(taker.describe())
    await reads.done.wait()
    await cluster.hand_over(taker, server)
    reads.gate.set()
    assert "WRONG_OWNER" == await outcome(asking)
    assert {} == taker.engine.residents.by_run


@pytest.mark.parametrize("read", ["load_run", "current_run"])
async def test_a_load_of_an_earlier_tenure_is_not_believed(
    cluster: Cluster, server: OneServer, taker: OneServer, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """Given away and gained again while its rows were on their way: another server wrote what they do not say."""
    started = await server.start()
    await server.settle()
    server.engine.residents.remove(server.run())
    reads = SlowReads(server, read, monkeypatch)
    asking = asyncio.ensure_future(server.signal())
    await reads.done.wait()
    await cluster.hand_over(server, taker)
    await Worker(taker).turn(c.ContinueAsNewWorkflowExecution(workflow_type="Order"))
    await taker.api.give_up(ALL)
    server.api.gain(ALL)
    again = await waiting(server.api.describe_workflow(NAMESPACE, "order", started.run_id))
    reads.gate.set()
    assert ["UNAVAILABLE", "DescribeWorkflowAnswer"] == [await outcome(asking), await outcome(again)]
    assert "CONTINUED_AS_NEW" == (await again).execution.status
    (current,) = await cluster.rows("select run_id::text from current_executions")
    assert current[0] == (await server.signal()).run_id


async def test_a_page_of_an_earlier_tenure_is_not_believed(
    cluster: Cluster, server: OneServer, taker: OneServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shard came and went while a page of its recovery was on its way: the page installs nothing."""
    await server.start()
    await server.api.give_up(ALL)
    reads = SlowReads(taker, "load_runs", monkeypatch)
    taker.api.gain(ALL)
    recovering = asyncio.ensure_future(taker.upkeep.recover())
    await reads.done.wait()
    await cluster.hand_over(taker, server)
    await Worker(server).turn(TIMER)
    await server.api.give_up(ALL)
    monkeypatch.undo()
    taker.api.gain(ALL)
    reads.gate.set()
    await recovering
    assert ["t"] == list(taker.run().state.timers)
    assert set(ALL) == taker.upkeep._recovered


async def test_a_shard_that_is_given_away_in_its_recovery_is_not_recovered(
    cluster: Cluster, server: OneServer, taker: OneServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes on loads the other shards alone."""
    names = {shard_of(server, f"order-{n}"): f"order-{n}" for n in range(60)}
    for workflow_id in names.values():
        await server.start(workflow_id)
    await server.api.give_up(ALL)
    reads = SlowReads(taker, "owed_runs", monkeypatch)
    taker.api.gain(ALL)
    recovering = asyncio.ensure_future(taker.upkeep.recover())
    await reads.done.wait()
    await taker.api.give_up([0, 1])
    reads.gate.set()
    await recovering
    assert set(ALL) - {0, 1} == taker.upkeep._recovered
    assert {0, 1}.isdisjoint(execution.key.shard_id for execution in taker.engine.residents.by_run.values())
    server.api.gain([0, 1])


async def test_a_shard_gained_twice_is_recovered_once(cluster: Cluster, server: OneServer, taker: OneServer) -> None:
    """What is in memory stays there: it may be ahead of the rows."""
    await server.start()
    run = server.run()
    server.api.gain(ALL)
    assert 0 == await server.upkeep.recover()
    assert run is server.run()


async def test_what_could_not_be_given_is_gained_again(cluster: Cluster, server: OneServer, worker: Worker) -> None:
    """The table did not take it: the runs are read again, and go on."""
    await server.start()
    await worker.turn(TIMER)
    await server.api.give_up(ALL)
    server.api.gain(ALL)
    await server.upkeep.recover()
    server.move(6)
    assert "TimerFired" in await server.event_types()


# ---- nothing afterwards --------------------------------------------------------------------------------------------


async def test_nothing_is_staged_about_what_was_given_away(
    cluster: Cluster, server: OneServer, taker: OneServer
) -> None:
    """Whoever still has the run in hand is refused; nothing of it is in the next commit."""
    await server.start()
    run = server.run()
    await cluster.hand_over(server, taker)
    before = len(server.store.batches)
    with pytest.raises(ServiceError) as caught:
        server.engine.transactor.stage(run)
    await server.settle()
    assert Code.WRONG_OWNER == caught.value.code
    assert [] == [batch for batch in server.store.batches[before:] if batch.appends or batch.wakes]


async def test_an_append_that_was_refused_in_the_end_is_not_read_again(
    cluster: Cluster, server: OneServer, taker: OneServer
) -> None:
    """A run that is dropped while its shard leaves is no matter of the giver any more."""
    await server.start()
    await server.settle()
    run = server.run()
    server.store.gate.clear()
    signalling = await waiting(server.signal())
    await cluster.rows("update history set last_event_id = 9 where run_id = $1::text::uuid", run.run_id)
    giving = await waiting(server.api.give_up(ALL))
    server.store.gate.set()
    await giving
    assert "UNAVAILABLE" == (await outcome(signalling)).replace("AppendRefusedError", "UNAVAILABLE")
    assert set() == server.engine.dropped
    await cluster.rows("update history set last_event_id = 2 where run_id = $1::text::uuid", run.run_id)


async def test_a_lost_fence_ends_a_hand_over(cluster: Cluster, server: OneServer) -> None:
    """Then the shards are taken, and need not be given."""
    await server.start()
    run = server.run()
    await server.store.take_fence("server-1")
    server.engine.transactor.stage(run)
    assert "UNAVAILABLE" == await outcome(server.api.give_up(ALL))


async def test_a_giver_that_was_stopped_does_not_give(server: OneServer) -> None:
    """Nobody waits for the last commit any more: it may still land, so nothing says that the shards are drained."""
    server.store.gate.clear()
    starting = await waiting(server.start())
    server._committing.cancel()
    await asyncio.gather(server._committing, return_exceptions=True)
    assert "UNAVAILABLE" == await outcome(starting)
    assert "UNAVAILABLE" == await outcome(server.api.give_up(ALL))


# ---- recovery ------------------------------------------------------------------------------------------------------


async def test_the_due_are_found_in_the_shards_that_are_ours(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """A scan of either server loads its own runs, and fires each timer once."""
    near, far = "parent", "child"  # of different shards
    for workflow_id in (near, far):
        await server.start(workflow_id)
        await worker.turn(TIMER)
    await server.sweep()
    await cluster.hand_over(server, taker, [shard_of(server, far)])
    for each in (server, taker):
        await each.upkeep.scan()
        each.move(6)
        await each.settle()
    assert [near] == [run.workflow_id for run in server.engine.residents.by_run.values()]
    assert [far] == [run.workflow_id for run in taker.engine.residents.by_run.values()]
    assert "TimerFired" in await server.event_types(near)
    assert "TimerFired" in await taker.event_types(far)


async def test_a_scan_that_was_cut_off_is_made_again(
    cluster: Cluster, server: OneServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it would have found is found by the next one."""
    await server.start()
    await worker.turn(c.StartTimer(timer_id="t", start_to_fire_timeout=timedelta(seconds=90)))
    await server.sweep()
    server.engine.residents.remove(server.run())
    server.offset += timedelta(seconds=60)

    async def away(*_: Any) -> None:
        raise StoreUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(server.store._store, "due_runs", away)
        with pytest.raises(StoreUnavailableError):
            await server.upkeep.scan()
    server.offset += timedelta(seconds=10)
    assert 1 == await server.upkeep.scan()


async def test_what_is_due_between_two_scans_is_found_by_a_shard_that_catches_up(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-ahead moved on while a shard was recovered: the recovery goes on up to there."""
    await server.start()
    await worker.turn(c.StartTimer(timer_id="t", start_to_fire_timeout=timedelta(seconds=90)))
    await server.sweep()
    await server.api.give_up(ALL)
    reads = SlowReads(taker, "due_runs", monkeypatch)
    taker.api.gain(ALL)
    recovering = asyncio.ensure_future(taker.upkeep.recover())
    await reads.done.wait()
    taker.move(60)
    await taker.upkeep.scan()
    reads.gate.set()
    await recovering
    assert "order" == taker.run().workflow_id


# ---- workers -------------------------------------------------------------------------------------------------------


async def asked(worker: Worker) -> bool:
    """Whether the server has asked what the worker holds; the polls of before are acknowledged."""
    await worker.poll(wait=0)
    return any(isinstance(push, tasks.ListHeld) for push in worker.pushes)


async def test_after_a_recovery_workers_are_asked_what_they_hold(
    cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker
) -> None:
    """A session that the taker knew before tells it of an attempt: it is not missed, and is lost with the session."""
    await server.start()
    await worker.turn(LONG)
    task = await worker.activity_task()
    same = Worker(taker)
    await same.acknowledge()
    assert not await asked(same)
    await cluster.hand_over(server, taker)
    assert await asked(same)
    same.held = (task.token,)
    await same.acknowledge()
    run = taker.run()
    taker.engine._miss_workers(run, [(5, 1, 0)])
    assert 1 == run.state.activities[5].attempt
    await taker.api.leave(NAMESPACE, "default", tasks.LeaveRequest(session="worker-1"))
    assert 2 == run.state.activities[5].attempt


async def test_a_session_is_asked_once_however_much_is_gained(
    cluster: Cluster, server: OneServer, taker: OneServer
) -> None:
    """One question waits for it at most."""
    same = Worker(taker)
    await same.acknowledge()
    for shard_id in ALL:
        await cluster.hand_over(server, taker, [shard_id])
    assert await asked(same)
    assert 1 == len(same.pushes)


async def test_nobody_is_missed_while_a_shard_is_recovered(
    cluster: Cluster, server: OneServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The while that a worker has begins when it has been asked: what it said before was not heard."""
    taker = await cluster.server("server-2", shards=(), worker_lost_after=timedelta(0))
    await server.start()
    await worker.turn(LONG)
    await worker.activity_task()
    await server.api.give_up(ALL)
    reads = SlowReads(taker, "due_runs", monkeypatch)
    taker.api.gain(ALL)
    recovering = asyncio.ensure_future(taker.upkeep.recover())
    await reads.done.wait()
    assert await is_waiting(recovering)
    assert 1 == taker.run().state.activities[5].attempt
    reads.gate.set()
    await recovering
    while taker.run().state.activities[5].attempt == 1:
        await all_has_run()


async def test_what_was_handed_back_is_not_held(server: OneServer, worker: Worker) -> None:
    """A list that was made before a task was returned names it still: it is due all the same."""
    await server.start()
    await worker.turn(PAY)
    task = await worker.activity_task()
    await worker.respond(tasks.TaskReturned(token=task.token))
    worker.held = (task.token,)
    await worker.acknowledge()
    assert server.run().state.activities[5].started_at is None


async def test_a_list_replaces_the_one_before(server: OneServer, worker: Worker) -> None:
    """Tokens of other servers' runs, which end there, do not fill the session up."""
    await worker.acknowledge()
    for n in range(3):
        worker.held = tuple(f"a.1.run.{n}.{m}.1" for m in range(4))
        await worker.acknowledge()
    session: Any = server.api.matching.session("worker-1")
    assert [f"a.1.run.2.{m}.1" for m in range(4)] == list(session.holding)


# ---- namespaces, retention -----------------------------------------------------------------------------------------


async def test_a_namespace_made_at_another_server_is_found(server: OneServer, taker: OneServer) -> None:
    """By whoever asks for it first; and what is stored of it can be recovered."""
    request = svc.StartWorkflowRequest(workflow_type="Order")
    await server.api.create_namespace("new", CreateNamespaceRequest())
    assert "WRONG_OWNER" == await outcome(taker.api.start_workflow("new", "order", request))
    assert "new" in [each.name for each in (await taker.api.list_namespaces()).namespaces]


async def test_runs_of_a_namespace_made_at_another_server_are_recovered(
    cluster: Cluster, server: OneServer, taker: OneServer
) -> None:
    """The taker has not heard of it when it loads them."""
    await server.api.create_namespace("new", CreateNamespaceRequest())
    started = await server.api.start_workflow("new", "order", svc.StartWorkflowRequest(workflow_type="Order"))
    await cluster.hand_over(server, taker)
    assert started.run_id == taker.engine.residents.current["new", "order"].run_id


async def test_a_waitpoint_of_a_namespace_made_at_another_server_is_known(server: OneServer, taker: OneServer) -> None:
    """Its token names the namespace by a number that the taker has not heard of: it is no forgery."""
    await server.api.create_namespace("new", CreateNamespaceRequest())
    await server.api.start_workflow("new", "order", svc.StartWorkflowRequest(workflow_type="Order"))
    settings = await server.api.waitpoint_settings("new")
    run = server.engine.residents.current["new", "order"]
    token = WaitpointToken(
        namespace_id=settings.namespace_id,
        shard_id=run.key.shard_id,
        run_id=run.run_id,
        number=1,
        expires_at_ms=0,
        name="approval",
    )
    text = sealed(token, bytes.fromhex(settings.key))
    assert "WRONG_OWNER" == await outcome(taker.api.resume_waitpoint(text, YES))


async def test_names_that_nobody_made_cost_few_looks(server: OneServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many that ask for many wrong names wait for one look together, and for the next one if it had begun."""
    looks, read = [], server.store._store.namespaces

    async def count() -> Any:
        looks.append(1)
        return await read()

    monkeypatch.setattr(server.store._store, "namespaces", count)
    monkeypatch.setattr("perdure_server.engine.namespaces._LOOKS_APART_SECONDS", 0.01)
    names: Namespaces = server.engine.residents.namespaces
    wrong = await asyncio.gather(*(outcome(names.get(f"no-{n}")) for n in range(50)))
    assert ({"NAMESPACE_NOT_FOUND"}, 1) == (set(wrong), len(looks))


async def test_retention_is_the_owners(cluster: Cluster, server: OneServer, taker: OneServer, worker: Worker) -> None:
    """Each server removes what is in its shards, and leaves the rest."""
    near, far = "parent", "child"
    for workflow_id in (near, far):
        await server.start(workflow_id)
        await worker.turn(DONE)
    await cluster.rows("update executions set close_time = close_time - interval '9 days'")
    await cluster.hand_over(server, taker, [shard_of(server, far)])
    await taker.upkeep.remove_expired()
    assert [(near,)] == await cluster.rows("select workflow_id from executions")
    await server.upkeep.remove_expired()
    assert [] == await cluster.rows("select workflow_id from executions")
