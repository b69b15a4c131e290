"""A process of perdure that is killed, stood still and started again; its log goes to a file that is kept."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.process import Process

LOOK_EVERY_SECONDS = 0.02
STOP_SECONDS_MAX = 40.0


class Victim(Process):
    """`perdure server` or `perdure worker`. It ends when the suite does, however that came about."""

    def __init__(self, name: str, words: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        super().__init__(name, words, environment, folder)
        self.is_ours = False
        """A fault has it in hand: that it does not run is no finding."""

    @property
    def has_ended(self) -> bool:
        """Whether it was started and is gone."""
        return self._popen is not None and self._popen.poll() is not None

    @property
    def status(self) -> int | None:
        """How it ended."""
        return None if self._popen is None else self._popen.returncode

    def pause(self) -> None:
        """SIGSTOP."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._send(signal.SIGCONT)

    async def leave(self) -> bool:
        """SIGTERM, and wait; False if it had to be killed in the end."""
        self._send(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                while not self.has_ended:  # noqa: ASYNC110 - it raises no event
                    await asyncio.sleep(LOOK_EVERY_SECONDS)
        except TimeoutError:
            await self.kill()
            return False
        await self.collect()
        return True

    async def collect(self) -> None:
        """Forget one that has ended, so that it can be started again."""
        await self._collect()
