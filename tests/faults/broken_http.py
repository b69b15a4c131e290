"""Callers that speak half of HTTP: they stop in the middle, say what is none, hold connections and read nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random

from perdure_proto.channel import CHANNEL_PATH
from tests.benchmarks.stack import HOST

AT_ONCE = 40
HANDSHAKE = (
    f"GET {CHANNEL_PATH} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()
START = (
    f"POST /api/v1/namespaces/default/workflows/half HTTP/1.1\r\nHost: {HOST}\r\n"
    "Content-Type: application/json\r\nContent-Length: 200\r\n\r\n"
).encode()

BROKEN: tuple[bytes, ...] = (
    b"",
    b"GE",
    b"GET /readyz HTTP/1.1\r\nHost: ",
    START,
    START + b'{"workflow_type": "wor',
    START + b"{" * 200,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50,
    b"\0\xff" * 5_000,
    b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n",
    HANDSHAKE,
    HANDSHAKE + b"\x82\xff",
    HANDSHAKE + b"\x82\x05hello",
    HANDSHAKE + b"\x82\x84\0\0\0\0\xff\xff\xff\xff",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 200,
)


async def send_broken_requests(port: int, seconds: float, chance: random.Random) -> None:
    """Keep that up from several connections at once for so long."""
    callers = [asyncio.create_task(_call(port, random.Random(chance.random()))) for _ in range(AT_ONCE)]
    await asyncio.wait(callers, timeout=seconds)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)


async def _call(port: int, chance: random.Random) -> None:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(chance.choice(BROKEN))
                # Nobody reads the answer: what the server writes piles up on its side.
                await asyncio.sleep(3 * chance.random())
            finally:
                writer.transport.abort()
        await asyncio.sleep(0.1 * chance.random())
