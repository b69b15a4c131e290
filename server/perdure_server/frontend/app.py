"""The HTTP server: one application that guards, finds the endpoint, decodes, asks, encodes.

Requests come one by one, or many over one connection (`channel`). At SIGTERM `drain` ends the waiting: every long poll
is answered with what is known, connections close after their answer, and no request fails. It must not know what an
operation does.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler as WebHandler
from msgspec import Struct

from perdure_proto import PROTOCOL_VERSION
from perdure_proto.channel import CHANNEL_PATH, SHARD_MAP_HEADER
from perdure_proto.codec import encoder
from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import VersionAnswer
from perdure_server.config import ServerSettings
from perdure_server.frontend.admission import Admission
from perdure_server.frontend.answers import as_service_error, error_answer, json_answer, passed_answer
from perdure_server.frontend.asked import Asked
from perdure_server.frontend.bodies import read_body, size_of
from perdure_server.frontend.broken_http import http_logger
from perdure_server.frontend.channel import Channel, ChannelParts
from perdure_server.frontend.forwarding import Forwarding, is_elsewhere
from perdure_server.frontend.guard import OPEN_PATHS, RESUME_PREFIX, Guard
from perdure_server.frontend.handlers import Desk
from perdure_server.frontend.internal import Internal
from perdure_server.frontend.late import KEEP_ALIVE_HEADER, kept_alive
from perdure_server.frontend.listening import Doorway
from perdure_server.frontend.openapi import document
from perdure_server.frontend.operations import Operations
from perdure_server.frontend.others import NAMESPACES_PATH, PERMITS_PATH, RATES_PATH, TASK_QUEUE_PATH, Others
from perdure_server.frontend.peers import DELIVER_PATH, KEY_HEADER, LOOK_PATH, Peers
from perdure_server.frontend.port import Api, Backlog, Cluster, Health, NoBacklog, Whole
from perdure_server.frontend.refusals import refusal
from perdure_server.frontend.routes import PREFIX
from perdure_server.frontend.unread import Unread
from perdure_server.rates.requests import RequestRates

KEEP_ALIVE_SECONDS = 75.0


class FrontendOptions(Struct, frozen=True, kw_only=True):
    """What a server process is called, and by which host names beside its own it may be asked."""

    server_version: str = "0"
    hosts: frozenset[str] = frozenset()
    cluster: Cluster = Whole()
    rates: RequestRates | None = None
    backlog: Backlog = NoBacklog()


class Frontend:
    """Listens on the settings' host and port. `app` takes further routes until `start`."""

    def __init__(
        self, api: Api, health: Health, settings: ServerSettings, options: FrontendOptions | None = None
    ) -> None:
        self._options = options or FrontendOptions()
        self._health = health
        self._settings = settings
        version = VersionAnswer(
            server_version=self._options.server_version,
            protocol_version=PROTOCOL_VERSION,
            protocol_version_min=PROTOCOL_VERSION,
            server_id=settings.name,
        )
        cluster = self._options.cluster
        self.others = Others(settings.name, cluster)
        desk = Desk(api, settings.limits, version, cluster, self.others)
        self._operations = Operations(desk, self._options.rates)
        self._forwarding = Forwarding(self._operations, cluster)
        self._admission = Admission(settings, self._options.backlog)
        self._internal = Internal(api, cluster, self._admission)
        self._channels: set[Channel] = set()
        self._guard = Guard(settings, self._options.hosts)
        self._document = b""
        self._runner: web.AppRunner | None = None
        self._site: Doorway | None = None
        self._unread = Unread(settings.limits.unread_for_max.total_seconds())
        self.draining = False
        self.app = web.Application(middlewares=[self._edge], client_max_size=settings.limits.body_bytes_max)
        self.app.router.add_get("/", self._welcome)
        self.app.router.add_get("/healthz", self._healthz)
        self.app.router.add_get("/readyz", self._readyz)
        self.app.router.add_get("/api/openapi.json", self._openapi)
        self.app.router.add_post(DELIVER_PATH, self._internal.deliver)
        self.app.router.add_post(LOOK_PATH, self._internal.look)
        self.app.router.add_post(RATES_PATH, self._internal.rates)
        self.app.router.add_post(NAMESPACES_PATH, self._internal.namespaces)
        self.app.router.add_post(TASK_QUEUE_PATH, self._internal.task_queue)
        self.app.router.add_post(PERMITS_PATH, self._internal.permits)
        self.app.router.add_get(CHANNEL_PATH, self._channel)
        self.app.router.add_route("*", PREFIX + "{path:.*}", self._serve)

    def meet(self, peers: Peers, key: bytes) -> None:
        """The other servers, and the key by which they know each other: from now on requests are passed on."""
        self._forwarding.peers = peers
        self.others.peers = peers
        self._internal.key = key

    async def start(self) -> None:
        """Listen."""
        # A handler is cancelled when its connection closes: so a worker that is gone takes no tasks.
        self._runner = web.AppRunner(
            self.app,
            handler_cancellation=True,
            access_log=None,
            logger=http_logger,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            shutdown_timeout=self._settings.drain.total_seconds(),
        )
        await self._runner.setup()
        self._site = Doorway(self._runner, self._settings)
        await self._site.start()
        self._unread.watch(self._runner)

    @property
    def port(self) -> int:
        """The port that it listens on; the system's choice when the settings say 0."""
        assert self._runner is not None, "not started"
        port: int = self._runner.addresses[0][1]
        return port

    def give_up(self) -> None:
        """Tell all who wait here to ask another server."""
        self._forwarding.give_up()
        for channel in self._channels:
            channel.give_up()

    async def drain(self) -> None:
        """Take no new connections, and end every wait of a client. Workers' polls are ended by matching."""
        self.draining = True
        self._operations.drain()
        self._forwarding.drain()
        for channel in self._channels:
            channel.drain()
        if self._site is not None:
            await self._site.stop()
            self._site = None

    async def close(self) -> None:
        """Drain, give what is in progress the settings' time, and close every connection."""
        await self.drain()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._unread.stop()

    @web.middleware
    async def _edge(self, request: web.Request, handler: WebHandler) -> web.StreamResponse:
        """The guard, and errors as answers."""
        answer: web.StreamResponse
        try:
            if request.path not in OPEN_PATHS and not request.path.startswith(RESUME_PREFIX):
                self._guard.check(request.method, request.headers)
            answer = await handler(request)
        except ServiceError as error:
            answer = error_answer(error)
        except web.HTTPException as error:
            refused = as_service_error(error, self._settings.limits)
            if refused is None:
                raise
            answer = error_answer(refused)
        except web.RequestPayloadError:
            unread = "the request body cannot be read as its headers say"
            answer = error_answer(ServiceError(Code.INVALID_ARGUMENT, unread))
        except Exception as error:  # noqa: BLE001 - it belongs to the request
            answer = error_answer(refusal(error, request.method, request.path))
        if self.draining:
            answer.force_close()
        return answer

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        endpoint, names = self._operations.find(request.method, request.raw_path)
        limits = self._settings.limits
        size = size_of(request, limits) if endpoint.decoder is not None else 0
        room = self._admission.enter(endpoint.route, size)
        try:
            body = await read_body(request, limits) if size else b""
            asked = Asked(endpoint, names, request.raw_path, body)
            if KEY_HEADER not in request.headers or not self._internal.is_peer(request):  # else it was counted there
                self._operations.admit(asked)
            return await self._answer(request, asked)
        finally:
            room.leave(size)

    async def _answer(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        keeps_map = SHARD_MAP_HEADER in request.headers
        if KEEP_ALIVE_HEADER in request.headers:
            return await kept_alive(request, self._forwarding.answer(asked, keeps_map=keeps_map))
        if asked.member:
            status, answer = await self._forwarding.answer(asked, keeps_map=keeps_map)
            return passed_answer(answer, status)
        task = self._forwarding.begin(asked)
        try:
            return json_answer(await self._operations.run(asked))
        except ServiceError as error:
            if keeps_map or not is_elsewhere(error):
                raise
            self._forwarding.end(task)  # it waits for another server now
            status, answer = await self._forwarding.elsewhere(asked, error)
            return passed_answer(answer, status)
        except asyncio.CancelledError:
            raise self._forwarding.reason_of(task) from None
        finally:
            self._forwarding.end(task)

    async def _channel(self, request: web.Request) -> web.StreamResponse:
        """Many requests over one connection."""
        keeps_map = SHARD_MAP_HEADER in request.headers
        parts = ChannelParts(self._operations, self._forwarding, self._admission, self._settings.limits)
        channel = Channel(parts, keeps_map=keeps_map)
        self._channels.add(channel)
        if self.draining:
            channel.drain()
        try:
            return await channel.serve(request)
        finally:
            self._channels.discard(channel)

    async def _welcome(self, _: web.Request) -> web.Response:
        """What is here, for somebody who opens the address in a browser: this version has no pages."""
        here = {
            "service": "perdure",
            "version": self._options.server_version,
            "api": "/api/openapi.json",
            "ready": "/readyz",
        }
        return json_answer(encoder.encode(here))

    async def _healthz(self, _: web.Request) -> web.Response:
        return json_answer(b'{"status":"alive"}')

    async def _readyz(self, _: web.Request) -> web.Response:
        readiness = self._health.readiness()
        return json_answer(encoder.encode(readiness), 200 if readiness.state == "ready" else 503)

    async def _openapi(self, _: web.Request) -> web.Response:
        self._document = self._document or encoder.encode(document(self._options.server_version))
        return json_answer(self._document)
