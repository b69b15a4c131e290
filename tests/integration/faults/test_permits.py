"""Concurrency limits over several servers, some of which die, and workers that are killed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest

from perdure import Client
from perdure.client import WorkflowHandle
from perdure_proto.ids import shard_of
from perdure_server.cluster.rendezvous import assignment, owner_of
from tests.integration.faults.sharing import cluster_of, until_shared
from tests.limited import at_once, end_of, make_table, noted
from tests.processes import Machine, Process, ServerProcess
from tests.programs.limited import KEY, MOST, prints, types

pytestmark = pytest.mark.timeout(180)
COUNT = 30


class Site:
    """Three servers and two workers under a limit."""

    def __init__(self, dsn: str, servers: Sequence[ServerProcess], workers: Sequence[Process], client: Client) -> None:
        self.dsn = dsn
        self.servers = servers
        self.workers = workers
        self.client = client

    @property
    def home(self) -> ServerProcess:
        """The server that gives the permits of the key."""
        names = [server.name for server in self.servers]
        name = owner_of(zlib.crc32(f"1/activity/{KEY}".encode()), names)
        return next(server for server in self.servers if server.name == name)

    async def of(self, server: ServerProcess) -> str:
        """A workflow id of a shard of this server."""
        shards = (await cluster_of(server)).shards
        owners = assignment(shards, sorted(each.name for each in self.servers))
        return next(
            f"prints-{n}" for n in range(1000) if owners[shard_of("default", f"prints-{n}", shards)] == server.name
        )

    async def begin(self, id: str) -> WorkflowHandle[list[str]]:
        """A workflow with thirty activities under the key."""
        return await self.client.start_workflow(prints, NAMES, id=id, task_queue="default")

    async def until_noted(self, count: int) -> None:
        """Waits until so many attempts have begun."""
        while len(await noted(self.dsn, KEY)) < count:
            pass

    async def check(self, results: Sequence[list[str]]) -> list[asyncpg.Record]:
        """All have run, never more than the maximum at once."""
        assert [NAMES] * len(results) == list(results)
        rows = await noted(self.dsn, KEY)
        assert set(NAMES) == {row["name"] for row in rows}
        assert at_once(rows) <= MOST
        return rows


def pid_of(worker: Process) -> int:
    """The process that runs a worker's activities, as it says itself."""
    said = next(told for told in worker.said if told["event"] == "worker_started")
    return int(said["identity"].partition("@")[0])


NAMES = [f"{number:02}" for number in range(COUNT)]


@asynccontextmanager
async def site_of(box: Machine) -> AsyncIterator[Site]:
    dsn = await box.start_postgres()
    await make_table(dsn)
    servers = [box.server(f"server-{n}", dsn) for n in (1, 2, 3)]
    await asyncio.gather(*(server.restart() for server in servers))
    await until_shared(servers)
    workers = [box.worker(f"worker-{n}", "limited.py", servers[0].address, LIMITED_DATABASE_URL=dsn) for n in (1, 2)]
    for worker in workers:
        await worker.start()
    async with await Client.connect(servers[0].address) as client:
        yield Site(dsn, servers, workers, client)


async def test_a_limit_holds_across_servers(box: Machine) -> None:
    """Workflows of all three servers share three permits, and their activities begin in order."""
    async with site_of(box) as site:
        handles = [await site.begin(await site.of(server)) for server in site.servers]
        rows = await site.check(await asyncio.gather(*[handle.result() for handle in handles]))
        assert 3 * COUNT == len(rows)
        assert MOST == at_once(rows)


async def test_a_limit_by_type_holds_across_servers(box: Machine) -> None:
    """Without a key the type is the key."""
    async with site_of(box) as site:
        handles = [
            await site.client.start_workflow(types, NAMES[:10], id=f"types-{n}", task_queue="default") for n in range(6)
        ]
        await asyncio.gather(*[handle.result() for handle in handles])
        rows = await noted(site.dsn, "by_type")
        assert (60, MOST) == (len(rows), at_once(rows))


async def test_a_limit_outlives_its_home(box: Machine) -> None:
    """Kill -9 of the server that gives the permits: the next one finds what is held, and goes on from there."""
    async with site_of(box) as site:
        others = [server for server in site.servers if server is not site.home]
        handles = [await site.begin(await site.of(server)) for server in others]
        await site.until_noted(8)
        await site.home.kill()
        results = await asyncio.gather(*[handle.result() for handle in handles])
        assert 2 * COUNT <= len(await site.check(results))


async def test_a_limit_outlives_the_owner(box: Machine) -> None:
    """Kill -9 of the server that owns the workflow: what its workers still run is counted."""
    async with site_of(box) as site:
        owner = next(server for server in site.servers if server is not site.home)
        handle = await site.begin(await site.of(owner))
        await site.until_noted(8)
        await owner.kill()
        await site.check([await handle.result()])


async def test_permits_of_a_killed_worker_come_back(box: Machine) -> None:
    """Kill -9 of a worker: its attempts hold their permits until they are lost, then others have them."""
    async with site_of(box) as site:
        handle = await site.begin(await site.of(site.servers[0]))
        await site.until_noted(8)
        await site.workers[1].kill()
        await end_of(site.dsn, pid_of(site.workers[1]))
        await site.check([await handle.result()])
