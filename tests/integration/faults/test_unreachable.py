"""A worker that reaches one address of the cluster only: what is for the other servers is passed on to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from perdure import Client
from perdure_proto.ids import shard_of
from tests.faults.network import Link
from tests.integration.audit import audit
from tests.integration.faults.load import Load
from tests.integration.faults.sharing import cluster_of, until_shared
from tests.integration.faults.wires import cut_off, shut, wire_to
from tests.processes import PROGRAMS, Machine, Process, ServerProcess
from tests.programs.mixed import mixed
from tests.programs.naps import nap

pytestmark = pytest.mark.timeout(120)

NAPS = 30


async def three_servers(box: Machine) -> tuple[str, list[ServerProcess]]:
    """A cluster that has settled, and its database."""
    dsn = await box.start_postgres()
    servers = [box.server(f"server-{n}", dsn, PERDURE_DRAIN="60s") for n in (1, 2, 3)]
    await asyncio.gather(*(server.restart() for server in servers))
    await until_shared(servers)
    return dsn, servers


async def rewired(box: Machine, program: str, address: str, ways: Mapping[ServerProcess, int]) -> Process:
    """A worker that reaches these servers' ports by another way, or by none."""
    worker = box.worker(f"worker-{program}-{len(box.processes)}", program, address)
    laid = ",".join(f"{server.port}:{to}" for server, to in ways.items())
    worker.program = (str(PROGRAMS / "rewired.py"), laid)
    await worker.start()
    return worker


async def owner_of(server: ServerProcess, workflow_id: str) -> str:
    """Which server owns a workflow."""
    cluster = await cluster_of(server)
    return cluster.members[cluster.owners[shard_of("default", workflow_id, cluster.shards)]].server


async def nap_all(client: Client, prefix: str) -> None:
    """Workflows of all servers run to their end."""
    runs = [client.execute_workflow(nap, 0.1, id=f"{prefix}-{n}", task_queue="default") for n in range(NAPS)]
    async with asyncio.timeout(60):
        await asyncio.gather(*runs)


async def test_a_worker_behind_one_address_serves_all_servers(box: Machine) -> None:
    """It knows a wire to one of three servers, and reaches no address that they advertise."""
    _, servers = await three_servers(box)
    async with wire_to(servers[0].port) as wire, await Client.connect(servers[0].address) as client:
        await rewired(box, "naps.py", f"http://127.0.0.1:{wire.port}", dict.fromkeys(servers, 0))
        await nap_all(client, "nap")
        owners = {await owner_of(servers[0], f"nap-{n}") for n in range(NAPS)}
        assert {"server-1", "server-2", "server-3"} == owners


async def test_all_servers_are_restarted_behind_one_address(box: Machine) -> None:
    """The mix loses nothing while servers that the worker cannot reach come and go, and so does the one that it can."""
    dsn, servers = await three_servers(box)
    async with wire_to(servers[0].port) as wire:
        for program in ("mixed.py", "mixed.py"):
            await rewired(box, program, f"http://127.0.0.1:{wire.port}", dict.fromkeys(servers, 0))
        async with await Client.connect(servers[1].address) as client, Load(client) as load:
            for server in servers:
                await load.acknowledged.more(8)
                assert 0 == await server.terminate()
                await server.restart()
                await until_shared(servers)
            await servers[2].kill()
            await load.acknowledged.more(8)
            await load.finish()
        assert len(load.callers) <= await audit(dsn, [mixed])


@pytest.mark.parametrize("breaks", [cut_off, shut])
async def test_a_worker_cut_off_from_one_server_goes_around(box: Machine, breaks: Callable[[Link], None]) -> None:
    """The wire between the worker and one server becomes silent or breaks: its tasks go through another one."""
    dsn, servers = await three_servers(box)
    async with wire_to(servers[2].port) as wire, await Client.connect(servers[1].address) as client:
        await rewired(box, "mixed.py", servers[0].address, {servers[2]: wire.port})
        async with Load(client, callers=12) as load:
            await load.acknowledged.more(20)
            breaks(wire)
            await load.acknowledged.more(12 * 8)
            await load.finish()
            assert {"server-1", "server-2", "server-3"} == {
                await owner_of(servers[0], caller.id) for caller in load.callers
            }
        wire.mend()
        assert len(load.callers) <= await audit(dsn, [mixed])
