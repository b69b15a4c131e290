"""Real processes for tests: servers, workers and a Postgres of the test's own, that can be killed, stopped and started
again. What they say is kept and can be waited for; it is printed when the test fails. All are reaped at the end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil

from perdure_server.embedded import EmbeddedPostgres
from perdure_server.store.migrate import migrate
from tests.postgres import FORGETFUL, scratch_folder

PROGRAMS = Path(__file__).parent / "programs"
SECONDS_MAX = 30.0
LINES_SHOWN = 60

AS_SHIPPED: Mapping[str, str] = {"PERDURE_HEARTBEAT_EVERY": "", "PERDURE_LEASE": ""}
"""A server with the default settings."""

QUICK_SERVER: Mapping[str, str] = {"PERDURE_HEARTBEAT_EVERY": "300ms", "PERDURE_LEASE": "2s"}
"""A server that notices within seconds what takes longer by default."""

Told = dict[str, Any]
"""One line of a log."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A command of `perdure`, which can be started again after it has ended."""

    program: tuple[str, ...] = ("-m", "perdure.cli")

    def __init__(self, name: str, words: tuple[str, ...], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._words = words
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PERDURE_")},
            "PERDURE_LOG_FORMAT": "json",
            "XDG_CONFIG_HOME": str(folder),
            **environment,
        }
        self._folder = folder
        self._child: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self.said: list[Told] = []

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.returncode is None

    @property
    def pid(self) -> int:
        assert self._child is not None, f"{self.name} was not started"
        return self._child.pid

    async def start(self) -> None:
        assert not self.is_running, f"{self.name} runs already"
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            *self.program,
            *self._words,
            cwd=self._folder,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=2**24,
        )
        assert self._child.stdout is not None
        self._listening = asyncio.create_task(self._listen(self._child.stdout))

    async def _listen(self, output: asyncio.StreamReader) -> None:
        async for line in output:
            text = line.decode(errors="replace").rstrip()
            told = msgspec.json.decode(text) if text.startswith("{") else {"event": text}
            async with self._news:
                self.said.append(told)
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    def send(self, number: signal.Signals) -> None:
        """Send a signal: SIGKILL, SIGTERM, SIGSTOP, SIGCONT."""
        assert self._child is not None, f"{self.name} was not started"
        self._child.send_signal(number)

    async def until_stopped(self) -> None:
        """Wait until a SIGSTOP has taken effect: a SIGCONT before that would be lost."""
        assert self._child is not None, f"{self.name} was not started"
        shown = psutil.Process(self._child.pid)
        async with asyncio.timeout(SECONDS_MAX):
            while await asyncio.to_thread(shown.status) != psutil.STATUS_STOPPED:
                pass

    async def kill(self) -> None:
        """Kill -9."""
        self.send(signal.SIGKILL)
        await self.ended()

    async def terminate(self) -> int:
        """SIGTERM, and wait for its end."""
        self.send(signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        """Its exit status, once it has ended and all that it said was heard."""
        assert self._child is not None, f"{self.name} was not started"
        assert self._listening is not None
        async with asyncio.timeout(SECONDS_MAX):
            status = await self._child.wait()
            await self._listening
        return status

    async def until_said(self, event: str, *, after: int = 0, **keys: object) -> Told:
        """Wait for an event that has these keys, heard after so many lines."""

        def fits(told: Told) -> bool:
            return told.get("event") == event and keys.items() <= told.items()

        return await self.until_heard(fits, f"{event} {keys}", after)

    async def until_heard(self, fits: Callable[[Told], bool], what: str, after: int = 0) -> Told:
        """Wait for a line that fits; fails when the process ends before."""
        async with self._news:
            try:
                async with asyncio.timeout(SECONDS_MAX):
                    while True:
                        found = next((told for told in self.said[after:] if fits(told)), None)
                        if found is not None:
                            return found
                        assert self._listening is not None
                        assert not self._listening.done(), f"{self.name} ended and never said {what}"
                        await self._news.wait()
            except TimeoutError:
                raise AssertionError(f"{self.name} did not say {what} in {SECONDS_MAX:.0f} s") from None


class ServerProcess(Process):
    """`perdure server` on a port of its own, which it keeps over restarts."""

    def __init__(self, name: str, database_url: str, environment: Mapping[str, str], folder: Path) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        settings = {
            **QUICK_SERVER,
            "PERDURE_DATABASE_URL": database_url,
            "PERDURE_PORT": str(self.port),
            "PERDURE_NAME": name,
            **environment,
        }
        settings = {key: value for key, value in settings.items() if value}  # an empty one is the default
        super().__init__(name, ("server",), settings, folder)
        self._heard = 0

    async def start(self) -> None:
        self._heard = len(self.said)
        await super().start()

    async def until_state(self, state: str, reason: str = "") -> None:
        """Wait until the server is in this state, for a reason with these words; its log says it, and `/readyz`."""

        def fits(told: Told) -> bool:
            return told.get("event") == "server_state" and told.get("state") == state and reason in told["reason"]

        await self.until_heard(fits, f"that it is {state!r}", self._heard)

    async def until_ready(self) -> None:
        await self.until_state("ready")

    async def restart(self) -> None:
        await self.start()
        await self.until_ready()

    async def readiness(self) -> Told:
        """What `/readyz` says now."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.address}/readyz") as answer:
            told: Told = await answer.json()
            return {**told, "status": answer.status}


class OwnPostgres:
    """A Postgres that a test may kill; a start after that recovers, under the same DSN."""

    def __init__(self, folder: Path) -> None:
        self._postgres = EmbeddedPostgres(folder / "data", settings=FORGETFUL)

    async def start(self) -> str:
        return await self._postgres.start()

    async def kill(self) -> None:
        """Kill -9 of the postmaster."""
        pid = self._postgres.pid
        assert pid is not None, "Postgres does not run"
        os.kill(pid, signal.SIGKILL)
        await self._postgres.wait()

    async def stop(self) -> None:
        await self._postgres.stop()


class Machine:
    """What one test runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[Process] = []
        self.postgres = OwnPostgres(folder)

    async def start_postgres(self) -> str:
        """Start Postgres, with a migrated database, and give its DSN."""
        dsn = await self.postgres.start()
        await migrate(dsn)
        return dsn

    def server(self, name: str, database_url: str, **environment: str) -> ServerProcess:
        server = ServerProcess(name, database_url, environment, self.folder)
        self.processes.append(server)
        return server

    def worker(self, name: str, program: str, address: str, *words: str, **environment: str) -> Process:
        """`perdure worker` of a program in tests/programs."""
        command = ("worker", str(PROGRAMS / program), "--address", address, *words)
        worker = Process(name, command, environment, self.folder)
        self.processes.append(worker)
        return worker

    async def reap(self) -> None:
        """End at once all that still runs: nobody waits for an answer any more."""
        running = [process for process in self.processes if process.is_running]
        for process in running:
            process.send(signal.SIGKILL)
        for process in running:
            await process.ended()
        await self.postgres.stop()

    def logs(self) -> str:
        lines = [(one.name, told) for one in self.processes for told in one.said[-LINES_SHOWN:]]
        return "".join(f"{name}: {msgspec.json.encode(told).decode()}\n" for name, told in lines)


@asynccontextmanager
async def machine() -> AsyncIterator[Machine]:
    """Processes for as long as the block lasts; what they said is printed, which pytest shows when the test failed."""
    with scratch_folder() as folder:
        running = Machine(folder)
        try:
            yield running
        finally:
            await running.reap()
            sys.stderr.write(running.logs())
