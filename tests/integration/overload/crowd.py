"""Callers without manners: raw requests in a burst, connections that say nothing, readers that do not read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import asyncpg
import psutil
from msgspec import Struct

from tests.processes import SECONDS_MAX, ServerProcess

MIB = 2**20


class Told(Struct):
    """What one raw request was told."""

    status: int
    retry_after: str | None
    body: dict[str, Any]


def rss_mib(server: ServerProcess) -> float:
    """How much memory the process of a server takes."""
    resident: int = psutil.Process(server.pid).memory_info().rss
    return resident / MIB


def cpu_seconds(server: ServerProcess) -> float:
    """How long the process of a server has computed."""
    times = psutil.Process(server.pid).cpu_times()
    return float(times.user + times.system)


async def until_open(server: ServerProcess, at_least: int, at_most: int = 1_000_000) -> None:
    """Waits until the server has so many connections, those to its database included."""
    shown = psutil.Process(server.pid)
    async with asyncio.timeout(SECONDS_MAX):
        while not at_least <= len(await asyncio.to_thread(shown.net_connections)) <= at_most:
            pass


@asynccontextmanager
async def locked_history(dsn: str) -> AsyncIterator[None]:
    """Nobody reads or writes the log for as long as the block lasts."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("lock table history in access exclusive mode")
            yield
    finally:
        await connection.close()


@asynccontextmanager
async def raw_client(connections: int = 0) -> AsyncIterator[aiohttp.ClientSession]:
    """HTTP without the SDK; any number of connections at 0."""
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


async def post(session: aiohttp.ClientSession, server: ServerProcess, path: str, body: object) -> Told:
    """One POST below the default namespace."""
    url = f"{server.address}/api/v1/namespaces/default/{path}"
    async with session.post(url, json=body) as answer:
        return Told(answer.status, answer.headers.get("Retry-After"), await answer.json())


async def start(session: aiohttp.ClientSession, server: ServerProcess, workflow_id: str, **more: object) -> Told:
    """One start of a workflow that no worker takes."""
    body = {"workflow_type": "nobody", "request_id": workflow_id, "task_queue": "nobody", **more}
    return await post(session, server, f"workflows/{workflow_id}", body)


async def connections(server: ServerProcess, count: int, words: bytes = b"") -> list[socket.socket]:
    """Connections that say no more than this."""
    return [await connected(server, words) for _ in range(count)]


async def connected(server: ServerProcess, words: bytes = b"", *, reads_bytes: int | None = None) -> socket.socket:
    """One connection, which takes so much of what is sent to it while nobody reads."""
    connection = socket.socket()
    if reads_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, reads_bytes)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", server.port))
    if words:
        await loop.sock_sendall(connection, words)
    return connection


@contextmanager
def closing(connections: list[socket.socket]) -> Iterator[None]:
    """They leave after the block."""
    try:
        yield
    finally:
        for connection in connections:
            connection.close()
