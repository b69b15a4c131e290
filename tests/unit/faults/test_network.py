"""The wire of the fault suite: it carries, holds back, and breaks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from tests.faults.network import HOST, Ends, Link


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


@asynccontextmanager
async def wired() -> AsyncIterator[tuple[Link, Ends]]:
    """A link to somebody who says everything back, and a connection over it."""
    server = await asyncio.start_server(echo, HOST, 0)
    link = Link("wire", random.Random(1))
    await link.listen(partial(asyncio.open_connection, HOST, server.sockets[0].getsockname()[1]))
    near = await asyncio.open_connection(HOST, link.port)
    try:
        yield link, near
    finally:
        near[1].transport.abort()
        await link.close()
        server.close()


async def test_it_carries_both_ways_to_the_end() -> None:
    """What is sent comes back, and so does the end of it."""
    async with wired() as (_, (reader, writer)):
        writer.write(b"hello")
        writer.write_eof()
        assert b"hello" == await reader.read()


async def test_a_cut_holds_back_until_it_is_mended() -> None:
    """Nothing passes, and nothing is lost."""
    async with wired() as (link, (reader, writer)):
        writer.write(b"one")
        assert b"one" == await reader.readexactly(3)
        link.cut(1.0)
        writer.write(b"two")
        coming = asyncio.ensure_future(reader.readexactly(3))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(coming), 0.1)
        link.mend()
        assert b"two" == await coming


async def test_a_reset_breaks_what_is_open() -> None:
    """The other side sees a reset; a new connection is carried."""
    async with wired() as (link, (reader, writer)):
        writer.write(b"one")
        assert b"one" == await reader.readexactly(3)
        link.reset(1.0)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        again = await asyncio.open_connection(HOST, link.port)
        again[1].write(b"two")
        assert b"two" == await again[0].readexactly(3)
        again[1].transport.abort()
