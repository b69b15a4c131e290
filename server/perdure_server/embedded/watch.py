"""The watcher between perdure and its Postgres: it starts Postgres, and stops it when its standard input ends. The
other end is held by perdure alone, so the kernel closes it however perdure ends, kill -9 included. Run by path with
the standard library only, so it starts in a few milliseconds. It exits with the status of Postgres.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from types import FrameType

PARENT_POLL_SECONDS = 1.0  # a forked child of perdure may hold the pipe open: then only the parent's pid tells
IMMEDIATE_SECONDS_MAX = 5.0
PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Arguments: log file, uid and gid (or '-' to stay who we are), seconds for a fast shutdown, the command."""
    log_file, uid, gid, fast_seconds, *command = arguments
    wake = _wake_on_signals()
    parent = os.getppid()
    try:
        postgres = _spawn(command, log_file, uid, gid)
    except OSError as error:
        os.write(1, f"error {error}\n".encode())
        return 1
    try:
        # perdure may be gone already; then standard input says so below.
        with contextlib.suppress(BrokenPipeError):
            os.write(1, f"pid {postgres.pid}\n".encode())
        _wait(postgres, parent, wake)
    finally:
        _end(postgres, float(fast_seconds))
    return postgres.returncode if postgres.returncode >= 0 else 128 - postgres.returncode


def _spawn(command: list[str], log_file: str, uid: str, gid: str) -> subprocess.Popen[bytes]:
    os.umask(0o077)
    with open(log_file, "ab") as log:  # noqa: PTH123 - pathlib would double the time this takes to start
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            user=None if uid == "-" else int(uid),
            group=None if gid == "-" else int(gid),
            extra_groups=None if uid == "-" else [],
            start_new_session=True,
            preexec_fn=_end_with_watcher(),  # noqa: PLW1509 - this process has one thread
        )


def _end_with_watcher() -> Callable[[], None] | None:
    """On Linux the kernel itself tells Postgres (fast shutdown) if the watcher is killed."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    watcher = os.getpid()

    def in_child() -> None:
        # Runs after the change of user, which would have cleared it.
        prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != watcher:
            os._exit(1)

    return in_child


def _wait(postgres: subprocess.Popen[bytes], parent: int, wake: int) -> None:
    """Return when Postgres has ended, or when it must."""
    while postgres.poll() is None and os.getppid() == parent and not _stop_requested:
        readable, _, _ = select.select([0, wake], [], [], PARENT_POLL_SECONDS)
        if 0 in readable:
            return
        if wake in readable:
            os.read(wake, 4096)


def _end(postgres: subprocess.Popen[bytes], fast_seconds: float) -> None:
    """Fast shutdown, then immediate, then none at all; each step bounded."""
    steps = ((signal.SIGINT, fast_seconds), (signal.SIGQUIT, IMMEDIATE_SECONDS_MAX), (signal.SIGKILL, None))
    for number, seconds in steps:
        if postgres.poll() is not None:
            return
        postgres.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            postgres.wait(seconds)


_stop_requested: list[int] = []


def _request_stop(number: int, _frame: FrameType | None) -> None:
    _stop_requested.append(number)


def _wake_on_signals() -> int:
    """Make SIGCHLD, and the signals that ask us to end, readable on the descriptor returned."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _request_stop)
    return readable


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
