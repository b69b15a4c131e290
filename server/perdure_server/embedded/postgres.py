"""The embedded Postgres, from outside: a data folder in, a DSN out. Order matters and is the same each time: lock the
folder, clear what a killed predecessor left, make the cluster if there is none, start, wait until it answers; the
lock is released last.
"""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from perdure_server.embedded.errors import DataDirUnusableError, PostgresStartError, UnsupportedPlatformError
from perdure_server.embedded.settings import SETTINGS, SHARED_MEMORY_SECONDS_MAX, START_SECONDS_MAX

if sys.platform != "win32":
    from perdure_server.embedded.account import Account, choose_account
    from perdure_server.embedded.binaries import find_binaries
    from perdure_server.embedded.child import PostgresChild, finish_in_thread
    from perdure_server.embedded.cluster import ensure_cluster
    from perdure_server.embedded.data_dir import DataDir
    from perdure_server.embedded.leftovers import cluster_tag, end_leftovers, is_ready

POLL_SECONDS_MIN = 0.005
POLL_SECONDS_MAX = 0.2
LOG_TAIL_BYTES = 4096
# A backend of a killed predecessor is not quite gone yet.
PASSING = ("pre-existing shared memory block", 'lock file "postmaster.pid" already exists')


class EmbeddedPostgres:
    """A Postgres that lives in `data_dir` and ends with this process."""

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        """Take Postgres settings that differ from the durable ones, such as `fsync`: for tests only."""
        if sys.platform == "win32":
            raise UnsupportedPlatformError(
                "the embedded Postgres runs on Linux and macOS: "
                "on Windows give perdure the DSN of a Postgres of your own"
            )
        self._data_dir = DataDir(data_dir)
        self._settings = {**SETTINGS, **(settings or {})}
        self._child: PostgresChild | None = None
        self._log_start = 0  # where this start's lines begin

    @property
    def pid(self) -> int | None:
        """The process id of the postmaster, if it was started and not stopped."""
        return None if self._child is None else self._child.pid

    @property
    def data_dir(self) -> Path:
        return self._data_dir.path

    @property
    def log_file(self) -> Path:
        return self._data_dir.log_file

    async def start(self) -> str:
        """Start, also after a crash, and return the DSN of the database `perdure`."""
        assert self._child is None or not self._child.is_running(), "already started"
        try:
            return await self._start()
        except OSError as error:
            await self.stop()
            raise DataDirUnusableError(f"cannot use the data folder {self.data_dir}: {error}") from error
        except subprocess.TimeoutExpired as error:
            await self.stop()
            raise PostgresStartError(f"the database cluster was not created in time: {error}") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Shut down fast, at once if that takes too long, and release the data folder."""
        child, self._child = self._child, None
        try:
            if child is not None:
                await child.stop()
                await finish_in_thread(self._tidy_up)
        finally:
            self._data_dir.unlock()

    async def wait(self) -> int:
        """Return the exit status once Postgres has ended, for whatever reason."""
        assert self._child is not None, "not started"
        return await self._child.wait()

    async def _start(self) -> str:
        if self._child is not None:
            child, self._child = self._child, None
            await child.stop()
        command, account, dsn = await finish_in_thread(self._prepare)
        loop = asyncio.get_running_loop()
        patience_ends = loop.time() + SHARED_MEMORY_SECONDS_MAX
        pause = POLL_SECONDS_MIN
        while not await self._launch(command, account):
            said = self._last_words()
            if not any(passing in said for passing in PASSING) or loop.time() > patience_ends:
                raise PostgresStartError(f"PostgreSQL did not start; see {self.log_file}: {said}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, POLL_SECONDS_MAX)
        return dsn

    def _prepare(self) -> tuple[list[str], Account | None, str]:
        data_dir = self._data_dir
        data_dir.lock()
        account = choose_account(data_dir.pgdata)
        data_dir.admit(account)
        binaries = find_binaries(account)
        ensure_cluster(data_dir, binaries, account)
        end_leftovers(data_dir.pgdata)
        data_dir.set_long_log_aside()
        socket_dir = data_dir.socket_dir(account)
        named = {"unix_socket_directories": str(socket_dir), "cluster_name": cluster_tag(data_dir.pgdata)}
        flags = [word for name, value in {**self._settings, **named}.items() for word in ("-c", f"{name}={value}")]
        return [str(binaries.postgres), "-D", str(data_dir.pgdata), *flags], account, data_dir.dsn(socket_dir, account)

    def _tidy_up(self) -> None:
        end_leftovers(self._data_dir.pgdata)
        self._data_dir.remove_socket_dir()

    async def _launch(self, command: list[str], account: Account | None) -> bool:
        """Start the server; True once it takes connections, False if it ended first."""
        self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        child = await finish_in_thread(lambda: self._spawn(command, account))
        deadline = asyncio.get_running_loop().time() + START_SECONDS_MAX
        pause = POLL_SECONDS_MIN
        while not is_ready(self._data_dir.pgdata, child.pid):
            if not child.is_running():
                self._child = None
                await child.stop()
                return False
            if asyncio.get_running_loop().time() > deadline:
                raise PostgresStartError(
                    f"PostgreSQL is not ready after {START_SECONDS_MAX:.0f} s; see {self.log_file}"
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, POLL_SECONDS_MAX)
        return True

    def _spawn(self, command: list[str], account: Account | None) -> PostgresChild:
        # Kept here and not by the caller: one that is cancelled meanwhile must still find it, to stop it.
        self._child = PostgresChild.spawn(command, self.log_file, account)
        return self._child

    def _last_words(self) -> str:
        """What this start wrote to the log, in one line: its fatal errors if there are any."""
        with self.log_file.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, 2) - LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        fatal = [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line]
        return "; ".join(fatal or lines[-1:]) or "it wrote nothing"
