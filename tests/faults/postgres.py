"""The Postgres under the suite: real and durable, on a small disk of its own where the machine lets us mount one, and
everything that may happen to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from perdure_server.embedded import EmbeddedPostgres
from perdure_server.embedded.errors import PostgresStartError

DISK_MIB = 1024
BALLAST_PIECE_BYTES = 2**20
LEFT_BYTES = 2**15
SMALL = {"max_wal_size": "128MB", "min_wal_size": "64MB", "log_min_messages": "warning"}
TRY_EVERY_SECONDS = 0.1
CONNECT_SECONDS_MAX = 5.0
START_SECONDS_MAX = 60.0


def while_away() -> contextlib.suppress:
    """Let pass what any statement may raise while a fault is on."""
    return contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)


class Postgres:
    """Postgres with full durability. All of its sessions but our own are the service's."""

    def __init__(self, folder: Path) -> None:
        self._disk = folder / "disk"
        self._disk.mkdir(mode=0o711)
        self.has_small_disk = _mount(self._disk)
        self._ballast = self._disk / "ballast"
        self._postgres = EmbeddedPostgres(self._disk / "data", settings=SMALL)
        self.dsn = ""
        self.socket = ""

    @property
    def log_file(self) -> Path:
        return self._postgres.log_file

    async def start(self) -> str:
        self.dsn = await self._postgres.start()
        connection = await asyncpg.connect(self.dsn)
        folder = await connection.fetchval("show unix_socket_directories")
        port = await connection.fetchval("show port")
        await connection.close()
        self.socket = f"{folder}/.s.PGSQL.{port}"
        return self.dsn

    async def revive(self) -> None:
        """Start it if it has ended, and return when it takes connections."""
        async with asyncio.timeout(START_SECONDS_MAX):
            while True:
                with while_away():
                    await (await asyncpg.connect(self.dsn, timeout=CONNECT_SECONDS_MAX)).close()
                    return
                child = self._postgres._child
                if child is None or not child.is_running():
                    with contextlib.suppress(PostgresStartError):
                        await self._postgres.start()
                await asyncio.sleep(TRY_EVERY_SECONDS)

    async def kill(self) -> None:
        """Kill -9 of the postmaster, and wait for its end."""
        assert self._postgres.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._postgres.pid, signal.SIGKILL)
        await self._postgres.wait()

    async def stop(self) -> None:
        """A fast shutdown."""
        await self._postgres.stop()

    def freeze(self) -> None:
        """SIGSTOP of the postmaster and all backends."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def kill_a_backend(self, chance: random.Random) -> None:
        """Kill -9 of one session: Postgres then ends all and recovers by itself."""
        sessions = [one for one in self._family()[1:] if _is_session(one)]
        if sessions:
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(sessions).send_signal(signal.SIGKILL)

    async def terminate_all(self) -> int:
        """`pg_terminate_backend` on every other connection."""
        async with self.session() as connection:
            ended: int = await connection.fetchval(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity "
                "where pid <> pg_backend_pid() and backend_type = 'client backend'"
            )
        return ended

    async def lock_history(self, seconds: float) -> None:
        """Hold a lock on the log that lets nobody read or write it."""
        async with self.session() as connection, connection.transaction():
            await connection.execute("set local idle_in_transaction_session_timeout = 0")
            await connection.execute("lock table history in access exclusive mode")
            await asyncio.sleep(seconds)

    def fill(self) -> None:
        """Leave no room on the disk."""
        assert self.has_small_disk
        with self._ballast.open("ab", buffering=0) as file:
            piece = BALLAST_PIECE_BYTES
            while piece >= LEFT_BYTES:
                try:
                    file.write(b"\0" * piece)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece //= 2

    def make_room(self) -> None:
        self._ballast.unlink(missing_ok=True)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A connection of our own, past all proxies."""
        connection = await asyncpg.connect(self.dsn, timeout=CONNECT_SECONDS_MAX)
        try:
            yield connection
        finally:
            connection.terminate()

    async def close(self) -> None:
        """Stop, and give the disk back."""
        self.make_room()
        self.thaw()
        await self._postgres.stop()
        if self.has_small_disk:
            subprocess.run(  # noqa: ASYNC221 - the end of everything
                ["umount", "-l", str(self._disk)], check=False
            )

    def _family(self) -> list[psutil.Process]:
        if self._postgres.pid is None:
            return []
        try:
            postmaster = psutil.Process(self._postgres.pid)
            return [postmaster, *postmaster.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _signal_all(self, number: signal.Signals) -> None:
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def _is_session(process: psutil.Process) -> bool:
    """Whether it serves a client: its title ends with what it does for whom."""
    with contextlib.suppress(psutil.Error):
        return "[local]" in " ".join(process.cmdline())
    return False


def _mount(folder: Path) -> bool:
    """Put a small disk there; only root may, and not everywhere."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0711", "tmpfs", str(folder)]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False
