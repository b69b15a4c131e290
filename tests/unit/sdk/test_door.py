"""Where nobody listens one knocks for all, and when somebody does all come in."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web

from perdure._connection import Connection, ConnectionOptions
from perdure._door import Door
from perdure.exceptions import RPCError
from perdure_proto.errors import Code

CALLERS = 100
REFUSED = ConnectionRefusedError("nobody")


class Knocks:
    """Answers with what it was given, then that the door is open."""

    def __init__(self, *refusals: OSError) -> None:
        self.left = list(refusals)
        self.count = 0

    async def __call__(self) -> OSError | None:
        self.count += 1
        return self.left.pop(0) if self.left else None


async def test_one_knocks_for_all() -> None:
    """All who come while it is shut hear the same."""
    knocks = Knocks(REFUSED)
    door = Door(knocks)
    door.shut()
    assert [REFUSED] * CALLERS == await asyncio.gather(*(door.refusal(9) for _ in range(CALLERS)))
    assert (1, True) == (knocks.count, door.is_shut)
    assert [None] * CALLERS == await asyncio.gather(*(door.refusal(9) for _ in range(CALLERS)))
    assert (2, False) == (knocks.count, door.is_shut)


async def test_wait_at_the_door_ends() -> None:
    """With the time that the caller has."""
    door = Door(asyncio.Event().wait)  # type: ignore[arg-type]  # it never answers
    door.shut()
    with pytest.raises(TimeoutError):
        await door.refusal(0.03)
    waiting = asyncio.create_task(door.refusal(9))
    await asyncio.sleep(0)
    await door.close()
    assert isinstance(await waiting, ConnectionError)


async def test_callers_come_in_when_somebody_listens() -> None:
    """Of a hundred that wait few requests are made in vain, and each gets its own answer."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    connection = Connection(f"http://127.0.0.1:{port}", ConnectionOptions(rpc_timeout=20.0))
    refused = await asyncio.gather(
        *(connection.send("GET", "/any", None, 5.0) for _ in range(CALLERS)), return_exceptions=True
    )
    assert {(RPCError, Code.UNAVAILABLE)} == {(type(one), getattr(one, "code", None)) for one in refused}
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    answers = await asyncio.gather(*(connection.send("GET", f"/{number}", None, 5.0) for number in range(CALLERS)))
    assert [b"{}"] * CALLERS == answers
    assert (1, CALLERS) == (paths.count("/api/v1/version"), len({*paths} - {"/api/v1/version"}))
    await connection.close()
    await runner.cleanup()
