"""One history server process: waits for Postgres, joins the cluster, serves, and leaves without losing anything.

The composition root of the server: the only place that knows every part.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Literal, TypeVar, cast

import asyncpg
import structlog

from perdure_proto.errors import Code, ServiceError
from perdure_server.cluster.options import OwnershipOptions
from perdure_server.cluster.ownership import Ownership
from perdure_server.cluster.view import ClusterView
from perdure_server.config import ServerSettings
from perdure_server.engine.api import EngineApi, real_times
from perdure_server.engine.commit_backlog import CommitBacklog
from perdure_server.engine.committer import Committer
from perdure_server.frontend.app import Frontend, FrontendOptions
from perdure_server.frontend.neighbours import PermitNeighbours
from perdure_server.frontend.peers import Peers
from perdure_server.frontend.port import Api, Readiness
from perdure_server.rates.requests import RequestRates
from perdure_server.rates.rounds import Rounds, RoundsOptions
from perdure_server.rates.sources import limited_here
from perdure_server.store.connections import LOST, connect
from perdure_server.store.migrate import check_schema
from perdure_server.store.port import StoreUnavailableError
from perdure_server.store.postgres import PostgresStore

log = structlog.get_logger()

Read = TypeVar("Read")

_RETRY_SECONDS_MAX = 2.0
_RETRY_SECONDS_MIN = 0.1


class Gate:
    """What the HTTP edge calls: the engine while this server is a member, a retryable refusal before and after."""

    def __init__(self) -> None:
        self.api: EngineApi | None = None
        self.state = Readiness(state="waiting for database")

    def readiness(self) -> Readiness:
        """Whether the server can do its work."""
        return self.state

    def __getattr__(self, name: str) -> object:
        if self.api is None:
            reason = f": {self.state.reason}" if self.state.reason else ""
            raise ServiceError(Code.UNAVAILABLE, f"the server is not ready, {self.state.state}{reason}")
        return getattr(self.api, name)


class Server:
    """One history server. `await run()` until cancelled; cancelling drains."""

    def __init__(self, settings: ServerSettings, version: str = "0.1.0") -> None:
        self._settings = settings
        self._version = version
        self._gate = Gate()
        self._times = real_times()
        self._cluster = ClusterView(settings.name)
        self._peers: Peers | None = None
        self._request_rates = RequestRates(time.monotonic, time.time)
        self._backlog = CommitBacklog()
        options = FrontendOptions(
            server_version=version, cluster=self._cluster, rates=self._request_rates, backlog=self._backlog
        )
        self._frontend = Frontend(cast("Api", self._gate), self._gate, settings, options)
        self.started = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._frontend.port

    async def run(self) -> None:
        """Listens at once, serves as soon as Postgres is there and the cluster is joined, drains when cancelled."""
        await self._frontend.start()
        log.info("listening", host=self._settings.host, port=self.port, server=self._settings.name)
        try:
            async with await self._connect() as store:
                while True:
                    await self._join_and_serve(store)
        finally:
            await self._frontend.close()

    async def _connect(self) -> PostgresStore:
        """Waits for Postgres, and refuses a schema that this version does not fit."""
        pause = _RETRY_SECONDS_MIN
        while True:
            try:
                await self._check_schema()
                return await PostgresStore.open(self._settings.database_url, group_id=self._settings.group_id)
            except (StoreUnavailableError, OSError, TimeoutError) as error:
                self._say(Readiness(state="waiting for database", reason=str(error) or type(error).__name__))
            await asyncio.sleep(pause)
            pause = min(pause * 2, _RETRY_SECONDS_MAX)

    async def _check_schema(self) -> None:
        connection = await connect(self._settings.database_url)
        try:
            await check_schema(connection)
        except (*LOST, asyncpg.OperatorInterventionError) as error:  # it went away while it was asked
            raise StoreUnavailableError(str(error) or type(error).__name__) from error
        finally:
            connection.terminate()

    async def _join_and_serve(self, store: PostgresStore) -> None:
        """Serves until the fence is lost (then it joins again) or until cancelled."""
        self._say(Readiness(state="waiting for ownership"))
        lost = asyncio.Event()
        ownership = await self._acquire(store, lost)
        self._cluster.map = ownership.map
        try:
            async with self._met(store) as peers:
                await self._serve(store, ownership, peers, lost)
        finally:
            self._gate.api = None
            self._cluster.map = None
            await asyncio.shield(ownership.close())
            self._cluster.is_cut_off = False

    @asynccontextmanager
    async def _met(self, store: PostgresStore) -> AsyncGenerator[Peers]:
        """The other servers, as long as this one is of the cluster."""
        key = (await self._until_there(partial(store.secrets, "cluster")))[0].secret
        peers = self._peers = Peers(self._cluster, key=key, api_key=self._settings.api_key)
        self._frontend.meet(peers, key)
        try:
            yield peers
        finally:
            self._peers = None
            await peers.close()

    async def _acquire(self, store: PostgresStore, lost: asyncio.Event) -> Ownership:
        settings = self._settings
        options = OwnershipOptions(
            server=settings.name,
            address=settings.advertised_address or address_of(settings.host, self.port),
            version=self._version,
            shards=settings.shards,
            heartbeat_every=settings.heartbeat_every,
            lease=settings.lease,
            on_waiting=lambda reason: self._say(Readiness(state="waiting for ownership", reason=reason)),
            on_lost=lambda _: lost.set(),
            on_away=self._while_serving("waiting for database"),
            on_back=self._while_serving("ready"),
            on_given=self._nudge,
            on_clock_moved=self._wait_anew,
            on_cut_off=self._cut_off,
            wall_clock=self._times.wall,
        )
        while True:
            try:
                return await Ownership.acquire(store, options)
            except StoreUnavailableError as error:
                self._say(Readiness(state="waiting for database", reason=str(error)))
                await asyncio.sleep(_RETRY_SECONDS_MIN)

    async def _serve(self, store: PostgresStore, ownership: Ownership, peers: Peers, lost: asyncio.Event) -> None:
        settings = self._settings
        committer = Committer(store, ownership, settings.engine, lambda _: lost.set())
        committer.backlog = self._backlog
        api = EngineApi(store, committer, self._times, settings, peers)
        api.engine.clock_offset = partial(getattr, ownership, "clock_offset")  # no frame: it is asked all the time
        api.engine.address_of = self._cluster.address_of
        rates = self._rates(api)
        api.engine.permits.homes.neighbours = PermitNeighbours(settings.name, self._cluster, self._frontend.others)
        tasks = [asyncio.create_task(committer.run(), name="committer")]
        try:
            api.engine.residents.learn(await self._until_there(store.namespaces))
            self._gate.api = api  # what requests name is loaded first; recovery finds the rest
            tasks.append(asyncio.create_task(api.upkeep.run(), name="upkeep"))
            tasks.append(asyncio.create_task(ownership.run(api), name="ownership"))
            tasks.append(asyncio.create_task(rates.run(), name="rates"))
            self._say(Readiness(state="ready"))
            await self._until_over(lost, *tasks)
        except asyncio.CancelledError:
            await asyncio.shield(self._drain(ownership, api, committer))
            raise
        finally:
            await _stop(*tasks)
            await api.close()

    def _rates(self, api: EngineApi) -> Rounds:
        """How rates are shared with the others, from now on."""
        options = RoundsOptions(
            server=self._settings.name,
            limited=lambda: limited_here(api.matching, self._request_rates),
            look_again=api.look_at_namespaces,
            clock=time.monotonic,
            patience=2 * self._settings.lease.total_seconds(),
        )
        rates = api.rates = Rounds(self._frontend.others, options)
        api.matching.sharing.with_others(lambda: rates.is_alone, rates.look)
        self._request_rates.with_others(lambda: rates.is_alone, rates.look)
        api.engine.residents.namespaces.on_learnt = self._request_rates.learn
        return rates

    async def _until_there(self, read: Callable[[], Awaitable[Read]]) -> Read:
        """What Postgres says, as soon as it can be asked."""
        while True:
            try:
                return await read()
            except StoreUnavailableError as error:
                self._say(Readiness(state="waiting for database", reason=str(error)))
                await asyncio.sleep(_RETRY_SECONDS_MIN)

    async def _until_over(self, lost: asyncio.Event, *tasks: asyncio.Task[None]) -> None:
        """Returns when the fence is lost; raises what a task of ours died of."""
        waiting = asyncio.create_task(lost.wait())
        try:
            done, _ = await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task is not waiting:
                    task.result()
        finally:
            waiting.cancel()

    async def _drain(self, ownership: Ownership, api: EngineApi, committer: Committer) -> None:
        """Law of SIGTERM: no request fails. The shards are given away, polls are answered, commits land."""
        self._say(Readiness(state="draining"))
        has_heirs = self._has_others()
        with suppress(ServiceError, TimeoutError):
            async with asyncio.timeout(self._settings.drain.total_seconds()):
                if has_heirs:  # while requests still come: they are passed on
                    await ownership.leave(api)
                await self._frontend.drain()
                await api.matching.close()
                if not has_heirs:
                    await committer.drain()
                    await ownership.leave(api)

    def _nudge(self, servers: Collection[str]) -> None:
        """These had better look at once; who cannot be told yet looks at its next heartbeat."""
        if self._peers is not None:
            self._peers.nudge(servers)

    def _cut_off(self, is_cut_off: bool) -> None:  # noqa: FBT001 - as the cluster says it
        """While nobody else is there to take over, requests go on waiting for Postgres."""
        self._cluster.is_cut_off = is_cut_off and self._has_others()
        if self._cluster.is_cut_off:
            log.warning("cut_off", server=self._settings.name)
            self._frontend.give_up()

    def _wait_anew(self) -> None:
        if self._gate.api is not None:
            self._gate.api.engine.timers.clock_moved()

    def _has_others(self) -> bool:
        """Whether somebody is there to take the shards while requests still come."""
        members = self._cluster.answer().members
        return any(not each.leaving and each.server != self._settings.name for each in members)

    def _while_serving(self, state: Literal["waiting for database", "ready"]) -> Callable[[str], None]:
        """Says that Postgres went away or is back; requests wait for it meanwhile, as long as their callers do."""

        def say(reason: str) -> None:
            if self._gate.api is not None and not self._frontend.draining:
                self._say(Readiness(state=state, reason=reason))

        return say

    def _say(self, state: Readiness) -> None:
        if state != self._gate.state:
            log.info("server_state", state=state.state, reason=state.reason)
        self._gate.state = state
        if state.state == "ready":
            self.started.set()
        else:
            self.started.clear()


def address_of(host: str, port: int) -> str:
    """Where others reach a server that was not told; one that listens on all addresses has the name of its machine."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not listened on
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _stop(*tasks: asyncio.Task[None] | None) -> None:
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
