"""Bodies of requests: how large one will be, known before it is read, and a bound on the time that it may take.

It must not know what is in them.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from perdure_proto.errors import Code, ServiceError
from perdure_server.config import Limits


def size_of(request: web.Request, limits: Limits) -> int:
    """How many bytes a body may take: what its header says, and without that the most that is allowed."""
    if not request.body_exists:
        return 0
    length = request.content_length
    return limits.body_bytes_max if length is None else min(length, limits.body_bytes_max)


async def read_body(request: web.Request, limits: Limits) -> bytes:
    """The whole body. Raises `ServiceError` when the caller is too slow; nearly always it is there already."""
    if request.content.is_eof():
        return await request.read()
    seconds = limits.body_within.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError:
        text = f"the body of the request did not come within {seconds:.3g} s (body_within): nothing was done"
        raise ServiceError(Code.DEADLINE_EXCEEDED, text, limit="body_within") from None
