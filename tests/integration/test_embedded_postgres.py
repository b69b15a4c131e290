"""The embedded Postgres as real processes: private, durable, alone on its folder, and gone when its owner is."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest
import pytest_asyncio

from perdure_server.embedded import (
    DataDirInUseError,
    DataDirUnusableError,
    DataDirVersionError,
    EmbeddedPostgres,
    PostgresBinariesError,
    PostgresStartError,
    UnsupportedPlatformError,
    binaries,
)
from perdure_server.embedded.account import choose_account
from perdure_server.embedded.leftovers import find_processes
from tests.postgres import scratch_folder

PROGRAM = Path(__file__).parents[1] / "programs" / "own_postgres.py"
SECONDS_MAX = 20.0
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands Postgres to another account")
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's death signal is Linux's")


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch_folder() as folder:
        yield folder


@pytest_asyncio.fixture
async def postgres(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(folder / "data")
    yield postgres
    await postgres.stop()


@pytest.fixture
def owner(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that owns the Postgres in `folder / "data"`."""
    with own(folder / "data") as process:
        yield process
        process.kill()
        end(find_processes(folder / "data" / "pgdata"))


@pytest.fixture
def innocent() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def own(data_dir: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def said_by(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Wait until they have ended, and return those that have not."""
    _, alive = psutil.wait_procs(processes, timeout=SECONDS_MAX)
    return list(alive)


def kill_postmaster(postgres: EmbeddedPostgres) -> None:
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)


def watchers(postgres: EmbeddedPostgres) -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if str(postgres.log_file) in child.cmdline()]


async def fetchval(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_gives_a_dsn(postgres: EmbeddedPostgres) -> None:
    """The DSN leads to the database perdure on the Postgres of the wheel."""
    dsn = await postgres.start()
    assert await fetchval(dsn, "select current_database()") == "perdure"
    assert await fetchval(dsn, "select current_setting('server_version_num')::int / 10000") == binaries.POSTGRES_MAJOR
    assert await fetchval(dsn, "select pg_backend_pid()") != postgres.pid


async def test_is_private(postgres: EmbeddedPostgres) -> None:
    """Nothing listens on a network, the socket's folder is closed to others, and the password is asked for."""
    dsn = await postgres.start()
    assert await fetchval(dsn, "show listen_addresses") == ""
    assert stat.S_IMODE((postgres.data_dir / "socket").stat().st_mode) == 0o700
    assert stat.S_IMODE((postgres.data_dir / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE(postgres.log_file.stat().st_mode) == 0o600
    password = urlsplit(dsn).password
    assert password is not None
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(dsn.replace(password, "guess"))


async def test_is_durable(postgres: EmbeddedPostgres) -> None:
    """Nothing that durability rests on is switched off."""
    dsn = await postgres.start()
    for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert await fetchval(dsn, f"show {setting}") == "on", setting


async def test_ignores_the_environment(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables meant for another Postgres on this machine steer neither the server nor the DSN."""
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("LC_ALL", "no_SUCH.locale")
    assert await fetchval(await postgres.start(), "select 1") == 1


async def test_stop_leaves_nothing_running(postgres: EmbeddedPostgres) -> None:
    """After stop there is no process, no pid, and a second stop does nothing."""
    await postgres.start()
    running = find_processes(postgres.data_dir / "pgdata")
    await postgres.stop()
    assert running
    assert end(running) == []
    assert postgres.pid is None
    await postgres.stop()


async def test_keeps_data_across_restarts(postgres: EmbeddedPostgres) -> None:
    """A second start of the same folder finds what the first wrote, with the same DSN."""
    dsn = await postgres.start()
    await fetchval(dsn, "create table kept as select 7 as id")
    await postgres.stop()
    assert await postgres.start() == dsn
    assert await fetchval(dsn, "select id from kept") == 7


async def test_restarts_after_kill(postgres: EmbeddedPostgres) -> None:
    """After kill -9 of the postmaster wait() ends, and a new start has all that was committed."""
    dsn = await postgres.start()
    await fetchval(dsn, "create table kept as select 7 as id")
    kill_postmaster(postgres)
    assert await asyncio.wait_for(postgres.wait(), SECONDS_MAX) == 128 + signal.SIGKILL
    assert await postgres.start() == dsn
    assert await fetchval(dsn, "select id from kept") == 7


async def test_ends_a_busy_orphan(postgres: EmbeddedPostgres) -> None:
    """A backend that never looks up from its work keeps the shared memory; the next start ends it."""
    connection = await asyncpg.connect(await postgres.start())
    busy = asyncio.ensure_future(connection.execute("do $$ begin loop end loop; end $$"))
    backend = psutil.Process(connection.get_server_pid())
    while "idle" in backend.cmdline()[0]:  # noqa: ASYNC110 - its title says when it works, and no event does
        await asyncio.sleep(0)
    kill_postmaster(postgres)
    await asyncio.wait_for(postgres.wait(), SECONDS_MAX)
    assert backend.is_running()
    assert await fetchval(await postgres.start(), "select 1") == 1
    assert end([backend]) == []
    with pytest.raises((asyncpg.PostgresConnectionError, ConnectionError)):
        await busy


async def test_wait_ends_on_stop(postgres: EmbeddedPostgres) -> None:
    """Whoever waits for the end learns of an orderly one as well."""
    await postgres.start()
    waiting = asyncio.ensure_future(postgres.wait())
    await asyncio.sleep(0)
    await postgres.stop()
    assert await asyncio.wait_for(waiting, SECONDS_MAX) == 0


async def test_innocent_pid_is_left_alone(postgres: EmbeddedPostgres, innocent: "subprocess.Popen[bytes]") -> None:
    """A postmaster.pid whose number now belongs to another program neither stops the start nor that program."""
    await postgres.start()
    kill_postmaster(postgres)
    await postgres.wait()
    pid_file = postgres.data_dir / "pgdata" / "postmaster.pid"
    lines = pid_file.read_text().splitlines(keepends=True)
    pid_file.write_text("".join([f"{innocent.pid}\n", *lines[1:]]))
    assert await fetchval(await postgres.start(), "select 1") == 1
    assert innocent.poll() is None


def test_dies_with_a_killed_owner(folder: Path, owner: "subprocess.Popen[str]") -> None:
    """Kill -9 of the process that owns it leaves no process behind, and the folder free for the next."""
    assert said_by(owner).isdecimal()
    running = [*find_processes(folder / "data" / "pgdata"), *psutil.Process(owner.pid).children()]
    owner.kill()
    assert len(running) > 2
    assert end(running) == []
    with own(folder / "data") as heir:
        assert said_by(heir).isdecimal()
        heir.communicate("")


def test_heir_need_not_wait(folder: Path, owner: "subprocess.Popen[str]") -> None:
    """An owner started the moment the last was killed gets the folder while the old Postgres is still going down."""
    first = said_by(owner)
    owner.kill()
    owner.wait()
    with own(folder / "data") as heir:
        assert said_by(heir) not in (first, "start_failed", "data_dir_in_use")
        heir.communicate("")


@on_linux
async def test_dies_with_a_killed_watcher(postgres: EmbeddedPostgres) -> None:
    """If the watcher itself is killed the kernel ends Postgres, and a new start works."""
    await postgres.start()
    running = find_processes(postgres.data_dir / "pgdata")
    (watcher,) = watchers(postgres)
    watcher.kill()
    assert end(running) == []
    await asyncio.wait_for(postgres.wait(), SECONDS_MAX)
    assert await fetchval(await postgres.start(), "select 1") == 1


async def test_second_process_is_refused(postgres: EmbeddedPostgres) -> None:
    """Another process that opens the folder gets a typed error, and the first goes on undisturbed."""
    dsn = await postgres.start()
    with own(postgres.data_dir) as other:
        assert said_by(other) == DataDirInUseError.code
    assert await fetchval(dsn, "select 1") == 1


async def test_second_in_one_process_is_refused(postgres: EmbeddedPostgres) -> None:
    """A second server on the folder is refused within one process too, and the message says who has it."""
    await postgres.start()
    with pytest.raises(DataDirInUseError, match=f"in use by process {os.getpid()}: stop it, or choose another"):
        await EmbeddedPostgres(postgres.data_dir).start()


async def test_other_major_version_is_refused(postgres: EmbeddedPostgres) -> None:
    """A folder made by another major version stays as it is, and the message says what to do."""
    pgdata = postgres.data_dir / "pgdata"
    pgdata.mkdir(parents=True)
    (pgdata / "PG_VERSION").write_text("16\n")
    with pytest.raises(DataDirVersionError, match=r"made by PostgreSQL 16, .* 18: dump it .* choose another") as caught:
        await postgres.start()
    assert "\n" not in caught.value.message
    assert [pgdata / "PG_VERSION"] == list(pgdata.iterdir())


async def test_unusable_folder(folder: Path) -> None:
    """A folder that cannot be made gets one line with what to do."""
    (folder / "file").touch()
    with pytest.raises(DataDirUnusableError, match="choose another") as caught:
        await EmbeddedPostgres(folder / "file" / "data").start()
    assert "\n" not in caught.value.message


@as_root
async def test_unreachable_folder(folder: Path) -> None:
    """Where the account may not go is named; folders that are not ours are not opened for it."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(DataDirUnusableError, match=f"may not enter {closed}: choose a data folder elsewhere"):
        await EmbeddedPostgres(closed / "data").start()
    (closed / "letters").touch()
    with pytest.raises(DataDirUnusableError, match=f"may not enter {closed}: "):
        await EmbeddedPostgres(closed).start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


async def test_long_path(folder: Path) -> None:
    """A folder too deep for a socket's name works, and leaves nothing elsewhere when it stops."""
    postgres = EmbeddedPostgres(folder / ("deep" * 20) / "data")
    dsn = await postgres.start()
    try:
        directory = str(await fetchval(dsn, "show unix_socket_directories"))
        assert Path(directory).is_dir()
        assert not directory.startswith(str(folder))
    finally:
        await postgres.stop()
    assert not Path(directory).exists()


async def test_bad_start_is_explained(folder: Path) -> None:
    """What Postgres said is in the error, and the folder is free again."""
    with pytest.raises(PostgresStartError, match="shared_buffers"):
        await EmbeddedPostgres(folder / "data", settings={"shared_buffers": "many"}).start()
    postgres = EmbeddedPostgres(folder / "data")
    await postgres.start()
    await postgres.stop()


async def test_half_made_cluster_is_made_again(postgres: EmbeddedPostgres) -> None:
    """A first start that was killed in the middle does not spoil the folder."""
    (postgres.data_dir / "pgdata.new").mkdir(parents=True)
    (postgres.data_dir / "pgdata.new" / "PG_VERSION").write_text("18\n")
    assert await fetchval(await postgres.start(), "select 1") == 1


async def test_cancelled_start_leaves_nothing(postgres: EmbeddedPostgres) -> None:
    """A start that is cancelled lets go of the folder and of every process."""
    starting = asyncio.ensure_future(postgres.start())
    while not (postgres.data_dir / "lock").exists():  # noqa: ASYNC110 - no event tells of a file
        await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert watchers(postgres) == []
    assert await fetchval(await postgres.start(), "select 1") == 1


async def test_lost_password(postgres: EmbeddedPostgres) -> None:
    """A cluster without its password is refused instead of given one that does not fit."""
    await postgres.start()
    await postgres.stop()
    (postgres.data_dir / "password").unlink()
    with pytest.raises(DataDirUnusableError, match="restore it"):
        await postgres.start()


def test_windows_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the error says what to use instead."""
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UnsupportedPlatformError, match="give perdure the DSN"):
        EmbeddedPostgres(folder)


def test_copied_programs_run(folder: Path) -> None:
    """The copy for an account that cannot reach the wheel is whole: the programs find their libraries."""
    site = binaries.copy_for_others(binaries._site_folder(), folder)
    account = choose_account(folder / "none")
    said = subprocess.run(
        [site / binaries.INSTALL / "bin" / "initdb", "--version"],
        check=True,
        capture_output=True,
        text=True,
        user=None if account is None else account.uid,
    )
    assert said.stdout.startswith(f"initdb (PostgreSQL) {binaries.POSTGRES_MAJOR}")


@as_root
async def test_runs_from_a_copy(folder: Path, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs where the account may not go, such as below /root, are copied to where it may, and run from there."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    site = binaries.copy_for_others(binaries._site_folder(), closed)
    monkeypatch.setattr(binaries, "_site_folder", lambda: site)
    monkeypatch.setattr(binaries, "COPIES", folder)
    await postgres.start()
    assert psutil.Process(postgres.pid).cmdline()[0].startswith(str(folder / "perdure-postgres-"))


def test_copy_is_kept_while_whole(folder: Path) -> None:
    """An equal copy is used again; one that lost a file is made anew, with nothing left beside it."""
    site = binaries._site_folder()
    copy = binaries.copy_for_others(site, folder)
    made = copy.stat().st_ino
    assert binaries.copy_for_others(site, folder).stat().st_ino == made
    (copy / binaries.INSTALL / "bin" / "postgres").unlink()
    assert (binaries.copy_for_others(site, folder) / binaries.INSTALL / "bin" / "postgres").exists()
    assert [copy] == list(folder.iterdir())


def test_foreign_copy_is_refused(folder: Path) -> None:
    """Programs put where our copy belongs by someone else are never run."""
    site = binaries._site_folder()
    copy = binaries.copy_for_others(site, folder)
    copy.chmod(0o777)
    with pytest.raises(PostgresBinariesError, match="was not made by this user"):
        binaries.copy_for_others(site, folder)
