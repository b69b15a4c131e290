"""The HTTP server: one application that guards, finds the endpoint, decodes, asks, encodes.

The hot path is `_serve`: one look-up, one decode, one call, one encode. At SIGTERM `drain` ends the waiting: every
long poll is answered with what is known, connections close after their answer, and no request fails. It must not
know what an operation does.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler as WebHandler
from msgspec import Struct

from perdure_proto import PROTOCOL_VERSION
from perdure_proto.codec import decode_request, encoder
from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import UpdateWorkflowRequest, VersionAnswer
from perdure_server.config import ServerSettings
from perdure_server.frontend.answers import as_service_error, error_answer, json_answer
from perdure_server.frontend.call import Call, Parameters, name_of
from perdure_server.frontend.guard import OPEN_PATHS, Guard
from perdure_server.frontend.handlers import Desk, without_wait
from perdure_server.frontend.openapi import document
from perdure_server.frontend.port import Api, Health
from perdure_server.frontend.routes import PREFIX, Nothing, Route, RouteTable
from perdure_server.store.port import DataRefusedError, StoreUnavailableError

NAMESPACES_REMEMBERED_MAX = 10_000
KEEP_ALIVE_SECONDS = 75.0
NOTHING = Nothing()

log = structlog.get_logger(__name__)


class FrontendOptions(Struct, frozen=True, kw_only=True):
    """What a server process is called, and by which host names beside its own it may be asked."""

    server_version: str = "0"
    hosts: frozenset[str] = frozenset()


class Frontend:
    """Listens on the settings' host and port. `app` takes further routes until `start`."""

    def __init__(
        self, api: Api, health: Health, settings: ServerSettings, options: FrontendOptions | None = None
    ) -> None:
        self._options = options or FrontendOptions()
        self._api = api
        self._health = health
        self._settings = settings
        self._desk = Desk(api, settings.limits)
        self._id_length_max = settings.limits.id_length_max
        self._guard = Guard(settings, self._options.hosts)
        self._table = RouteTable()
        self._namespaces: set[str] = set()
        self._document = b""
        self._drained: asyncio.Future[None] | None = None
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self.draining = False
        self.app = web.Application(middlewares=[self._edge], client_max_size=settings.limits.body_bytes_max)
        self.app.router.add_get("/", self._welcome)
        self.app.router.add_get("/healthz", self._healthz)
        self.app.router.add_get("/readyz", self._readyz)
        self.app.router.add_get("/api/openapi.json", self._openapi)
        self.app.router.add_get(f"{PREFIX}version", self._version)
        self.app.router.add_route("*", PREFIX + "{path:.*}", self._serve)

    async def start(self) -> None:
        """Listen."""
        self._drained = asyncio.get_running_loop().create_future()
        # A handler is cancelled when its connection closes: so a worker that is gone takes no tasks.
        self._runner = web.AppRunner(
            self.app,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            shutdown_timeout=self._settings.drain.total_seconds(),
        )
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, self._settings.host, self._settings.port)
        await self._site.start()

    @property
    def port(self) -> int:
        """The port that it listens on; the system's choice when the settings say 0."""
        assert self._runner is not None, "not started"
        port: int = self._runner.addresses[0][1]
        return port

    async def drain(self) -> None:
        """Take no new connections, and end every wait of a client. Workers' polls are ended by matching."""
        self.draining = True
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._site is not None:
            await self._site.stop()
            self._site = None

    async def close(self) -> None:
        """Drain, give what is in progress the settings' time, and close every connection."""
        await self.drain()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _edge(self, request: web.Request, handler: WebHandler) -> web.StreamResponse:
        """The guard, and errors as answers."""
        answer: web.StreamResponse
        try:
            if request.path not in OPEN_PATHS:
                self._guard.check(request.method, request.headers)
            answer = await handler(request)
        except ServiceError as error:
            answer = error_answer(error)
        except StoreUnavailableError as error:  # a read found Postgres away, or this server on its way out
            answer = error_answer(ServiceError(Code.UNAVAILABLE, f"the database cannot be reached: {error}"))
        except DataRefusedError as error:
            answer = error_answer(
                ServiceError(Code.VALUE_REFUSED, f"Postgres refuses a value of this request: {error}")
            )
        except web.HTTPException as error:
            refused = as_service_error(error, self._settings.limits)
            if refused is None:
                raise
            answer = error_answer(refused)
        except Exception as error:  # noqa: BLE001 - it belongs to the request; it is logged, once
            answer = error_answer(self._unexpected(request, error))
        if self.draining:
            answer.force_close()
        return answer

    def _unexpected(self, request: web.Request, error: Exception) -> ServiceError:
        if isinstance(error, web.RequestPayloadError):
            return ServiceError(Code.INVALID_ARGUMENT, "the request body cannot be read as its headers say")
        log.error("request_failed", method=request.method, path=request.path, exc_info=error)
        return ServiceError(Code.INTERNAL, "the request failed on an error of the server; its log has it")

    async def _serve(self, request: web.Request) -> web.Response:
        path, _, query = request.raw_path.partition("?")
        if not path.startswith(PREFIX):
            raise ServiceError(Code.NOT_FOUND, f"write the path as {PREFIX}…")
        endpoint, segments = self._table.find(request.method, path[len(PREFIX) :])
        route, length_max = endpoint.route, self._id_length_max
        names = [name_of(segment, length_max) for segment in segments]
        if route.in_namespace and names[0] not in self._namespaces:
            await self._learn(names[0])
        body: Any = None
        if endpoint.decoder is not None:
            body = decode_request(endpoint.decoder, await request.read() or b"{}")
        call = Call(names, _parameters(route, request if query else None), body)
        answer = await (self._wait(route, call) if route.long else route.handler(self._desk, call))
        return json_answer(encoder.encode(NOTHING if answer is None else answer))

    async def _learn(self, namespace: str) -> None:
        """A namespace that exists goes on existing, so it is asked for once; a missing one raises."""
        await self._api.describe_namespace(namespace)
        if len(self._namespaces) >= NAMESPACES_REMEMBERED_MAX:
            self._namespaces.clear()
        self._namespaces.add(namespace)

    async def _wait(self, route: Route, call: Call) -> Struct | None:
        """A long poll: its answer, or what is known when the server drains."""
        asks = call.body if isinstance(call.body, UpdateWorkflowRequest) else call.query
        if not asks.wait:
            return await route.handler(self._desk, call)
        assert self._drained is not None, "requests come after start"
        work = asyncio.ensure_future(route.handler(self._desk, call))
        try:
            await asyncio.wait((work, self._drained), return_when=asyncio.FIRST_COMPLETED)
            at_once = None if work.done() else without_wait(route.handler, call)
            if at_once is None:
                return await work
        finally:
            work.cancel()
        handler, call = at_once
        return await handler(self._desk, call)

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

    async def _version(self, _: web.Request) -> web.Response:
        answer = VersionAnswer(
            server_version=self._options.server_version,
            protocol_version=PROTOCOL_VERSION,
            protocol_version_min=PROTOCOL_VERSION,
            server_id=self._settings.name,
        )
        return json_answer(encoder.encode(answer))

    async def _openapi(self, _: web.Request) -> web.Response:
        self._document = self._document or encoder.encode(document(self._options.server_version))
        return json_answer(self._document)


def _parameters(route: Route, request: web.Request | None) -> Parameters:
    """The query of a request as the Struct of its route."""
    try:
        return msgspec.convert({} if request is None else dict(request.query), route.query, strict=False)
    except msgspec.ValidationError as error:
        raise ServiceError(Code.INVALID_ARGUMENT, f"the query parameters do not fit: {error}") from None
