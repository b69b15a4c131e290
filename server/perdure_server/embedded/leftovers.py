"""What a server killed without warning leaves in and around its data folder: processes that may still write to it,
and a postmaster.pid whose number may since belong to anyone. Called with the folder's lock held, so whatever still
runs here has no owner. Processes are told by the tag in their titles: reading another user's working folder takes
more rights than root has in a container.
"""

import contextlib
import hashlib
import signal
from collections.abc import Iterable
from pathlib import Path

import psutil

from perdure_server.embedded.errors import DataDirInUseError
from perdure_server.embedded.settings import FAST_SHUTDOWN_SECONDS_MAX, IMMEDIATE_SHUTDOWN_SECONDS_MAX


def cluster_tag(pgdata: Path) -> str:
    """Return the `cluster_name`, which Postgres shows in the title of each of its processes."""
    status = pgdata.stat()
    return f"perdure-{hashlib.sha256(f'{status.st_dev}:{status.st_ino}'.encode()).hexdigest()[:16]}"


def end_leftovers(pgdata: Path) -> None:
    """End every process of a predecessor and drop a postmaster.pid that would mislead Postgres."""
    pid_file = pgdata / "postmaster.pid"
    if not pid_file.exists():
        return
    recorded = read_postmaster_pid(pgdata)
    running = find_processes(pgdata)
    postmaster = [process for process in running if process.pid == recorded]
    if postmaster:
        _signal(postmaster, signal.SIGINT)
        psutil.wait_procs(postmaster, FAST_SHUTDOWN_SECONDS_MAX)
    # Backends whose postmaster is gone: their shared memory is lost, what they acknowledged is in the log.
    for number in (signal.SIGQUIT, signal.SIGKILL):
        running = find_processes(pgdata)
        _signal(running, number)
        psutil.wait_procs(running, IMMEDIATE_SHUTDOWN_SECONDS_MAX)
    if find_processes(pgdata):
        raise DataDirInUseError(f"processes of an earlier PostgreSQL on {pgdata} do not end: end them and start again")
    # Postgres takes any living process with the recorded number for its predecessor. If the number is free the file
    # stays: Postgres then checks by it that nobody is attached to the old shared memory.
    if recorded is not None and psutil.pid_exists(recorded):
        pid_file.unlink(missing_ok=True)


def find_processes(pgdata: Path) -> list[psutil.Process]:
    tag = cluster_tag(pgdata)
    owner = pgdata.stat().st_uid
    return [process for process in psutil.process_iter() if _belongs(process, tag, owner)]


def read_postmaster_pid(pgdata: Path) -> int | None:
    lines = _read_lines(pgdata)
    return int(lines[0]) if lines and lines[0].isdecimal() else None


def is_ready(pgdata: Path, pid: int) -> bool:
    """Whether this very postmaster accepts connections, by the line that pg_ctl waits for."""
    lines = _read_lines(pgdata)
    return len(lines) >= STATUS_LINE and lines[0] == str(pid) and lines[STATUS_LINE - 1].strip() == "ready"


STATUS_LINE = 8  # of postmaster.pid


def _read_lines(pgdata: Path) -> list[str]:
    try:
        return (pgdata / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _belongs(process: psutil.Process, tag: str, owner: int) -> bool:
    try:
        words = process.cmdline()
        named = bool(words) and (words[0].startswith("postgres: ") or Path(words[0]).name == "postgres")
        return named and tag in " ".join(words) and process.uids().real == owner
    except psutil.Error:  # gone, a zombie, or not ours to see
        return False


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
