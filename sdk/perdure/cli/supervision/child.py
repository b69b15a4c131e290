"""One child process of a supervisor, in a session of its own: Ctrl-C in the terminal reaches the supervisor alone.

Its standard input is a pipe that only the supervisor holds. However the supervisor ends, the kernel closes it, and
the child notices (`perdure.cli.supervision.orphan`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from perdure.cli.supervision.voice import Voice

LINE_BYTES_MAX = 1024 * 1024
ENTRY = (sys.executable, "-m", "perdure.cli.supervision.orphan")


class Child:
    """A running `perdure` command."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, relay: asyncio.Task[None]) -> None:
        self.name = name
        self._process = process
        self._relay = relay

    @classmethod
    async def start(cls, name: str, command: Sequence[str], environment: Mapping[str, str], voice: Voice) -> Child:
        """Start `perdure` with these words; what it writes is relayed under the name."""
        process = await asyncio.create_subprocess_exec(
            *ENTRY,
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            limit=LINE_BYTES_MAX,
        )
        assert process.stdout is not None
        return cls(name, process, asyncio.create_task(_relay(name, process.stdout, voice)))

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """The exit status, once it has ended and its last words are out."""
        status = await self._process.wait()
        # A grandchild may hold the pipe open: its words are not waited for.
        await asyncio.wait([self._relay], timeout=1.0)
        return status

    async def stop(self, seconds_max: float) -> None:
        """SIGTERM, and SIGKILL for its whole session if that takes too long."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds_max):
                await self.wait()
        except TimeoutError:
            self.kill()
            await self.wait()

    def kill(self) -> None:
        """SIGKILL for the child and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


async def _relay(name: str, stream: asyncio.StreamReader, voice: Voice) -> None:
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # longer than any line we keep: the reader has dropped it
            voice.say("line_dropped", f"{name} wrote a line of more than {LINE_BYTES_MAX} bytes: dropped", process=name)
            continue
        if not line:
            return
        voice.relay(name, line.decode("utf-8", "replace").rstrip("\r\n"))
