"""Where connections come in: no more of them than the settings and the open files of this process allow.

One more is told so at once and closed, so that the process keeps files for the database and for other servers. It
must not know what is asked.
"""

from __future__ import annotations

import asyncio
import errno
from contextlib import suppress
from typing import Any, cast

import structlog
from aiohttp import web

from perdure_proto.codec import encoder
from perdure_proto.errors import RETRY_AFTER, Code, ErrorBody
from perdure_server.config import ServerSettings

OPEN_FILES_RESERVED = 200
"""For the database, other servers, logs, and what is about to close."""
QUEUED_MAX = 1_024
"""Connections that the system holds until this process takes them."""
RETRY_AFTER_SECONDS = 1

log = structlog.get_logger(__name__)


class Doorway(web.BaseSite):
    """Listens on the settings' host and port."""

    def __init__(self, runner: web.AppRunner, settings: ServerSettings) -> None:
        super().__init__(runner, backlog=QUEUED_MAX)
        self._host = settings.host
        self._port = settings.port
        self.connections_max = allowed(settings.limits.connections_max, raised_open_files())
        self._is_full = False

    @property
    def name(self) -> str:
        """What aiohttp prints."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen."""
        await super().start()
        loop = asyncio.get_running_loop()
        watch_accepting(loop)
        self._server = await loop.create_server(self._accepted, self._host, self._port, backlog=self._backlog)

    def _accepted(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        assert server is not None, "the runner was set up"
        is_full = len(server.connections) >= self.connections_max
        if is_full and not self._is_full:
            log.warning("connections_refused", connections_max=self.connections_max)
        self._is_full = is_full
        return Refusal(self.connections_max) if is_full else server()


class Refusal(asyncio.Protocol):
    """Tells one connection that it is one too many."""

    def __init__(self, connections_max: int) -> None:
        text = f"connections_max is reached: {connections_max} connections are open; close some, or ask again later"
        details = {"limit": "connections_max", "max": connections_max, RETRY_AFTER: RETRY_AFTER_SECONDS}
        self._body = encoder.encode(ErrorBody(code=Code.UNAVAILABLE, message=text, details=details))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It gets an answer, whatever it was about to ask."""
        writing = cast("asyncio.Transport", transport)
        writing.write(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Retry-After: %d\r\nContent-Length: %d\r\n\r\n%b" % (RETRY_AFTER_SECONDS, len(self._body), self._body)
        )
        writing.close()


def allowed(connections_max: int, open_files_max: int | None) -> int:
    """How many connections there may be, which is logged where the open files are what bounds it."""
    if open_files_max is None or open_files_max - OPEN_FILES_RESERVED >= connections_max:
        return connections_max
    connections = max(open_files_max - OPEN_FILES_RESERVED, open_files_max // 2, 1)
    log.warning("connections_limited", connections=connections, limit="connections_max", open_files_max=open_files_max)
    return connections


def raised_open_files() -> int | None:
    """How many files this process may open, after it has taken all that it may have; None: there is no such limit."""
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return None if soft == resource.RLIM_INFINITY else soft


def watch_accepting(loop: asyncio.AbstractEventLoop) -> None:
    """One clear line when the system has no file for a connection; all else as before."""
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            log.error("no_file_for_connection", reason=error.strerror, advice="raise the limit of open files")
        elif before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
