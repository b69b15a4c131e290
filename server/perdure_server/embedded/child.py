"""The running server as seen by its owner: the watcher process, the pipe that keeps Postgres alive, and the pipe that
tells of its end. It belongs to no event loop: started in one, it may be awaited and stopped in another.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

from perdure_server.embedded.account import Account
from perdure_server.embedded.cluster import environment
from perdure_server.embedded.errors import PostgresStartError
from perdure_server.embedded.settings import FAST_SHUTDOWN_SECONDS_MAX, IMMEDIATE_SHUTDOWN_SECONDS_MAX

WATCHER = Path(__file__).with_name("watch.py")
# Above the watcher's own bounds, so that it is the watcher that gives up first.
STOP_SECONDS_MAX = FAST_SHUTDOWN_SECONDS_MAX + IMMEDIATE_SHUTDOWN_SECONDS_MAX + 5.0

Result = TypeVar("Result")


class PostgresChild:
    def __init__(self, watcher: subprocess.Popen[bytes], keep_alive: IO[bytes], ended: IO[bytes], pid: int) -> None:
        self._watcher = watcher
        self._keep_alive = keep_alive
        self._ended = ended
        self.pid = pid

    @classmethod
    def spawn(cls, command: list[str], log_file: Path, account: Account | None) -> "PostgresChild":
        """Start the watcher, and through it Postgres. Blocks for some milliseconds."""
        who = ["-", "-"] if account is None else [str(account.uid), str(account.gid)]
        watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", str(WATCHER), str(log_file), *who, str(FAST_SHUTDOWN_SECONDS_MAX), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environment(),
            cwd="/",
            start_new_session=True,  # Ctrl-C in the terminal is for perdure, which then stops Postgres in order
        )
        assert watcher.stdin is not None
        assert watcher.stdout is not None
        word, _, rest = watcher.stdout.readline().decode().strip().partition(" ")
        if word == "pid":
            return cls(watcher, watcher.stdin, watcher.stdout, int(rest))
        watcher.communicate()
        raise PostgresStartError(f"cannot run {command[0]}: {rest or 'the watcher ended at once'}")

    def is_running(self) -> bool:
        return self._watcher.poll() is None

    async def wait(self) -> int:
        """Return the exit status once Postgres has ended."""
        await _until_readable(self._ended)
        return await asyncio.to_thread(self._watcher.wait)

    async def stop(self) -> None:
        """Fast shutdown, immediate after a bound; both by the watcher, as if we had died."""
        with contextlib.suppress(BrokenPipeError):
            self._keep_alive.close()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await self.wait()
        except TimeoutError:
            self._watcher.kill()  # the caller ends what it leaves behind
            await self.wait()
        finally:
            self._ended.close()


async def finish_in_thread(work: Callable[[], Result]) -> Result:
    """Run blocking work in a thread; a cancelled caller still waits for it, so that it can clean up after it."""
    future = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


async def _until_readable(pipe: IO[bytes]) -> None:
    """Wait for data or end of file; a duplicate descriptor, since a loop takes one reader for each."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    descriptor = os.dup(pipe.fileno())
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
