"""Everything that the demo runs: Postgres, the history server, two workers and the shop.

Settings go to the programs as variables, as a deployment would do it, so that no password stands in a list of
processes. Nothing of the caller's own settings gets in.
"""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from demo_processes import HOST, LOOK_EVERY_SECONDS, DemoError, Postgres, Process, free_port

HERE = Path(__file__).resolve().parent
TASK_QUEUE = "orders"
WORKERS = 2
READY_SECONDS_MAX = 60.0
ANSWER_SECONDS_MAX = 2.0
# The `perdure` command, made to end by itself when the process that started it is gone.
PERDURE = (sys.executable, "-m", "perdure.cli.supervision.orphan")


class Stack:
    """The processes, and how they find each other."""

    def __init__(self, folder: Path, seed: int) -> None:
        chance = random.Random()  # ports are no part of what a seed repeats
        self.address, self.shop_url = (f"http://{HOST}:{free_port(chance)}" for _ in range(2))
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")},
            "PERDURE_ADDRESS": self.address,
            "PERDURE_PORT": self.address.rpartition(":")[2],
            "PERDURE_TASK_QUEUE": TASK_QUEUE,
            "SHOP_URL": self.shop_url,
            "PYTHONUNBUFFERED": "1",
            # A worker without it would start itself anew to get it, and lose the pipe to whoever started it.
            "PYTHONHASHSEED": "1",
        }
        self._folder = folder
        postgres = (sys.executable, str(HERE / "demo_postgres.py"), str(folder / "data"))
        self.postgres = Postgres("postgres", postgres, self._environment, folder)
        self.shop = Process("shop", self._shop_command(seed), self._environment, folder)
        self.server = Process("server", (*PERDURE, "server"), self._environment, folder)
        worker = (*PERDURE, "worker", str(HERE / "orders.py"))
        self.workers = [Process(f"worker-{n}", worker, self._environment, folder) for n in range(1, WORKERS + 1)]

    @property
    def processes(self) -> list[Process]:
        """In the order in which they are started; they are stopped in the other one."""
        return [self.postgres, self.shop, self.server, *self.workers]

    async def start(self) -> None:
        self.shop.start()
        self.postgres.start()
        await self.postgres.until_ready()
        self._environment["PERDURE_DATABASE_URL"] = self.postgres.dsn
        await self._migrate()
        self.server.learn(PERDURE_DATABASE_URL=self.postgres.dsn)
        self.server.start()
        await until_answered(self.shop, f"{self.shop_url}/ledger")
        await self.until_ready(self.server)
        for worker in self.workers:
            worker.start()

    async def until_ready(self, process: Process) -> None:
        """Wait until a process that was started can do its work; a worker shows that by doing it."""
        if process is self.postgres:
            await self.postgres.until_ready()
        elif process is self.server:
            await until_answered(self.server, f"{self.address}/readyz")

    async def watch(self) -> None:
        """Never return; raise when a process has ended that nobody killed."""
        while True:
            for process in self.processes:
                process.check()
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def stop(self) -> None:
        await asyncio.gather(*(worker.stop() for worker in self.workers))
        for process in (self.server, self.shop, self.postgres):
            await process.stop()

    def end_at_once(self) -> None:
        for process in reversed(self.processes):
            process.end_at_once()

    async def print_history(self, workflow_id: str) -> None:
        """Show a history on our own output, as `perdure workflow show` does for anybody."""
        command = ("workflow", "show", workflow_id)
        showing = await asyncio.create_subprocess_exec(
            *PERDURE, *command, env=self._environment, cwd=self._folder, stdin=subprocess.PIPE
        )
        await showing.wait()

    async def _migrate(self) -> None:
        migrating = await asyncio.create_subprocess_exec(
            *PERDURE,
            "migrate",
            env=self._environment,
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        if await migrating.wait():
            raise DemoError("the schema was not created; the line above says why")

    def _shop_command(self, seed: int) -> tuple[str, ...]:
        port = self.shop_url.rpartition(":")[2]
        ledger = self._folder / "ledger.sqlite"
        return (sys.executable, str(HERE / "shop.py"), "--port", port, "--ledger", str(ledger), "--seed", str(seed))


@contextlib.asynccontextmanager
async def running(stack: Stack) -> AsyncIterator[None]:
    """Run everything for as long as the block lasts, and leave nothing behind however it ends."""
    try:
        await stack.start()
        yield
    finally:
        try:
            await stack.stop()
        finally:
            stack.end_at_once()


async def until_answered(process: Process, url: str) -> None:
    patience = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
    try:
        async with asyncio.timeout(READY_SECONDS_MAX), aiohttp.ClientSession(timeout=patience) as session:
            while not await _answers(session, url):
                process.check()
                await asyncio.sleep(LOOK_EVERY_SECONDS)
    except TimeoutError:
        raise DemoError(f"{process.name} does not answer after {READY_SECONDS_MAX:.0f} s; see {process.log}") from None


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.ok
    except (aiohttp.ClientError, TimeoutError):
        return False
