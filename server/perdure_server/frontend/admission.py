"""Who is let in: requests under way are counted, and what would add to a backlog that is full is refused at the door.

There are rooms: for writes, reads and waits of clients, and for workers and other servers. Each has a bound for the
requests in it and for the bytes of their bodies. Beside it stands the backlog of the committer, with a lower bound for
clients than for those whose work drains it.

Law: a refusal comes before the body is read and before anything is decided, so whoever is refused may ask again. The
hot path pays for comparisons of integers. It must not know what an operation does.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from perdure_proto.errors import RETRY_AFTER, Code, ServiceError
from perdure_server.config import EngineSettings, Limits, ServerSettings
from perdure_server.frontend import handlers
from perdure_server.frontend.handlers import Handler
from perdure_server.frontend.port import Backlog
from perdure_server.frontend.routes import ROUTES, Route

RETRY_AFTER_SECONDS = 1
"""A backlog at its bound takes about so long to drain."""
AWAY_SECONDS = 2
"""A database that is away is not back at once."""

OF_WORKERS: frozenset[Handler] = frozenset(
    {
        handlers.poll,
        handlers.respond,
        handlers.heartbeat_activity,
        handlers.complete_activity,
        handlers.fail_activity,
        handlers.report_activity_cancellation,
    }
)
FREE: frozenset[Handler] = frozenset({handlers.version, handlers.describe_cluster, handlers.leave})
"""Answered from memory: by these a client finds out how things stand."""
WITHOUT_WRITES: frozenset[Handler] = frozenset({handlers.poll, handlers.query_workflow})


class Room:
    """Requests under way, and the bytes of their bodies. `name` is that of the limit on their number."""

    __slots__ = ("bytes", "bytes_max", "name", "requests", "requests_max")

    def __init__(self, name: str, requests_max: int, bytes_max: int) -> None:
        self.name = name
        self.requests_max = requests_max
        self.bytes_max = bytes_max
        self.requests = 0
        self.bytes = 0

    def enter(self, size: int) -> None:
        """One more. A body that is alone always fits. Raises `ServiceError`."""
        self.check(size)
        self.requests += 1
        self.bytes += size

    def leave(self, size: int) -> None:
        """It was answered."""
        self.requests -= 1
        self.bytes -= size

    def check(self, size: int) -> None:
        """Raises `ServiceError` when there is no room."""
        if self.requests >= self.requests_max:
            raise _full(self.name, self.requests_max, "requests are under way")
        if self.bytes + size > self.bytes_max and self.bytes:
            raise _full("bodies_bytes_max", self.bytes_max, "bytes of requests are under way")


class Bound(NamedTuple):
    """How full the backlog may be for a request to be let in. `name` is that of the limit on runs."""

    name: str
    runs_max: int
    bytes_max: int


class Admission:
    """The doorkeeper of one server."""

    def __init__(self, settings: ServerSettings, backlog: Backlog) -> None:
        self._writes, self._reads, self._waits, self._work = rooms(settings.limits)
        self._free = Room("", sys.maxsize, sys.maxsize)
        self._clients, self._workers = bounds(settings.engine)
        self.places = {route.handler: self._place(route) for route in ROUTES}
        self.backlog = backlog

    def enter(self, route: Route, size: int) -> Room:
        """The room that the request is in from now on, until it leaves. Raises `ServiceError`."""
        self.check(route, size)
        room = self.places[route.handler][0]
        room.requests += 1
        room.bytes += size
        return room

    def check(self, route: Route, size: int) -> None:
        """Raises `ServiceError` when the request cannot be let in."""
        room, bound = self.places[route.handler]
        if bound is not None:
            self._check(bound)
        room.check(size)

    def check_delivery(self) -> None:
        """Another server brings messages of workflows: it keeps them and tries again. Raises `ServiceError`."""
        try:
            self._check(self._workers)
        except ServiceError as error:  # to a workflow, exhaustion would be an outcome
            raise ServiceError(Code.UNAVAILABLE, error.message, **error.details) from None

    def _check(self, bound: Bound) -> None:
        backlog = self.backlog
        if backlog.runs < bound.runs_max and backlog.bytes < bound.bytes_max:
            return
        if backlog.is_away:
            text = "the database cannot be reached, and no more requests may wait for it: try again later"
            raise ServiceError(Code.UNAVAILABLE, text, limit=bound.name, **{RETRY_AFTER: AWAY_SECONDS})
        if backlog.runs >= bound.runs_max:
            raise _full(bound.name, bound.runs_max, "workflow runs wait for the database")
        raise _full(_of_bytes(bound.name), bound.bytes_max, "bytes wait for the database")

    def _place(self, route: Route) -> tuple[Room, Bound | None]:
        adds = route.method == "POST" and route.handler not in WITHOUT_WRITES
        if route.handler in FREE:
            return self._free, None
        if route.handler in OF_WORKERS:
            return self._work, self._workers if adds else None
        if route.long or route.handler is handlers.query_workflow:
            return self._waits, self._clients if adds else None
        return (self._writes, self._clients) if adds else (self._reads, None)


def rooms(limits: Limits) -> tuple[Room, Room, Room, Room]:
    """For writes, reads and waits of clients, and for workers."""
    return (
        Room("writes_under_way_max", limits.writes_under_way_max, limits.bodies_bytes_max),
        Room("reads_under_way_max", limits.reads_under_way_max, limits.bodies_bytes_max),
        Room("waits_under_way_max", limits.waits_under_way_max, limits.bodies_bytes_max),
        Room("work_under_way_max", limits.work_under_way_max, limits.bodies_bytes_max),
    )


def bounds(settings: EngineSettings) -> tuple[Bound, Bound]:
    """For clients, and for those whose work drains the backlog."""
    return (
        Bound("commits_waiting_max", settings.commits_waiting_max, settings.commits_waiting_bytes_max),
        Bound("work_waiting_max", settings.work_waiting_max, settings.work_waiting_bytes_max),
    )


def _of_bytes(name: str) -> str:
    return name.replace("_max", "_bytes_max")


def _full(limit: str, maximum: int, what: str) -> ServiceError:
    text = f"{limit} is reached: {maximum} {what}. Nothing was done; ask again after {RETRY_AFTER_SECONDS} s, or slower"
    details = {"limit": limit, "max": maximum, RETRY_AFTER: RETRY_AFTER_SECONDS}
    return ServiceError(Code.RESOURCE_EXHAUSTED, text, **details)
