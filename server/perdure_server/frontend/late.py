"""Answers that come late, between servers: a byte every few seconds says that somebody is still at it.

Who asks says so by `KEEP_ALIVE_HEADER`. An answer that comes soon is as any other. For one that does not, status 200
and `LATE_HEADER` are sent, white space while it lasts, and then `[status, body]` as JSON. A server that is silent for
longer than that is gone, or cut off: it is not waited for. It must not know what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Raw

from perdure_proto.codec import encoder
from perdure_server.frontend.answers import HEADERS, json_answer
from perdure_server.frontend.refusals import refusal

KEEP_ALIVE_HEADER = "perdure-keep-alive"
LATE_HEADER = "perdure-late"
BYTE_EVERY_SECONDS = 5.0
SILENT_SECONDS_MAX = 12.0
"""Two bytes that did not come."""

_late = msgspec.json.Decoder(tuple[int, Raw])


async def kept_alive(request: web.Request, work: Coroutine[Any, Any, tuple[int, bytes]]) -> web.StreamResponse:
    """The answer that `work` gives; an error of it that comes late travels in the body."""
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait({working}, timeout=BYTE_EVERY_SECONDS)
        if working.done():
            status, body = working.result()
            return json_answer(body, status)
        return await _stream(request, working)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def _stream(request: web.Request, working: asyncio.Future[tuple[int, bytes]]) -> web.StreamResponse:
    response = web.StreamResponse(headers={**HEADERS, LATE_HEADER: "1"})
    await response.prepare(request)
    while not working.done():
        await response.write(b" ")
        await asyncio.wait({working}, timeout=BYTE_EVERY_SECONDS)
    try:
        status, body = working.result()
    except Exception as error:  # noqa: BLE001 - it belongs to the request
        refused = refusal(error, request.method, request.path)
        status, body = refused.status, encoder.encode(refused.body())
    await response.write(encoder.encode((status, Raw(body))))
    await response.write_eof()
    return response


def late_answer(body: bytes) -> tuple[int, bytes]:
    """What came after the bytes that said nothing. Raises `msgspec.MsgspecError`."""
    status, answer = _late.decode(body)
    return status, bytes(answer)
