"""Several servers on one Postgres under a running mix: they join and leave, die, stand still and are cut off."""

from __future__ import annotations

import asyncio
import signal

import aiohttp
import pytest

from perdure import Client
from tests.integration.audit import audit
from tests.integration.faults.load import Load
from tests.integration.faults.sharing import cluster_of, until_shared
from tests.processes import Machine, Process, ServerProcess
from tests.programs.mixed import Progress, mixed

pytestmark = pytest.mark.timeout(120)


async def three_servers(box: Machine) -> tuple[str, list[ServerProcess]]:
    """A cluster that has settled, and its database."""
    dsn = await box.start_postgres()
    # Who leaves must not wait for the end of this.
    servers = [box.server(f"server-{n}", dsn, PERDURE_DRAIN="60s") for n in (1, 2, 3)]
    await asyncio.gather(*(server.restart() for server in servers))
    await until_shared(servers)
    return dsn, servers


async def workers_of(box: Machine, server: ServerProcess, count: int = 2) -> list[Process]:
    """Workers that are told of one server."""
    workers = [box.worker(f"worker-{n}", "mixed.py", server.address) for n in range(1, count + 1)]
    for worker in workers:
        await worker.start()
    return workers


async def test_servers_share_the_work(box: Machine) -> None:
    """Workflows of every server go on, wherever their callers and workers have connected."""
    dsn, servers = await three_servers(box)
    await workers_of(box, servers[0])
    async with await Client.connect(servers[1].address) as client, Load(client, callers=12) as load:
        await load.acknowledged.more(30)
        await load.finish()
    assert len(load.callers) <= await audit(dsn, [mixed])


async def test_a_request_to_any_server_is_answered(box: Machine) -> None:
    """A caller that knows nothing of shards asks whom it likes."""
    _, servers = await three_servers(box)
    await workers_of(box, servers[0], 1)
    client = await Client.connect(servers[0].address)
    handles = [await client.start_workflow(mixed, 1, Progress(), id=f"any-{n}", task_queue="default") for n in range(9)]
    async with aiohttp.ClientSession() as session:
        for server in servers:
            for handle in handles:
                url = f"{server.address}/api/v1/namespaces/default/workflows/{handle.id}"
                async with session.get(url) as answer:
                    assert 200 == answer.status
                    assert handle.id == (await answer.json())["execution"]["workflow_id"]
    await client.close()


async def test_a_server_joins_and_one_leaves_under_load(box: Machine) -> None:
    """Shards change hands without an error at any caller."""
    dsn, servers = await three_servers(box)
    await workers_of(box, servers[0])
    async with await Client.connect(servers[1].address) as client, Load(client) as load:
        await load.acknowledged.more(10)
        assert 0 == await servers[2].terminate()
        await until_shared(servers[:2])
        await load.acknowledged.more(10)
        await servers[2].restart()
        await until_shared(servers)
        await load.acknowledged.more(10)
        await load.finish()
    assert len(load.callers) <= await audit(dsn, [mixed])


async def test_all_servers_are_restarted_one_after_the_other(box: Machine) -> None:
    """A deploy: every server is replaced under load, and no caller sees an error."""
    dsn, servers = await three_servers(box)
    await workers_of(box, servers[0])
    async with await Client.connect(servers[0].address) as client, Load(client) as load:
        for server in servers:
            await load.acknowledged.more(8)
            assert 0 == await server.terminate()
            await server.restart()
            await until_shared(servers)
        await load.acknowledged.more(8)
        await load.finish()
    assert len(load.callers) <= await audit(dsn, [mixed])


async def test_the_shards_of_a_dead_server_are_taken_over(box: Machine) -> None:
    """After a kill -9 the others own everything within the lease, and nothing acknowledged is lost."""
    dsn, servers = await three_servers(box)
    await workers_of(box, servers[0])
    async with await Client.connect(servers[0].address) as client, Load(client) as load:
        for victim in (servers[1], servers[2]):
            await load.acknowledged.more(8)
            await victim.kill()
            await load.acknowledged.more(8)
            await victim.restart()
        await until_shared(servers)
        await load.finish()
    assert len(load.callers) <= await audit(dsn, [mixed])


async def test_a_server_that_stood_still_writes_nothing(box: Machine) -> None:
    """Stopped for longer than its lease, then woken: it finds its fence raised, and joins anew."""
    dsn, servers = await three_servers(box)
    await workers_of(box, servers[0])
    async with await Client.connect(servers[0].address) as client, Load(client) as load:
        await load.acknowledged.more(8)
        servers[1].send(signal.SIGSTOP)
        await servers[1].until_stopped()
        await until_shared([servers[0], servers[2]])
        await load.acknowledged.more(8)
        heard = len(servers[1].said)
        servers[1].send(signal.SIGCONT)
        await servers[1].until_said("server_state", after=heard, state="waiting for ownership")
        await until_shared(servers)
        await load.acknowledged.more(8)
        await load.finish()
    assert len(load.callers) <= await audit(dsn, [mixed])


async def test_servers_come_back_after_postgres(box: Machine) -> None:
    """An outage of Postgres kills nobody: the same servers own the same shards after it."""
    dsn, servers = await three_servers(box)
    await workers_of(box, servers[0])
    before = await cluster_of(servers[0])
    async with await Client.connect(servers[0].address) as client, Load(client) as load:
        await load.acknowledged.more(8)
        await box.postgres.kill()
        await box.postgres.start()
        await load.acknowledged.more(8)
        await load.finish()
    assert before.owners == (await cluster_of(servers[0])).owners
    assert len(load.callers) <= await audit(dsn, [mixed])
