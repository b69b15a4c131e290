"""A history server of the world: the real engine, committer, matching, upkeep and API, without HTTP and Postgres.

It goes through the stages of `perdure_server.server`: it stands by, owns, serves until its fence is lost, stands by
again. Its process may be killed or stopped at any step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from perdure_proto import PROTOCOL_VERSION
from perdure_proto.codec import encoder
from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import VersionAnswer
from perdure_server.config import ServerSettings
from perdure_server.engine.api import EngineApi
from perdure_server.engine.committer import Committer
from perdure_server.frontend.asked import Asked
from perdure_server.frontend.handlers import Desk
from perdure_server.frontend.operations import Operations
from perdure_server.frontend.port import Api, Whole
from perdure_server.frontend.refusals import refusal
from perdure_server.matching.port import Times
from perdure_server.store.port import Store, StoreUnavailableError
from tests.simulation.chance import wall
from tests.simulation.hosts import Host
from tests.simulation.loop import SimulatedLoop
from tests.simulation.membership import Members, Ownership
from tests.simulation.network import Answer
from tests.simulation.store import StoreOfHost
from tests.simulation.trace import Trace

Alter = Callable[[EngineApi], None]
TICKS: Final = 3


class Gate:
    """The engine while this server owns the shards; a retryable refusal otherwise."""

    def __init__(self) -> None:
        self.api: EngineApi | None = None

    def __getattr__(self, name: str) -> object:
        if self.api is None:
            raise ServiceError(Code.UNAVAILABLE, "the server is not ready")
        return getattr(self.api, name)


class SimulatedServer:
    """One process of a server."""

    def __init__(self, host: Host, store: StoreOfHost, settings: ServerSettings, loop: SimulatedLoop) -> None:
        self.host = host
        self.store = store
        self.gate = Gate()
        self._settings = settings
        self._loop = loop
        version = VersionAnswer(
            server_version="0",
            protocol_version=PROTOCOL_VERSION,
            protocol_version_min=PROTOCOL_VERSION,
            server_id=host.name,
        )
        self._operations = Operations(Desk(cast(Api, self.gate), settings.limits, version, Whole()))

    async def run(self, members: Members, trace: Trace) -> None:
        """The life of the process."""
        while True:
            ownership = Ownership(members, self.store, self._settings.name, self._loop)
            await ownership.acquire()
            trace.note(self.host.name, "owns", ownership.fence.epoch)
            await self._serve(ownership)
            trace.note(self.host.name, "lost its fence")

    async def serve(self, method: str, target: str, body: bytes) -> Answer:
        """One request."""
        try:
            endpoint, names = self._operations.find(method, target)
            return 200, await self._operations.run(Asked(endpoint, names, target, body))
        except Exception as error:  # noqa: BLE001 - it belongs to the request
            found = refusal(error, method, target)
            if found.code == Code.INTERNAL:
                self._loop.call_exception_handler({"message": f"{method} {target}", "exception": error})
            return found.status, encoder.encode(found.body())

    async def _serve(self, ownership: Ownership) -> None:
        store, settings = cast(Store, self.store), self._settings
        committer = Committer(store, ownership, settings.engine, lambda _: ownership.lost.set())
        times = Times(clock=self._loop.time, wall=wall, wake=_wake)
        api = EngineApi(store, committer, times, settings)
        api.engine.clock_offset = lambda: ownership.clock_offset
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(committer.run()), asyncio.create_task(ownership.keep())]
        try:
            api.engine.residents.learn(await _patiently(store.namespaces))
            api.gain(range(settings.shards))
            self.gate.api = api
            tasks.append(asyncio.create_task(api.upkeep.run()))
            await asyncio.wait([asyncio.create_task(ownership.lost.wait()), *tasks[::2]], return_when="FIRST_COMPLETED")
        finally:
            self.gate.api = None
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            await api.close()
        for error in ended:
            if isinstance(error, Exception):
                raise error


async def _wake(seconds: float) -> None:
    """The tick of matching's sweeper, a third as often: in most of them there is nothing to sweep."""
    await asyncio.sleep(TICKS * seconds)


async def _patiently(ask: Callable[[], Any]) -> Any:
    while True:
        try:
            return await ask()
        except StoreUnavailableError:
            await asyncio.sleep(0.1)
