"""Connections whose far end has stopped reading: what waits for it is memory, so after a while they are cut.

A connection makes progress when less is unsent than at the look before. It is cut without waiting for what is unsent:
a close would wait for ever. It must not know what is sent.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any, NamedTuple

import structlog
from aiohttp import web

LOOKS = 20
"""So many looks without progress; a reader of the slowest kind makes some between two of them."""

log = structlog.get_logger(__name__)


class Unsent(NamedTuple):
    """What a connection had not sent, and since when that has not become less."""

    size: int
    since: float


class Unread:
    """Looks at all connections of a server. `watch` begins, `stop` ends."""

    def __init__(self, unread_for: float) -> None:
        self._unread_for = unread_for
        self._unsent: dict[Any, Unsent] = {}
        self._looking: asyncio.Task[None] | None = None

    def watch(self, runner: web.AppRunner) -> None:
        """From now on."""
        self._looking = asyncio.get_running_loop().create_task(self._look(runner))

    def stop(self) -> None:
        """No more."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self, runner: web.AppRunner) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._unread_for / LOOKS)
            if runner.server is not None:
                transports = [handler.transport for handler in runner.server.connections]
                self.sweep([each for each in transports if each is not None], loop.time())

    def sweep(self, transports: list[asyncio.Transport], now: float) -> None:
        """Cuts those that made no progress for so long."""
        before, self._unsent = self._unsent, {}
        for transport in transports:
            size = transport.get_write_buffer_size()
            if not size:
                continue
            known = before.get(transport)
            if known is None or size < known.size:
                self._unsent[transport] = Unsent(size, now)
            elif now - known.since < self._unread_for:
                self._unsent[transport] = Unsent(size, known.since)
            else:
                cut(transport, size, "unread_for_max")


def cut(transport: asyncio.Transport, unsent_bytes: int, limit: str) -> None:
    """Closes a connection at once; the system too forgets what it holds for it."""
    log.warning("unread_connection_cut", unsent_bytes=unsent_bytes, limit=limit)
    connection = transport.get_extra_info("socket")
    with suppress(AttributeError, OSError):  # a loop may not give it, or it is closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
