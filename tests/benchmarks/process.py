"""One process that is measured: started, killed without warning, started again, stopped in order.

It has a session and a log of its own, and ends by itself when the benchmark is gone, however that came about.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_SECONDS_MAX = 10.0
LOG_BYTES_SHOWN = 2_000
PERDURE = (sys.executable, "-m", "perdure.cli.supervision.orphan")
"""The `perdure` command, made to end when its standard input does."""


class BenchmarkError(Exception):
    """What was to be measured did not work; the message says what."""


class Process:
    """A command of `perdure`."""

    def __init__(self, name: str, words: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._command = [*PERDURE, *words]
        self._environment = dict(environment)
        self._folder = folder
        self._log = folder / f"{name}.log"
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The leader of its session."""
        assert self._popen is not None, f"{self.name} was not started"
        return self._popen.pid

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,  # never written to: the kernel closes it however we end
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise if it has ended and nobody asked it to."""
        if self._popen is not None and self._popen.poll() is not None:
            raise BenchmarkError(f"the {self.name} ended by itself, with status {self._popen.returncode}")

    async def kill(self) -> None:
        """Kill -9 of it and all that it started."""
        self._send(signal.SIGKILL)
        await self._collect()

    async def stop(self) -> None:
        """SIGTERM, and kill -9 when that takes too long."""
        self._send(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await self._collect()
        except TimeoutError:
            await self.kill()

    def last_words(self) -> str:
        """The end of its log."""
        return self._log.read_bytes()[-LOG_BYTES_SHOWN:].decode(errors="replace") if self._log.exists() else ""

    def _send(self, number: signal.Signals) -> None:
        if self._popen is not None and self._popen.poll() is None:
            os.killpg(self._popen.pid, number)

    async def _collect(self) -> None:
        if self._popen is None:
            return
        while self._popen.poll() is None:  # noqa: ASYNC110 - it raises no event
            await asyncio.sleep(0.001)
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        self._popen = None
