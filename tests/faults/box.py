"""What the suite runs on: Postgres, servers and workers, each a process of its own, and the wires between them."""

from __future__ import annotations

import asyncio
import functools
import os
import random
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp
from msgspec import Struct

from perdure_server.store.migrate import migrate
from tests.benchmarks.stack import HOST, free_port
from tests.faults.network import Link
from tests.faults.postgres import Postgres
from tests.faults.process import Victim
from tests.programs import under_faults

PROGRAM = Path(under_faults.__file__)
READY_SECONDS_MAX = 60.0
LOOK_EVERY_SECONDS = 0.05
ENGINE = {"PERDURE_ENGINE_WORKER_LOST_AFTER": "5s", "PERDURE_ENGINE_EVICT_AFTER": "10s"}
"""Shorter than usual, so that a short run sees them."""


class BoxOptions(Struct, frozen=True, kw_only=True):
    """How many of each, and where their files go."""

    folder: Path
    servers: int
    workers: int
    seed: int


class Server:
    """A history server; all speak to it over one link, and it speaks to Postgres over another."""

    def __init__(self, box: Box, index: int) -> None:
        self.name = f"server-{index + 1}"
        self._port = free_port()
        self.link = Link(f"the network of {self.name}", box.chance)
        self.database = Link(f"the wire from {self.name} to Postgres", box.chance)
        self._box = box
        self.victim: Victim

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.link.port}"

    async def prepare(self) -> None:
        socket = self._box.postgres.socket
        await self.link.listen(functools.partial(asyncio.open_connection, HOST, self._port))
        await self.database.listen(functools.partial(asyncio.open_unix_connection, socket))
        words = urlsplit(self._box.postgres.dsn)
        user = f"{words.username}:{quote(words.password or '', safe='')}"
        environment = {
            **self._box.environment,
            **ENGINE,
            "PERDURE_NAME": self.name,
            "PERDURE_PORT": str(self._port),
            # Where others shall look for it: servers and clients learn of each other's links, not of their ports.
            "PERDURE_ADVERTISED_ADDRESS": self.address,
            "PERDURE_DATABASE_URL": f"postgresql://{user}@{HOST}:{self.database.port}{words.path}",
        }
        self.victim = Victim(self.name, ("server",), environment, self._box.folder)

    async def is_ready(self) -> bool:
        """What it says of itself, past the link."""
        patience = aiohttp.ClientTimeout(total=2.0)
        try:
            async with (
                aiohttp.ClientSession(timeout=patience) as session,
                session.get(f"http://{HOST}:{self._port}/readyz") as answer,
            ):
                return answer.ok
        except (aiohttp.ClientError, TimeoutError):
            return False


class Box:
    """All of it."""

    def __init__(self, options: BoxOptions) -> None:
        self.folder = options.folder
        self.chance = random.Random(options.seed)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")},
            "PERDURE_LOG_FORMAT": "json",
            "XDG_CONFIG_HOME": str(options.folder),
            # A worker without it would start itself anew to get it.
            "PYTHONHASHSEED": "1",
        }
        self.postgres = Postgres(options.folder)
        self.servers = [Server(self, index) for index in range(options.servers)]
        self.workers: list[Victim] = []
        self._worker_count = options.workers

    @property
    def victims(self) -> list[Victim]:
        return [*(server.victim for server in self.servers if hasattr(server, "victim")), *self.workers]

    async def start(self) -> None:
        dsn = await self.postgres.start()
        await migrate(dsn)
        async with self.postgres.session() as connection:
            await connection.execute(under_faults.TABLE)
        for server in self.servers:
            await server.prepare()
            server.victim.start()
        await self.until_ready()
        for index in range(self._worker_count):
            worker = self._worker(index)
            self.workers.append(worker)
            worker.start()

    def _worker(self, index: int) -> Victim:
        """Half of them keep little in memory, so that replays are common."""
        home = self.servers[index % len(self.servers)]
        cached = "1000" if index % 2 == 0 else "3"
        words = ("worker", str(PROGRAM), "--address", home.address, "--max-cached-workflows", cached)
        environment = {**self.environment, "PERDURE_DATABASE_URL": self.postgres.dsn}
        return Victim(f"worker-{index + 1}", words, environment, self.folder)

    async def until_ready(self) -> None:
        """Return when any server does its work: those that stand by are not waited for."""
        async with asyncio.timeout(READY_SECONDS_MAX):
            while not any([await server.is_ready() for server in self.servers]):  # noqa: ASYNC110 - it raises no event
                await asyncio.sleep(LOOK_EVERY_SECONDS)

    def calm(self) -> None:
        """Whatever a fault has done to the wires is over."""
        for server in self.servers:
            server.link.mend()
            server.database.mend()

    async def close(self) -> None:
        """Leave nothing behind; nobody waits for an answer any more."""
        for victim in self.victims:
            await victim.kill()
        for server in self.servers:
            await server.link.close()
            await server.database.close()
        await self.postgres.close()
