"""The processes of `perdure worker`: one that runs a worker, or a parent of several.

Each starts with a fixed hash seed derived from the namespace, so that sets of strings iterate alike wherever a
workflow is replayed; the interpreter reads the seed only at its start, so a process without it starts itself anew.
SIGTERM and SIGINT drain: the worker stops gracefully, and the parent waits for its children. A child that dies is
replaced. With `exit_with_parent` a process stops when the one that started it is gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final

from msgspec import Struct

from perdure._collector import settle_collector
from perdure.client import Client
from perdure_worker.discovery import discover
from perdure_worker.telemetry import PARENT_GONE, PROCESS_ENDED, PROCESS_STARTED, log
from perdure_worker.worker import Worker

SEED_MAX: Final = 4_294_967_295
"""The largest that PYTHONHASHSEED takes."""
PARENT_LOOK_SECONDS: Final = 0.5
RESTART_PAUSE_SECONDS: Final = 1.0
PROCESSES_MAX: Final = 256


class ProcessOptions(Struct, frozen=True, kw_only=True):
    """What `perdure worker` is told; `worker` are more options of `Worker`."""

    targets: tuple[str, ...]
    address: str = "http://127.0.0.1:7233"
    namespace: str = "default"
    api_key: str | None = None
    task_queue: str = "default"
    graceful_shutdown_timeout: timedelta = timedelta(seconds=10)
    exit_with_parent: bool = False
    worker: dict[str, Any] = {}


def run_worker_process(options: ProcessOptions) -> None:
    """Runs one worker in this process until a signal drains it. Raises what kept it from running."""
    found = discover(options.targets)
    settle_collector()

    async def main() -> None:
        async with await Client.connect(
            options.address, namespace=options.namespace, api_key=options.api_key
        ) as client:
            worker = Worker(
                client,
                task_queue=options.task_queue,
                workflows=found.workflows,
                activities=found.activities,
                graceful_shutdown_timeout=options.graceful_shutdown_timeout,
                **options.worker,
            )
            await worker.run()

    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        runner.run(until_stopped(main(), parent=os.getppid() if options.exit_with_parent else None))


async def until_stopped(running: Coroutine[Any, Any, None], *, parent: int | None) -> None:
    """Runs until it ends, or until a signal or the end of the parent cancels it, which drains it."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(running)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    watch = loop.create_task(stop_without(parent, task.cancel)) if parent is not None else None
    try:
        await asyncio.wait([task])
    finally:
        if watch is not None:
            watch.cancel()
    if not task.cancelled():
        task.result()


async def stop_without(parent: int, stop: Callable[[], object]) -> None:
    """Looks from time to time whether the parent is still there."""
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells of it on every system
        await asyncio.sleep(PARENT_LOOK_SECONDS)
    log.info(PARENT_GONE, parent=parent)
    stop()


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop of uvloop where it is installed, asyncio's own elsewhere."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return uvloop.new_event_loop


# ---- the hash seed -------------------------------------------------------------------------------------------------


def hash_seed(namespace: str) -> str:
    """The seed of a namespace: the same for all its workers, and not 0, which invites floods of collisions.

    >>> hash_seed("default") == hash_seed("default") != hash_seed("other")
    True
    """
    number = int.from_bytes(hashlib.sha256(namespace.encode()).digest()[:4])
    return str(max(1, min(number, SEED_MAX)))


def ensure_hash_seed(namespace: str) -> None:
    """Starts this process anew, with the same arguments, unless it has a fixed seed already."""
    if os.environ.get("PYTHONHASHSEED", "random") != "random":
        return
    os.environ["PYTHONHASHSEED"] = hash_seed(namespace)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - itself


# ---- several processes ---------------------------------------------------------------------------------------------


async def supervise(command: list[str], processes: int) -> None:
    """Keeps so many children running, and replaces those that die; cancelled, it drains them."""
    if not 1 <= processes <= PROCESSES_MAX:
        raise ValueError(f"the number of processes must be between 1 and {PROCESSES_MAX}, not {processes}")
    async with asyncio.TaskGroup() as group:
        for number in range(processes):
            group.create_task(keep_running(command, number))


async def keep_running(command: list[str], number: int) -> None:
    """One child after the other."""
    while True:
        child = await asyncio.create_subprocess_exec(*command)
        log.info(PROCESS_STARTED, number=number, pid=child.pid)
        try:
            status = await child.wait()
        except asyncio.CancelledError:
            await drain(child)
            raise
        log.warning(PROCESS_ENDED, number=number, pid=child.pid, status=status)
        await asyncio.sleep(RESTART_PAUSE_SECONDS)


async def drain(child: asyncio.subprocess.Process) -> None:
    """Asks a child to stop and waits for it."""
    if child.returncode is None:
        child.terminate()
    await child.wait()


def run_supervisor(command: list[str], processes: int) -> None:
    """Runs the parent until a signal drains it; `command` starts one worker with `--exit-with-parent`."""
    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        runner.run(until_stopped(supervise(command, processes), parent=None))
