"""SIGTERM of a worker in the middle of activities, and of a server under load; a worker that stands still."""

from __future__ import annotations

import signal

import pytest

from perdure import Client
from tests.integration.audit import audit
from tests.integration.faults.load import Load
from tests.integration.faults.sharing import until_shared
from tests.processes import Machine
from tests.programs.mixed import mixed
from tests.programs.slow import BEGUN, slow

pytestmark = pytest.mark.timeout(90)

GRACE = "--graceful-shutdown-timeout"


async def test_a_worker_that_stops_lets_activities_end(box: Machine, database_url: str) -> None:
    """Within the grace period the attempt ends, and its result is recorded."""
    server = box.server("server-1", database_url)
    await server.restart()
    worker = box.worker("worker", "slow.py", server.address, GRACE, "10s")
    await worker.start()
    async with await Client.connect(server.address) as client:
        handle = await client.start_workflow(slow, 1.0)
        await worker.until_said(BEGUN)
        assert 0 == await worker.terminate()
        assert "ActivityTaskCompleted" in [event.event_type for event in (await handle.fetch_history()).events]
        await worker.start()
        assert 1 == await handle.result()


async def test_a_worker_that_must_stop_hands_activities_back(box: Machine, database_url: str) -> None:
    """After the grace period another worker gets the activity at once."""
    server = box.server("server-1", database_url)
    await server.restart()
    first = box.worker("first", "slow.py", server.address, GRACE, "100ms")
    second = box.worker("second", "slow.py", server.address)
    await first.start()
    async with await Client.connect(server.address) as client:
        handle = await client.start_workflow(slow, 2.0)
        await first.until_said(BEGUN)
        await second.start()
        assert 0 == await first.terminate()
        await second.until_said(BEGUN)
        assert 1 == await handle.result()
    await audit(database_url, [slow])


async def test_work_of_a_worker_that_stands_still_goes_to_another(box: Machine, database_url: str) -> None:
    """A stopped process is as good as a dead one, and harmless when it wakes."""
    server = box.server("server-1", database_url, PERDURE_ENGINE_WORKER_LOST_AFTER="2s")
    await server.restart()
    workers = [box.worker(name, "mixed.py", server.address) for name in ("first", "second")]
    for worker in workers:
        await worker.start()
        await worker.until_said("worker_started")
    async with await Client.connect(server.address) as client, Load(client) as load:
        await load.acknowledged.more(10)
        workers[0].send(signal.SIGSTOP)
        await load.acknowledged.more(30)
        workers[0].send(signal.SIGCONT)
        await load.acknowledged.more(10)
        await load.finish()
    await audit(database_url, [mixed])


async def test_no_call_fails_when_a_server_is_replaced_under_load(box: Machine, database_url: str) -> None:
    """SIGTERM, and another server in its place: callers notice nothing but a pause."""
    server = box.server("server-1", database_url)
    await server.restart()
    worker = box.worker("worker", "mixed.py", server.address)
    await worker.start()
    async with await Client.connect(server.address) as client, Load(client) as load:
        for _ in range(2):
            await load.acknowledged.more(15)
            assert 0 == await server.terminate()
            await server.restart()
        await load.acknowledged.more(15)
        await load.finish()
    await audit(database_url, [mixed])


async def test_a_server_that_stands_still_is_replaced(box: Machine, database_url: str) -> None:
    """Another takes its shards, and when it wakes it finds itself fenced off and joins anew."""
    first, second = box.server("server-1", database_url), box.server("server-2", database_url)
    await first.restart()
    async with await Client.connect(first.address) as client:
        handle = await client.start_workflow(slow, 0.0)
    first.send(signal.SIGSTOP)
    await first.until_stopped()
    await second.restart()
    worker = box.worker("worker", "slow.py", second.address)
    await until_shared([second])
    heard = len(first.said)
    first.send(signal.SIGCONT)
    await first.until_said("server_state", after=heard, state="waiting for ownership")
    await worker.start()
    async with await Client.connect(second.address) as client:
        assert 1 == await client.get_workflow_handle(handle.id).result()
    await audit(database_url, [slow])
