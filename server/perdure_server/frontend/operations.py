"""What a request asks for, done: the endpoint found, the request decoded, the operation called, its answer encoded.

The hot path is `run`: one look-up, one decode, one call, one encode. It must know neither how requests come in nor
what an operation does.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from msgspec import Struct

from perdure_proto.codec import encoder
from perdure_proto.errors import Code, ServiceError
from perdure_server.frontend.asked import Asked
from perdure_server.frontend.call import name_of
from perdure_server.frontend.handlers import Desk, without_wait
from perdure_server.frontend.routes import PREFIX, Endpoint, Nothing, RouteTable
from perdure_server.rates.requests import RequestRates

NAMESPACES_REMEMBERED_MAX = 10_000
NOTHING = Nothing()

log = structlog.get_logger(__name__)


class Operations:
    """The API behind every way in. `drain` ends the waiting of long polls."""

    def __init__(self, desk: Desk, rates: RequestRates | None = None) -> None:
        self._rates = rates
        self._desk = desk
        self._id_length_max = desk.limits.id_length_max
        self._table = RouteTable()
        self._namespaces: set[str] = set()
        self._waiting: dict[asyncio.Task[Any], bool] = {}
        """Tasks of long polls, and whether `drain` has ended their waiting."""
        self._is_draining = False

    def drain(self) -> None:
        """Long polls are answered with what is known, from now on at once."""
        self._is_draining = True
        for task in self._waiting:
            self._waiting[task] = True
            task.cancel()

    def find(self, method: str, target: str) -> tuple[Endpoint, list[str]]:
        """The endpoint of a raw target, and the names in its path. Raises `ServiceError`."""
        path = target.partition("?")[0]
        if not path.startswith(PREFIX):
            raise ServiceError(Code.NOT_FOUND, f"write the path as {PREFIX}…")
        endpoint, segments = self._table.find(method, path[len(PREFIX) :])
        length_max = self._id_length_max
        return endpoint, [name_of(segment, length_max) for segment in segments]

    def admit(self, asked: Asked) -> None:
        """A request that somebody makes here, before it is run or passed on. Raises `RESOURCE_EXHAUSTED`."""
        if self._rates is not None and self._rates.rates and asked.route.is_counted:
            self._rates.admit(asked.call.names[0])

    async def run(self, asked: Asked) -> bytes:
        """The encoded answer. Raises what `refusal` understands."""
        route, call = asked.route, asked.call
        if route.in_namespace and call.names[0] not in self._namespaces:
            await self._learn(call.names[0])
        answer = await (self._wait(asked) if route.long else route.handler(self._desk, call))
        return encoder.encode(NOTHING if answer is None else answer)

    async def _learn(self, namespace: str) -> None:
        """A namespace that exists goes on existing, so it is asked for once; a missing one raises."""
        await self._desk.api.describe_namespace(namespace)
        if len(self._namespaces) >= NAMESPACES_REMEMBERED_MAX:
            self._namespaces.clear()
        self._namespaces.add(namespace)

    async def _wait(self, asked: Asked) -> Struct | None:
        """A long poll: its answer, or what is known when the server drains."""
        route, call = asked.route, asked.call
        at_once = without_wait(route.handler, call) if asked.waits else None
        if at_once is None:  # it does not wait, or has to be let go on
            return await route.handler(self._desk, call)
        task = asyncio.current_task()
        assert task is not None, "requests are served in tasks"
        if not self._is_draining:
            self._waiting[task] = False
            try:
                return await route.handler(self._desk, call)
            except asyncio.CancelledError:
                if not self._waiting[task]:
                    raise
                task.uncancel()
            finally:
                del self._waiting[task]
        handler, call = at_once
        return await handler(self._desk, call)
