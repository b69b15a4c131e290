"""What `perdure dev` runs: Postgres, then the server, then the worker; ended in the other order.

The children are `perdure` commands of their own. They get their settings as variables, so no secret stands in a list
of processes. Each notices by itself when this process is gone.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct

from perdure.cli.exits import CommandError, Exit
from perdure.cli.processes import on_stop_signals
from perdure.cli.server import migrate_database
from perdure.cli.service import ServiceOptions, connect
from perdure.cli.supervision.background import background
from perdure.cli.supervision.child import Child
from perdure.cli.supervision.keeper import Keeper
from perdure.cli.supervision.postgres import kept_postgres
from perdure.cli.supervision.source_files import snapshot, wait_for_change
from perdure.cli.supervision.voice import Voice
from perdure.exceptions import RPCError
from perdure_worker.process import hash_seed

HOST = "127.0.0.1"
READY_SECONDS_MAX = 30.0
ASK_EVERY_SECONDS = 0.05
WORKER_STOP_SECONDS_MAX = 15.0
SERVER_STOP_SECONDS_MAX = 15.0


class DevOptions(Struct, frozen=True, kw_only=True):
    """What the command line chose."""

    files: tuple[str, ...]
    port: int
    data_dir: Path
    task_queue: str = "default"
    namespace: str = "default"
    processes: int = 1
    api_key: str = ""
    log_level: str = "info"


class DevMachine:
    """Everything on one machine, owned by this process."""

    def __init__(self, options: DevOptions, voice: Voice) -> None:
        self._options = options
        self._voice = voice
        self._keepers: list[Keeper] = []

    async def run(self) -> None:
        """Start all, wait until asked to stop, stop all in order."""
        work = asyncio.ensure_future(self._work())
        asked = asyncio.Event()

        def stop() -> None:
            asked.set()
            self._voice.say("stopping", "stopping (Ctrl-C again ends all at once)")
            work.cancel()

        on_stop_signals(stop, self._kill)
        try:
            await work
        except asyncio.CancelledError:
            if not asked.is_set():
                raise
            self._voice.say("stopped", "stopped; your data is kept")

    async def _work(self) -> None:
        options = self._options
        with background() as self._tasks:
            async with AsyncExitStack() as stack:
                dsn = await stack.enter_async_context(kept_postgres(options.data_dir, self._voice, self._tasks))
                await migrate_database(dsn)
                port = free_port(options.port)
                environment = self._environment(dsn, port)
                alone = environment | {"PERDURE_PROCESSES": "1"}  # the option means workers
                server = await self._keep("server", ("server",), alone, stack)
                await self._until_ready(server, port)
                self._announce(port)
                if options.files:
                    worker = await self._keep("worker", ("worker", *options.files), environment, stack)
                    await self._reload(worker, environment)
                await asyncio.Event().wait()

    def _environment(self, dsn: str, port: int) -> dict[str, str]:
        options = self._options
        told = {
            "DATABASE_URL": dsn,
            "EMBEDDED": "false",
            "HOST": HOST,
            "PORT": str(port),
            "ADDRESS": f"http://{HOST}:{port}",
            "NAMESPACE": options.namespace,
            "TASK_QUEUE": options.task_queue,
            "PROCESSES": str(options.processes),
            "API_KEY": options.api_key,
            "LOG_FORMAT": "text" if self._voice.is_text else "json",
            "LOG_LEVEL": options.log_level,
        }
        # The worker would start itself anew to get its seed; supervised processes have it from the start.
        seed = os.environ.get("PYTHONHASHSEED", "random")
        seed = hash_seed(options.namespace) if seed == "random" else seed
        return {"PYTHONHASHSEED": seed} | {f"PERDURE_{name}": value for name, value in told.items()}

    async def _keep(
        self, name: str, command: tuple[str, ...], environment: dict[str, str], stack: AsyncExitStack
    ) -> Keeper:
        def start() -> asyncio.Future[Child]:
            return asyncio.ensure_future(Child.start(name, command, environment, self._voice))

        seconds_max = WORKER_STOP_SECONDS_MAX if name == "worker" else SERVER_STOP_SECONDS_MAX
        keeper = Keeper(name, start, self._voice, self._tasks)
        self._keepers.append(keeper)
        stack.push_async_callback(keeper.stop, seconds_max)
        await keeper.start()
        return keeper

    async def _until_ready(self, server: Keeper, port: int) -> None:
        """Wait until the server answers; one that refuses to start has said why."""
        options = ServiceOptions(address=f"http://{HOST}:{port}", api_key=self._options.api_key)
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                while not await is_ready(options):
                    if server.has_given_up:
                        raise CommandError(Exit.NOT_DONE, "SERVER_NOT_STARTED", "the server said above why")
                    await asyncio.sleep(ASK_EVERY_SECONDS)
        except TimeoutError:
            raise CommandError(
                Exit.NOT_DONE, "SERVER_NOT_STARTED", f"the server does not answer after {READY_SECONDS_MAX:.0f} s"
            ) from None

    def _announce(self, port: int) -> None:
        options = self._options
        address, folder = f"http://{HOST}:{port}", str(options.data_dir.resolve())
        queue = f"{', '.join(options.files)} on task queue '{options.task_queue}'"
        lines = [
            f"service   {address}/",
            f"data      {folder}",
            f"worker    {queue if options.files else 'none: start one with perdure worker FILE'}",
            "ready; Ctrl-C stops all",
        ]
        if self._voice.is_text:
            for line in lines:
                self._voice.say("ready", line)
        else:
            self._voice.say("ready", lines[-1], address=address, data_dir=folder, files=list(options.files))

    async def _reload(self, worker: Keeper, environment: dict[str, str]) -> None:
        """On each change of the code: look at it in a process of its own, and if it loads, run it."""
        files = self._options.files
        seen = snapshot(files)
        while True:
            seen = await wait_for_change(files, seen)
            checking = await Child.start("reload", ("reload-check", *files), environment, self._voice)
            try:
                status = await checking.wait()
            finally:
                checking.kill()
            if status == Exit.USAGE:
                meanwhile = "no worker runs until it does" if worker.has_given_up else "the old code goes on"
                self._voice.say("reload_refused", f"the changed code does not load: {meanwhile}")
                continue
            await worker.replace(WORKER_STOP_SECONDS_MAX)
            self._voice.say("reloaded", "the code changed: a new worker runs it")

    def _kill(self) -> None:
        for keeper in self._keepers:
            keeper.kill()


def free_port(port: int) -> int:
    """The port, or a free one for 0; a taken one is refused before anything needs it."""
    with socket.socket() as probe:
        # As the server binds: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise CommandError(
                Exit.NOT_DONE,
                "PORT_TAKEN",
                f"port {port} is in use: stop what listens there, or choose another: --port",
            ) from None
        taken: int = probe.getsockname()[1]
        return taken


async def is_ready(options: ServiceOptions) -> bool:
    """Whether the service does its work."""
    try:
        async with connect(options) as service:
            await service.ready()
            return True
    except RPCError:
        return False
