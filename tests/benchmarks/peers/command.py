"""One process of a peer: any command, kept on a leash."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.peers.environment import PYTHON
from tests.benchmarks.process import BenchmarkError, Process
from tests.benchmarks.stack import LOOK_EVERY_SECONDS

ROOT = Path(__file__).resolve().parents[3]
LEASH = Path(__file__).with_name("leash.py")


class Command(Process):
    """A process that is no command of perdure."""

    def __init__(self, name: str, words: Sequence[str], folder: Path, settings: Mapping[str, str]) -> None:
        super().__init__(name, (), {**os.environ, "PYTHONPATH": str(ROOT), **settings}, folder)
        self._command = [sys.executable, "-I", "-S", str(LEASH), *words]

    async def kill(self) -> None:
        """Let go of the leash: it kills the command, and ends when that is gone."""
        if self._popen is not None and self._popen.stdin is not None:
            self._popen.stdin.close()
        await self._collect()

    async def until_ended(self, beside: Sequence[Process]) -> None:
        """Return when it has ended well; those beside it must not end meanwhile."""
        assert self._popen is not None
        while self._popen.poll() is None:
            for process in beside:
                process.check()
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        if self._popen.returncode:
            self.check()

    async def until_made(self, file: Path, seconds_max: float) -> None:
        """Return when it has made a file."""
        try:
            async with asyncio.timeout(seconds_max):
                while not file.exists():
                    self.check()
                    await asyncio.sleep(LOOK_EVERY_SECONDS)
        except TimeoutError:
            raise BenchmarkError(f"the {self.name} was not ready after {seconds_max:.0f} s") from None


def python_words(module: str, *arguments: str) -> list[str]:
    """A module of ours, run in the peers' environment."""
    return [str(PYTHON), "-m", module, *arguments]
