"""A wire between two processes that we hold in our hands: slow, cut for some or all connections, or reset.

It carries bytes and understands none: the same for HTTP, channels and Postgres.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Awaitable, Callable

CHUNK_BYTES = 2**16
AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: what is left is thrown away, and the other side gets a reset."""
HOST = "127.0.0.1"

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    """One that is carried now."""

    def __init__(self, near: Ends, far: Ends) -> None:
        self.near = near
        self.far = far
        self.open = asyncio.Event()
        self.open.set()

    def reset(self) -> None:
        for _, writer in (self.near, self.far):
            wire = writer.get_extra_info("socket")
            if wire is not None and wire.family in (socket.AF_INET, socket.AF_INET6):
                with contextlib.suppress(OSError):
                    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            writer.transport.abort()


class Link:
    """Listens on a port of its own, and carries each connection to one place."""

    def __init__(self, name: str, chance: random.Random) -> None:
        self.name = name
        self._chance = chance
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._connect: Callable[[], Awaitable[Ends]] | None = None
        self._delay_seconds = 0.0
        self._share_cut = 0.0
        self._is_shut = False
        self.port = 0

    async def listen(self, connect: Callable[[], Awaitable[Ends]]) -> None:
        """Begin to carry connections to where `connect` leads."""
        self._connect = connect
        self._server = await asyncio.start_server(self._carry, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def be_slow(self, seconds: float) -> None:
        """Hold up each piece of data for up to so long."""
        self._delay_seconds = seconds

    def cut(self, share: float) -> None:
        """Let nothing pass on such a share of the connections, also of those to come: they stay, and are silent."""
        self._share_cut = share
        for connection in self._connections:
            if self._chance.random() < share:
                connection.open.clear()

    def reset(self, share: float) -> None:
        """Break such a share of the connections."""
        for connection in list(self._connections):
            if self._chance.random() < share:
                connection.reset()

    def shut(self) -> None:
        """Break all connections, and those to come as they come."""
        self._is_shut = True
        self.reset(1.0)

    def mend(self) -> None:
        """Everything passes at once again."""
        self._is_shut = False
        self._delay_seconds = self._share_cut = 0.0
        for connection in self._connections:
            connection.open.set()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.mend()
        for connection in list(self._connections):
            connection.reset()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._connect is not None
        if self._is_shut:
            writer.transport.abort()
            return
        try:
            far = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection((reader, writer), far)
        if self._chance.random() < self._share_cut:
            connection.open.clear()
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._pass(connection, connection.near[0], connection.far[1]),
                self._pass(connection, connection.far[0], connection.near[1]),
                return_exceptions=True,
            )
        finally:
            self._connections.discard(connection)
            for _, one in (connection.near, connection.far):
                one.transport.abort()

    async def _pass(self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                if self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds * self._chance.random())
                await connection.open.wait()
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            connection.reset()
