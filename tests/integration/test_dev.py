"""`perdure dev` with real processes: it starts everything, ends everything, and leaves nothing behind."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from perdure.cli.exits import Exit
from perdure.cli.processes import INTERRUPTED
from tests.postgres import scratch_folder

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the embedded Postgres runs on Linux and macOS"),
    pytest.mark.timeout(120),
]

SECONDS_MAX = 40.0
GONE_SECONDS_MAX = 20.0

HELLO = """
from datetime import timedelta
from perdure import activity, workflow

@activity.defn(start_to_close_timeout=timedelta(seconds=10))
async def greet(name: str) -> str:
    return f"Hello, {name}!"

@workflow.defn
async def hello(name: str) -> str:
    return await greet(name)
"""


class Dev:
    """A running `perdure dev`, alone in its group as a shell would start it, and what it says."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "perdure.cli", "dev", "hello.py", *words],
            cwd=folder,
            env={**os.environ, "XDG_CONFIG_HOME": str(folder), "PERDURE_LOG_FORMAT": "json"},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._said: queue.Queue[str | None] = queue.Queue()
        self.heard: list[dict[str, Any]] = []
        self.address = ""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._said.put(line)
        self._said.put(None)

    def until(self, *events: str, **keys: object) -> dict[str, Any]:
        """Wait for one of the events, with these keys."""
        while (line := self._said.get(timeout=SECONDS_MAX)) is not None:
            told = json.loads(line) if line.startswith("{") else {"event": line}
            self.heard.append(told)
            if told["event"] in events and keys.items() <= told.items():
                return told
        raise AssertionError(f"no {events} {keys} was said: {self.heard}")

    def close(self) -> None:
        """Stop listening; the process has ended, and so have all that could write."""
        self.process.wait()
        self._listener.join(SECONDS_MAX)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def interrupt(self) -> None:
        """Ctrl-C: the terminal tells the whole group in the foreground."""
        os.killpg(self.process.pid, signal.SIGINT)

    def worker(self) -> psutil.Process:
        return next(process for process in self.descendants() if "worker" in process.cmdline())

    def reloaded(self) -> None:
        """Wait until the new code runs: the older worker is gone and the newer has loaded it, in either order."""
        missing = {"reloaded", "worker_started"}
        while missing:
            missing.discard(self.until(*missing)["event"])

    def perdure(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command beside it."""
        return subprocess.run(
            [sys.executable, "-m", "perdure.cli", *words],
            cwd=self.folder,
            env={**os.environ, "XDG_CONFIG_HOME": str(self.folder), "PERDURE_LOG_FORMAT": "json"},
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )


@contextmanager
def running(*words: str) -> Iterator[Dev]:
    """A `perdure dev` that is ready; whatever happens, nothing of it stays."""
    with scratch_folder() as folder:
        (folder / "hello.py").write_text(HELLO)
        dev = Dev(folder, "--port", "0", *words)
        family: list[psutil.Process] = []
        try:
            dev.address = dev.until("ready")["address"]
            dev.until("worker_started")
            family = dev.descendants()
            yield dev
        finally:
            if dev.process.poll() is None:
                family = dev.descendants()
                dev.process.kill()
            dev.process.wait()
            alive = psutil.wait_procs(family, GONE_SECONDS_MAX)[1]
            for process in alive:
                process.kill()
            dev.close()


def still_there(family: list[psutil.Process]) -> list[psutil.Process]:
    """Those that are still there after some seconds."""
    return [p for p in psutil.wait_procs(family, GONE_SECONDS_MAX)[1] if p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def shared() -> Iterator[Dev]:
    """One `perdure dev` for the tests that leave it running."""
    with running() as dev:
        yield dev


def test_a_workflow_runs(shared: Dev) -> None:
    """What a newcomer types prints the greeting."""
    words = ("workflow", "execute", "hello", "--input", '"Ada"', "--address", shared.address)
    done = shared.perdure(*words)
    assert (Exit.DONE, '"Hello, Ada!"\n', "") == (done.returncode, done.stdout, done.stderr)


def test_a_dead_worker_is_started_again(shared: Dev) -> None:
    """A child that is killed is said and replaced."""
    shared.worker().kill()
    assert -signal.SIGKILL == shared.until("child_ended", child="worker")["status"]
    shared.until("child_restarted", child="worker")
    shared.until("worker_started")


def test_changed_code_is_reloaded(shared: Dev) -> None:
    """A new worker runs the new code."""
    older = shared.worker()
    (shared.folder / "hello.py").write_text(HELLO + "changed = True\n")
    shared.reloaded()
    assert [] == still_there([older])


def test_changed_code_that_does_not_load_changes_nothing(shared: Dev) -> None:
    """The worker with the old code goes on."""
    older = shared.worker()
    (shared.folder / "hello.py").write_text("def (")
    shared.until("reload_refused")
    assert older == shared.worker()
    (shared.folder / "hello.py").write_text(HELLO)
    shared.reloaded()


def test_a_second_one_on_the_same_folder_is_refused(shared: Dev) -> None:
    """One line names the folder and who has it."""
    done = shared.perdure("dev", "--port", "0")
    assert (Exit.NOT_DONE, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert done.stderr.startswith("error: DATA_DIR_IN_USE: ")
    assert f"process {shared.process.pid}" in done.stderr


def test_a_taken_port_is_refused(shared: Dev) -> None:
    """One line names the port and the option, and nothing stays behind."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = shared.perdure("dev", "--port", str(port), "--data-dir", "./other")
    assert (Exit.NOT_DONE, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert f"port {port} is in use" in done.stderr


def test_an_unusable_folder_is_refused(shared: Dev) -> None:
    """One line names the folder."""
    (shared.folder / "file").write_text("")
    done = shared.perdure("dev", "--port", "0", "--data-dir", "./file/data")
    assert (Exit.NOT_DONE, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert done.stderr.startswith("error: DATA_DIR_UNUSABLE: ")


def test_ctrl_c_ends_all_in_order() -> None:
    """Worker, then server, then Postgres; the command ends well."""
    with running() as dev:
        family = dev.descendants()
        dev.interrupt()
        dev.until("stopping")
        for child in ("worker", "server", "postgres"):
            assert child == dev.until("child_stopped")["child"]
        dev.until("stopped")
        assert (Exit.DONE, []) == (dev.process.wait(SECONDS_MAX), still_there(family))


def test_ctrl_c_twice_ends_all_at_once() -> None:
    """The second one waits for nobody."""
    with running() as dev:
        family = dev.descendants()
        for process in family:
            if "worker" in process.cmdline():
                process.suspend()  # it cannot stop by itself
        dev.interrupt()
        dev.until("stopping")
        dev.interrupt()
        assert (INTERRUPTED, []) == (dev.process.wait(SECONDS_MAX), still_there(family))


def test_kill_leaves_no_orphan() -> None:
    """Every descendant notices within seconds that `dev` is gone."""
    with running() as dev:
        family = dev.descendants()
        assert {"server", "worker"} <= {word for process in family for word in process.cmdline()}
        dev.process.kill()
        assert [] == still_there(family)
