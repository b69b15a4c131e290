"""The sides of a comparison: real servers, a real worker and a client in this process, over HTTP. They differ in where
the log is kept, in what is kept in memory, and in how many servers there are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Final, cast

from msgspec import Struct

from perdure import Client
from perdure_server.config import EngineSettings, ServerSettings
from perdure_server.engine.api import EngineApi, real_times
from perdure_server.engine.committer import Committer
from perdure_server.frontend.app import Frontend
from perdure_server.frontend.port import Readiness
from perdure_server.server import Server
from perdure_server.store.model import ModelStore
from perdure_server.store.port import Fence
from perdure_worker import Worker
from tests.integration.faults.sharing import until_shared
from tests.postgres import fresh_database
from tests.simulation.program import program, work

SHARDS: Final = 24
READY_SECONDS_MAX: Final = 20.0
CACHED: Final = 1_000
SWEEPS: Final = 3

SHORT: Final = timedelta(milliseconds=15)
NOTHING_KEPT: Final = EngineSettings(
    cached_executions_max=0,
    idle_after=SHORT,
    evict_after=timedelta(0),
    snapshot_events=3,
    look_ahead=timedelta(milliseconds=60),
    scan_every=timedelta(milliseconds=30),
    history_page_rows=5,
    load_page=2,
)
"""A run leaves memory as soon as nothing runs in it, with a snapshot every few events, and is read back in pages."""


class Side(Struct, frozen=True, kw_only=True):
    """How one side differs from the ordinary: a server on Postgres that keeps in memory what it can."""

    name: str
    model: bool = False
    servers: int = 1
    keeps: bool = True


ORDINARY: Final = Side(name="postgres")
MODEL: Final = Side(name="model store", model=True)
UNCACHED: Final = Side(name="no caches", keeps=False)
MODEL_UNCACHED: Final = Side(name="model store, no caches", model=True, keeps=False)
THREE: Final = Side(name="three servers", servers=3)
OTHERS: Final = (MODEL, UNCACHED, THREE)
EVERY: Final = {side.name: side for side in (ORDINARY, MODEL, UNCACHED, MODEL_UNCACHED, THREE)}


class Place(Struct, frozen=True):
    """Where plans are carried out."""

    client: Client
    engines: list[EngineApi]
    keeps: bool = True

    async def forget(self) -> None:
        """Where nothing is kept, what is at rest leaves memory now: once settled, with a snapshot, without a trace."""
        for api in self.engines if not self.keeps else ():
            engine = api.engine
            for _ in range(SWEEPS):
                for runs in (engine.touched, engine.idle):
                    for run_id in runs:
                        runs[run_id] = 0.0
                api.upkeep.sweep()
                await engine.committer.drain()


@asynccontextmanager
async def place_of(side: Side, postgres: str, template: str, store: Any = None) -> AsyncIterator[Place]:
    """A side that is ready. `store` takes the place of the model's own."""
    engine = EngineSettings() if side.keeps else NOTHING_KEPT
    async with AsyncExitStack() as stack:
        engines: list[EngineApi] = []
        if side.model:
            address = await stack.enter_async_context(_on_model(store or ModelStore(), engine, engines))
        else:
            dsn = await stack.enter_async_context(fresh_database(postgres, template=template))
            address = await stack.enter_async_context(_on_postgres(dsn, side.servers, engine, engines))
        client = await stack.enter_async_context(await Client.connect(address))
        worker = Worker(
            client,
            workflows=[program],
            activities=[work],
            identity="worker",
            max_cached_workflows=CACHED if side.keeps else 0,
        )
        await stack.enter_async_context(worker)
        yield Place(client, engines, side.keeps)


@asynccontextmanager
async def _on_postgres(dsn: str, count: int, engine: EngineSettings, engines: list[EngineApi]) -> AsyncIterator[str]:
    """Servers on one database; they have come to share the work."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(_served(dsn, number, engine)) for number in range(count)]
        if count > 1:
            await until_shared(cast(Any, servers))  # it asks for names and addresses alone
        engines.extend(served.server._gate.api for served in servers if served.server._gate.api is not None)
        yield servers[0].address


class Served(Struct, frozen=True):
    """A server that listens."""

    name: str
    address: str
    server: Server


@asynccontextmanager
async def _served(dsn: str, number: int, engine: EngineSettings) -> AsyncIterator[Served]:
    name = f"server-{number}"
    settings = ServerSettings(
        name=name,
        database_url=dsn,
        port=0,
        shards=SHARDS,
        heartbeat_every=timedelta(milliseconds=300),
        lease=timedelta(seconds=30),
        drain=timedelta(seconds=5),
        engine=engine,
    )
    server = Server(settings)
    running = asyncio.create_task(server.run())
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            await server.started.wait()
        yield Served(name, f"http://127.0.0.1:{server.port}", server)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


class _Ready:
    def readiness(self) -> Readiness:
        return Readiness(state="ready")


class _Owner:
    """Whoever holds the fence, without heartbeats: there is nobody else."""

    def __init__(self, store: ModelStore, fence: Fence) -> None:
        self._store = store
        self.fence = fence

    async def raise_epoch(self) -> Fence:
        self.fence = await self._store.raise_epoch(self.fence)
        return self.fence


@asynccontextmanager
async def _on_model(store: ModelStore, engine: EngineSettings, engines: list[EngineApi]) -> AsyncIterator[str]:
    """What `perdure_server.server` puts together, without membership: the store is this process's own."""
    settings = ServerSettings(name="server-0", port=0, shards=SHARDS, drain=timedelta(seconds=5), engine=engine)
    owner = _Owner(store, await store.take_fence(settings.name))
    lost = asyncio.Event()
    committer = Committer(store, owner, engine, lambda _: lost.set())
    api = EngineApi(store, committer, real_times(), settings)
    frontend = Frontend(api, _Ready(), settings)
    api.engine.residents.learn(await store.namespaces())
    api.gain(range(SHARDS))
    tasks = [asyncio.create_task(committer.run()), asyncio.create_task(api.upkeep.run())]
    await frontend.start()
    engines.append(api)
    try:
        yield f"http://127.0.0.1:{frontend.port}"
    finally:
        await frontend.drain()
        await api.matching.close()
        await committer.drain()
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await api.close()
        await frontend.close()
    assert not lost.is_set(), "the fence was lost"
    assert all(isinstance(error, asyncio.CancelledError) for error in ended), ended
