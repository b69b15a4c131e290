"""What is measured, each a process of its own: Postgres with full durability, one history server, one worker, and the
client, which is the benchmark itself. Settings are those that a user gets.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
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
# Below the ports of outgoing connections: a client that knocks while the server is down must not find itself.
PORTS = range(20_000, 32_000)


class Requests:
    """Counts the HTTP requests of a client."""

    def __init__(self, client: Client) -> None:
        self.count = 0
        connection: Any = client.service.connection
        send = connection.send

        async def counted(*args: Any) -> bytes:
            self.count += 1
            body: bytes = await send(*args)
            return body

        connection.send = counted


class Stack:
    """The processes of one measurement, and the client that loads them."""

    client: Client
    requests: Requests
    dsn: str
    server: Process
    worker: Process

    def __init__(self, folder: Path) -> None:
        port = free_port()
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
        return [one for name in ("worker", "server") if (one := getattr(self, name, None)) is not None]

    async def start(self) -> None:
        self.dsn = await self.postgres.start()
        await migrate(self.dsn)
        settings = {**self._environment, "PERDURE_DATABASE_URL": self.dsn}
        self.server = Process("server", ("server",), settings, self._folder)
        self.server.start()
        self.worker = Process("worker", ("worker", str(PROGRAMS)), self._environment, self._folder)
        self.worker.start()
        await self.until_ready()
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
async def running_stack() -> AsyncIterator[Stack]:
    """A fresh stack with an empty database, for as long as the block lasts; when it fails, what the processes said."""
    with scratch_folder() as folder:
        stack = Stack(folder)
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
