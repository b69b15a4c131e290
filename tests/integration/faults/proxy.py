"""A proxy before a server that loses answers: the request arrives and is done, and the caller never hears of it.

It takes no channels, so everything goes over HTTP; `channel_proxy` has its twin.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from perdure_proto.channel import CHANNEL_PATH

CHUNK_BYTES = 2**18
NO_CHANNEL = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
REQUEST = re.compile(rb"(?:GET|POST) (\S+) HTTP/1.1\r\n")

Loses = Callable[[str, bytes], bool]
"""Whether to lose the answer to a path, by the first bytes of the answer."""


class Lossy(Protocol):
    """What a test sees of a proxy."""

    address: str
    lost: int


class Proxy:
    """Cuts the connection in place of each answer that `loses` names."""

    def __init__(self, port: int, loses: Loses) -> None:
        self._port = port
        self._loses = loses
        self._passing: set[asyncio.Task[None]] = set()
        self.address = ""
        self.lost = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)
        with contextlib.suppress(OSError):
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
            asked = [""]
            try:
                async with asyncio.TaskGroup() as both:
                    forth = both.create_task(self._forth(reader, up_writer, writer, asked))
                    both.create_task(self._back(up_reader, writer, asked)).add_done_callback(lambda _: forth.cancel())
            finally:
                for one in (writer, up_writer):
                    one.close()
                for one in (writer, up_writer):
                    with contextlib.suppress(OSError):
                        await one.wait_closed()

    async def _forth(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter, asked: list[str]
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if found := REQUEST.match(data):
                asked[0] = found[1].decode()
                if asked[0] == CHANNEL_PATH:
                    back.write(NO_CHANNEL)
                    continue
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[str]) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if self._loses(asked[0], data):
                self.lost += 1
                return
            writer.write(data)
            await writer.drain()

    async def stop(self) -> None:
        for task in list(self._passing):
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)


@asynccontextmanager
async def proxy_to(port: int, loses: Loses) -> AsyncIterator[Proxy]:
    """A proxy to a port of this machine."""
    proxy = Proxy(port, loses)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.stop()
        await server.wait_closed()
