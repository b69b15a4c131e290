"""What is measured, each a process of its own: Postgres with full durability, one history server or several, one
worker, and the client, which is the benchmark itself. Settings are those that a user gets.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from perdure import Client
from perdure_server.embedded import EmbeddedPostgres
from perdure_server.store.migrate import migrate
from tests.benchmarks.process import BenchmarkError, Process
from tests.postgres import scratch_folder

PROGRAMS = Path(__file__).with_name("programs.py")
HOST = "127.0.0.1"
TASK_QUEUE = "benchmark"
READY_SECONDS_MAX = 60.0
LOOK_EVERY_SECONDS = 0.005
SHARED = """
select count(*) = $1 and min(owned) >= sum(owned) / (2 * $1)
from (select count(*) as owned from shards where owner is not null group by owner) as o
"""
# Below the ports of outgoing connections: a client that knocks while the server is down must not find itself.
PORTS = range(20_000, 32_000)


class Requests:
    """Counts the HTTP requests of a client."""

    def __init__(self, client: Client) -> None:
        self.count = 0
        connection: Any = client.service.connection
        for name in ("send", "send_about"):
            setattr(connection, name, self._counted(getattr(connection, name)))

    def _counted(self, send: Callable[..., Awaitable[bytes]]) -> Callable[..., Awaitable[bytes]]:
        async def counted(*args: Any) -> bytes:
            self.count += 1
            return await send(*args)

        return counted


class Stack:
    """The processes of one measurement, and the client that loads them."""

    client: Client
    requests: Requests
    dsn: str
    server: Process
    worker: Process

    def __init__(self, folder: Path, servers: int = 1) -> None:
        port, *self._other_ports = (free_port() for _ in range(servers))
        self._others: list[Process] = []
        self.address = f"http://{HOST}:{port}"
        self.postgres = EmbeddedPostgres(folder / "data")
        self._folder = folder
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")},
            "PERDURE_ADDRESS": self.address,
            "PERDURE_PORT": str(port),
            "PERDURE_TASK_QUEUE": TASK_QUEUE,
            "XDG_CONFIG_HOME": str(folder),
            # A worker without it would start itself anew to get it.
            "PYTHONHASHSEED": "1",
        }

    @property
    def postmaster(self) -> int:
        """The process id of Postgres."""
        assert self.postgres.pid is not None, "Postgres does not run"
        return self.postgres.pid

    @property
    def processes(self) -> list[Process]:
        """Those that were started so far."""
        known = [one for name in ("worker", "server") if (one := getattr(self, name, None)) is not None]
        return [*known, *self._others]

    async def start(self) -> None:
        self.dsn = await self.postgres.start()
        await migrate(self.dsn)
        settings = {**self._environment, "PERDURE_DATABASE_URL": self.dsn}
        self.server = Process("server", ("server",), settings, self._folder)
        self.server.start()
        for number, port in enumerate(self._other_ports, start=2):
            own = {"PERDURE_PORT": str(port), "PERDURE_NAME": f"server-{number}"}
            self._others.append(Process(f"server {number}", ("server",), settings | own, self._folder))
            self._others[-1].start()
        self.worker = Process("worker", ("worker", str(PROGRAMS)), self._environment, self._folder)
        self.worker.start()
        await self.until_ready()
        await self._until_shared()
        self.client = await Client.connect(self.address)
        self.requests = Requests(self.client)

    async def kill_postgres(self) -> None:
        """Kill -9 of the postmaster."""
        os.kill(self.postmaster, signal.SIGKILL)
        await self.postgres.wait()

    async def until_ready(self) -> None:
        """Return when the server says that it can do its work."""
        patience = aiohttp.ClientTimeout(total=2.0)
        try:
            async with asyncio.timeout(READY_SECONDS_MAX), aiohttp.ClientSession(timeout=patience) as session:
                while not await self._says_ready(session):
                    for process in self.processes:
                        process.check()
                    await asyncio.sleep(LOOK_EVERY_SECONDS)
        except TimeoutError:
            raise BenchmarkError(f"the server was not ready after {READY_SECONDS_MAX:.0f} s") from None

    async def _until_shared(self) -> None:
        """Return when each server has at least half of an equal share of the shards."""
        servers = 1 + len(self._other_ports)
        connection = await asyncpg.connect(self.dsn)
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                while not await connection.fetchval(SHARED, servers):  # noqa: ASYNC110 - Postgres raises no event
                    await asyncio.sleep(LOOK_EVERY_SECONDS)
        except TimeoutError:
            raise BenchmarkError(f"{servers} servers did not share the work in {READY_SECONDS_MAX:.0f} s") from None
        finally:
            await connection.close()

    async def stop_perdure(self) -> None:
        """End worker and server in order, so that no session is left in Postgres."""
        for process in self.processes:
            await process.stop()

    async def stop(self) -> None:
        """Leave nothing behind; nobody waits for an answer any more."""
        for process in self.processes:
            await process.kill()
        if hasattr(self, "client"):
            await self.client.close()
        await self.postgres.stop()

    async def query(self, statement: str) -> Any:
        """One value from Postgres, over a connection of its own."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    async def _says_ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.address}/readyz") as answer:
                return answer.ok
        except (aiohttp.ClientError, TimeoutError):
            return False


@asynccontextmanager
async def running_stack(servers: int = 1) -> AsyncIterator[Stack]:
    """A fresh stack with an empty database, for as long as the block lasts; when it fails, what the processes said."""
    with scratch_folder() as folder:
        stack = Stack(folder, servers)
        try:
            await stack.start()
            yield stack
        except BaseException:
            for process in stack.processes:
                sys.stderr.write(f"--- the end of the {process.name}'s log\n{process.last_words()}")
            raise
        finally:
            await stack.stop()


def free_port() -> int:
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise BenchmarkError(f"no free port among a hundred tried between {PORTS.start} and {PORTS.stop}")
