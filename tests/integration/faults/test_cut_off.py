"""A server that is cut off from Postgres alone: the others take its shards, and it says so to whoever asks it."""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlencode, urlsplit

import aiohttp
import asyncpg
import pytest

from perdure import Client
from perdure_proto.ids import shard_of
from tests.faults.network import HOST, Link
from tests.integration.audit import audit
from tests.integration.faults.load import Load
from tests.integration.faults.sharing import cluster_of, until_shared
from tests.integration.faults.wires import cut_off, shut
from tests.processes import Machine, ServerProcess
from tests.programs.mixed import Progress, mixed

pytestmark = pytest.mark.timeout(120)

ANSWERED_SECONDS_MAX = 8.0
"""The lease of these servers is 2 s; the rest is for a machine that runs other tests beside."""


@asynccontextmanager
async def wire_to_postgres(dsn: str) -> AsyncIterator[tuple[Link, str]]:
    """A wire to Postgres, and the DSN of its other end."""
    connection = await asyncpg.connect(dsn)
    folder = await connection.fetchval("show unix_socket_directories")
    port = await connection.fetchval("show port")
    await connection.close()
    link = Link("to Postgres", random.Random(1))
    await link.listen(functools.partial(asyncio.open_unix_connection, f"{folder}/.s.PGSQL.{port}"))
    words = urlsplit(dsn)
    query = {**dict(parse_qsl(words.query)), "host": HOST, "port": str(link.port)}
    account = words.netloc.rpartition("@")[0]
    try:
        yield link, words._replace(netloc=f"{account}@", query=urlencode(query)).geturl()
    finally:
        await link.close()


async def owned_by(server: ServerProcess) -> str:
    """The id of a workflow that is a server's."""
    cluster = await cluster_of(server)
    names = [cluster.members[owner].server for owner in cluster.owners]
    return next(
        f"own-{n}" for n in range(10_000) if names[shard_of("default", f"own-{n}", cluster.shards)] == server.name
    )


async def request(session: aiohttp.ClientSession, server: ServerProcess, target: str) -> tuple[int, str]:
    """What a plain caller of the server gets, as soon as it gets it: a status and a code."""
    async with session.get(f"{server.address}/api/v1/namespaces/default/workflows/{target}") as answer:
        return answer.status, (await answer.json()).get("code", "")


@pytest.mark.parametrize("breaks", [cut_off, shut])
async def test_others_take_over_from_a_server_without_postgres(box: Machine, breaks: Callable[[Link], None]) -> None:
    """Clients and workers go on, the cut-off one tells its callers to ask others, and it comes back with the wire."""
    dsn = await box.start_postgres()
    async with wire_to_postgres(dsn) as (wire, by_wire):
        servers = [box.server(f"server-{n}", by_wire if n == 3 else dsn, PERDURE_DRAIN="60s") for n in (1, 2, 3)]
        await asyncio.gather(*(server.restart() for server in servers))
        await until_shared(servers)
        for n in (1, 2):
            await box.worker(f"worker-{n}", "mixed.py", servers[n].address).start()
        # A client of the server that is cut off, and one of another.
        async with (
            await Client.connect(servers[2].address) as theirs,
            await Client.connect(servers[0].address) as client,
            Load(theirs) as load,
            Load(client) as other,
            aiohttp.ClientSession() as session,
        ):
            await asyncio.gather(load.acknowledged.more(10), other.acknowledged.more(10))
            waited_for = await owned_by(servers[2])
            await client.start_workflow(mixed, 1, Progress(), id=waited_for, task_queue="nobody")
            waiting = asyncio.create_task(request(session, servers[2], f"{waited_for}/result?wait=PT60S"))
            heard, began_at = len(servers[2].said), time.monotonic()
            breaks(wire)
            asked = asyncio.create_task(request(session, servers[2], waited_for))
            assert {(503, "UNAVAILABLE")} == set(await asyncio.gather(waiting, asked))
            assert time.monotonic() - began_at < ANSWERED_SECONDS_MAX
            await until_shared(servers[:2])
            assert (200, "") == await request(session, servers[0], waited_for)
            assert time.monotonic() - began_at < ANSWERED_SECONDS_MAX
            await asyncio.gather(load.acknowledged.more(20), other.acknowledged.more(20))
            wire.mend()
            await servers[2].until_said("server_state", after=heard, state="waiting for ownership")
            await until_shared(servers)
            await asyncio.gather(load.acknowledged.more(10), other.acknowledged.more(10))
            await asyncio.gather(load.finish(), other.finish())
        assert len(load.callers) + len(other.callers) <= await audit(dsn, [mixed])
