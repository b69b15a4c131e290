"""Callers that speak no HTTP: they are answered or cut off, the log stays quiet, and others are served."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.server.frontend.doubles import house

BROKEN = [
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


@pytest.mark.parametrize("said", BROKEN, ids=["length", "chunk", "header", "tls"])
async def test_broken_http_is_no_error_of_ours(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It is answered with 400, and nothing above debugging is logged."""
    async with house() as h:
        reader, writer = await asyncio.open_connection("127.0.0.1", h.frontend.port)
        writer.write(said)
        assert b"400" == (await reader.readline()).split()[1]
        writer.transport.abort()
        assert 200 == (await h.get("/readyz")).status
    assert [] == [record.message for record in caplog.records if record.levelname != "DEBUG"]
