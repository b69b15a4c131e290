"""Many who wait, and some who do not behave: the others do not notice."""

from __future__ import annotations

import aiohttp
import pytest

from perdure import Client
from perdure_proto.channel import encode_request, frame
from perdure_worker import Worker
from tests.integration.overload.crowd import (
    closing,
    connected,
    connections,
    cpu_seconds,
    raw_client,
    rss_mib,
    start,
    until_open,
)
from tests.integration.overload.pollers import WORKFLOW_TYPE, Crowd
from tests.processes import Machine, ServerProcess
from tests.programs.slow import quick

pytestmark = pytest.mark.timeout(90)

MIB = 2**20
LARGE = 900_000
IDLE = 300
SLOW = 300
IDLE_KIB_MAX = 64
POLLERS = 1_000
TASKS = 100
DEAF_REQUESTS = 30
HISTORY = "/api/v1/namespaces/default/workflows/large/history"


async def served(box: Machine, **environment: str) -> tuple[str, ServerProcess]:
    """A server that is ready, and its database."""
    dsn = await box.start_postgres()
    server = box.server("server-1", dsn, **environment)
    await server.restart()
    return dsn, server


async def works(client: Client, number: int) -> None:
    """A workflow is started and runs to its end."""
    assert number == await client.execute_workflow(quick, number, id=f"quick-{number}")


async def test_idle_and_slow_connections_cost_little(box: Machine) -> None:
    """Hundreds of connections that say nothing, or half a header, cost some KiB each, and others are served."""
    _, server = await served(box)
    async with await Client.connect(server.address) as client, Worker(client, workflows=[quick]):
        await works(client, 1)
        before = rss_mib(server)
        idle = await connections(server, IDLE)
        slow = await connections(server, SLOW, b"GET /api/v1/version HTTP/1.1\r\nHost: 127.0")
        with closing(idle + slow):
            await until_open(server, IDLE + SLOW)
            await works(client, 2)
            assert (rss_mib(server) - before) * 1024 / (IDLE + SLOW) < IDLE_KIB_MAX


async def test_connections_beyond_the_bound_are_told_so(box: Machine) -> None:
    """One connection too many is answered 503 with Retry-After, and served once there is room."""
    _, server = await served(box, PERDURE_LIMITS_CONNECTIONS_MAX="50")
    idle = await connections(server, 50)
    with closing(idle):
        async with raw_client() as session, session.get(f"{server.address}/healthz") as answer:
            told = await answer.json()
        assert (503, "1") == (answer.status, answer.headers["Retry-After"])
        assert "connections_max" == told["details"]["limit"]
        await server.until_said("connections_refused", connections_max=50)
    await until_open(server, 0, 40)
    assert "ready" == (await server.readiness())["state"]


@pytest.mark.parametrize(("limit", "value"), [("unread_for_max", "1s"), ("channel_unsent_bytes_max", str(4 * MIB))])
async def test_a_channel_that_is_never_read_is_cut(box: Machine, limit: str, value: str) -> None:
    """Its answers are bounded in bytes and in the time that they wait; another caller does not notice."""
    _, server = await served(box, **{f"PERDURE_LIMITS_{limit.upper()}": value})
    async with (
        await Client.connect(server.address) as client,
        Worker(client, workflows=[quick]),
        raw_client() as session,
    ):
        assert 200 == (await start(session, server, "large", input=["x" * LARGE])).status
        before = rss_mib(server)
        socket = await session.ws_connect(f"{server.address}/api/v1/channel")
        items = [encode_request(number, "GET", HISTORY, None) for number in range(DEAF_REQUESTS)]
        await socket.send_bytes(frame(items))
        await server.until_said("unread_connection_cut", limit=limit)
        await works(client, 1)
        assert rss_mib(server) < before + 3 * DEAF_REQUESTS
        await _left(socket)


async def _left(socket: aiohttp.ClientWebSocketResponse) -> None:
    """The far end is gone: reading comes to an end."""
    async for _ in socket:
        pass
    assert socket.closed


async def test_a_reader_that_never_reads_is_cut(box: Machine) -> None:
    """Pipelined requests whose answers nobody reads end with the connection; another caller does not notice."""
    _, server = await served(box, PERDURE_LIMITS_UNREAD_FOR_MAX="1s")
    async with (
        await Client.connect(server.address) as client,
        Worker(client, workflows=[quick]),
        raw_client() as session,
    ):
        assert 200 == (await start(session, server, "large", input=["x" * LARGE])).status
        asking = f"GET {HISTORY} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() * DEAF_REQUESTS
        with closing([await connected(server, asking, reads_bytes=4_096)]):
            await works(client, 1)
            await server.until_said("unread_connection_cut", limit="unread_for_max")
            await works(client, 2)


async def test_a_thousand_pollers_get_their_tasks(box: Machine) -> None:
    """Each task goes to one of them, and a task costs the server about what it costs with ten."""
    _, server = await served(box)
    few = await cpu_of_tasks(server, 10, "few")
    many = await cpu_of_tasks(server, POLLERS, "many")
    assert many < 3 * few + 0.5


async def cpu_of_tasks(server: ServerProcess, pollers: int, name: str) -> float:
    """How long the server computes for some tasks while so many polls are parked."""
    ids = {f"{name}-{number}" for number in range(TASKS)}
    what = {"workflow_type": WORKFLOW_TYPE, "task_queue": name, "workflow_task_timeout": "PT120S"}
    async with raw_client() as session, Crowd(session, server, name, pollers) as crowd:
        before = cpu_seconds(server)
        for workflow_id in sorted(ids):
            told = await start(session, server, workflow_id, **what)
            assert 200 == told.status
        assert ids == await crowd.tasks(TASKS)
        return cpu_seconds(server) - before
