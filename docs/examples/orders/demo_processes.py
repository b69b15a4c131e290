"""The programs of the demo as processes: started, killed without warning, started again, stopped in order.

Each has a log of its own and a session of its own, so Ctrl-C in the terminal reaches the demo alone.
"""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# When the demo ends there is nothing left to save, so nobody is waited for who waits for a Postgres that is gone.
STOP_SECONDS_MAX = 3.0
LOOK_EVERY_SECONDS = 0.02
HOST = "127.0.0.1"
# Below the ports that systems give to outgoing connections: while a process is down, a client that keeps knocking
# at its port must not end up connected to itself.
PORTS = range(20_000, 32_000)


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


class Process:
    """One program; `is_down` while it was killed on purpose or is not started."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.is_down = True
        self.log = folder / f"{name}.log"
        self._command = list(command)
        self._environment = dict(environment)
        self._folder = folder
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,  # never written to: the kernel closes it however the demo ends
                stdout=self._stdout(log.fileno()),
                stderr=log,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,
            )
        self.is_down = False

    def learn(self, **environment: str) -> None:
        """Variables that were not known before other programs ran; for the next start."""
        self._environment.update(environment)

    def check(self) -> None:
        """Raise if it ended and nobody asked it to."""
        if not self.is_down and self._popen is not None and self._popen.poll() is not None:
            raise DemoError(f"{self.name} ended by itself, with status {self._popen.returncode}; see {self.log}")

    def kill(self) -> None:
        """What kill -9 does, to the program and all that it started."""
        self.is_down = True
        self._signal(signal.SIGKILL)

    async def start_again(self) -> None:
        """Start after a kill, once the killed one is gone."""
        await self._until_ended()
        self._collect()
        self.start()

    async def stop(self) -> None:
        """Ask it to end, and kill it if that takes too long."""
        self.is_down = True
        if self._popen is None:
            return
        self._ask_to_stop()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await self._until_ended()
        except TimeoutError:
            return
        finally:
            self.end_at_once()

    def end_at_once(self) -> None:
        """Leave nothing behind, whatever state it is in."""
        self.is_down = True
        self._signal(signal.SIGKILL)
        self._collect()

    async def _until_ended(self) -> None:
        while self._popen is not None and self._popen.poll() is None:  # noqa: ASYNC110 - it raises no event
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    def _ask_to_stop(self) -> None:
        self._signal(signal.SIGTERM)

    def _collect(self) -> None:
        if self._popen is not None:
            self._popen.wait()
            for pipe in (self._popen.stdin, self._popen.stdout):
                if pipe is not None:
                    pipe.close()
            self._popen = None

    def _stdout(self, log: int) -> int:
        return log

    def _signal(self, number: signal.Signals) -> None:
        if self._popen is None or self._popen.poll() is not None:
            return
        try:
            os.killpg(self._popen.pid, number)
        except ProcessLookupError:
            return  # it ended between the two lines


class Postgres(Process):
    """The process that owns Postgres. It is Postgres itself, the postmaster, that gets killed."""

    dsn = ""
    _postmaster = 0

    async def until_ready(self) -> None:
        assert self._popen is not None
        assert self._popen.stdout is not None
        line = await asyncio.to_thread(self._popen.stdout.readline)
        if not line:
            raise DemoError(f"Postgres did not start; see {self.log}")
        ready = json.loads(line)
        self.dsn, self._postmaster = ready["dsn"], ready["pid"]

    def kill(self) -> None:
        self.is_down = True
        os.kill(self._postmaster, signal.SIGKILL)

    def _ask_to_stop(self) -> None:
        assert self._popen is not None
        assert self._popen.stdin is not None
        self._popen.stdin.close()

    def _stdout(self, _: int) -> int:
        return subprocess.PIPE


def free_port(chance: random.Random) -> int:
    for port in chance.sample(PORTS, 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise DemoError(f"no free port among a hundred tried between {PORTS.start} and {PORTS.stop}")
