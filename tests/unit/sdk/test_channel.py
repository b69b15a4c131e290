"""The client's channel against a real WebSocket server: when it opens, what it sends, and how it fails."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from perdure import _channel, _requests
from perdure._channel import OPEN_AFTER, PAUSE_SECONDS_FIRST, PAUSE_SECONDS_MAX
from perdure._connection import Connection, ConnectionOptions
from perdure.exceptions import RPCError
from perdure_proto.channel import (
    CANCEL,
    CHANNEL_PATH,
    NOTHING,
    ChannelAnswer,
    ChannelRequest,
    decode_answers,
    decode_requests,
    encode_answer,
    frame,
)
from perdure_proto.errors import Code, ErrorBody
from perdure_proto.service import Acknowledged, CancelWorkflowRequest

CHANNEL, HTTP = "channel", "http"
REQUEST = CancelWorkflowRequest(request_id="once")
HELD = "/held"
"""What is asked here is not answered on a channel."""
DEAF = "/deaf"
"""Who asks this is not listened to any more."""


class Clock:
    """The time by which pauses are counted."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_channel, "time", SimpleNamespace(monotonic=clock.monotonic))
    monkeypatch.setattr(_requests, "BACKOFF_SECONDS_FIRST", 0.0)
    return clock


class Service:
    """Answers with the way by which a request came; `refuses` is the status that an upgrade gets, if any."""

    def __init__(self) -> None:
        self.refuses: int | None = None
        self.error: ErrorBody | None = None
        self.frames: asyncio.Queue[list[ChannelRequest]] = asyncio.Queue()
        self.frame_bytes: list[int] = []
        self.over_http: list[str] = []
        self.upgrades: list[dict[str, str]] = []
        self.closed = asyncio.Event()
        self.listens = asyncio.Event()
        self.sockets: list[web.WebSocketResponse] = []

    @property
    def socket(self) -> web.WebSocketResponse:
        return self.sockets[-1]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.over_http.append(request.path)
        return web.Response(body=msgspec.json.encode(Acknowledged(run_id=HTTP)))

    async def upgrade(self, request: web.Request) -> web.StreamResponse:
        self.upgrades.append({name.lower(): value for name, value in request.headers.items()})
        if self.refuses is not None:
            return web.Response(status=self.refuses)
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        self.sockets.append(socket)
        try:
            async for message in socket:
                await self._serve(socket, message.data)
        finally:
            self.closed.set()
        return socket

    async def _serve(self, socket: web.WebSocketResponse, data: bytes) -> None:
        requests = decode_requests(data)
        self.frame_bytes.append(len(data))
        self.frames.put_nowait(requests)
        if requests[0].target == DEAF:
            await self.listens.wait()
        body = msgspec.json.encode(self.error or Acknowledged(run_id=CHANNEL))
        status = 404 if self.error else 200
        told = [encode_answer(one.id, status, body) for one in requests if one.target != HELD and one.method != CANCEL]
        if told:
            await socket.send_bytes(frame(told))

    async def lose(self) -> None:
        """Cuts the connection."""
        assert self.socket._req is not None
        assert self.socket._req.transport is not None
        self.socket._req.transport.abort()
        await self.closed.wait()


class Caller:
    """A connection, and the service that it talks to."""

    def __init__(self, connection: Connection, service: Service) -> None:
        self.connection = connection
        self.service = service

    async def ask(self, path: str = "/x", timeout: float = 5.0) -> str:
        """One attempt; says which way it went."""
        return (await self.connection.request("POST", path, REQUEST, Acknowledged, timeout)).run_id

    async def begin(self, path: str = HELD, timeout: float = 5.0) -> tuple[asyncio.Task[str], int]:
        """A request that has come to the service, and its id."""
        asking = asyncio.create_task(self.ask(path, timeout))
        (request,) = await self.service.frames.get()
        return asking, request.id

    async def open(self) -> None:
        """Ask until the channel is open, and forget that."""
        async with asyncio.timeout(5):
            while CHANNEL != await self.ask():
                pass
        while not self.service.frames.empty():
            self.service.frames.get_nowait()
        self.service.over_http.clear()

    async def opening_ends(self) -> None:
        """When it could not be opened."""
        if (task := self.connection._channel._task) is not None:
            async with asyncio.timeout(5):
                await asyncio.wait([task])


@asynccontextmanager
async def calling() -> AsyncIterator[Caller]:
    service = Service()
    app = web.Application()
    app.router.add_get(CHANNEL_PATH, service.upgrade)
    app.router.add_route("*", "/{path:.*}", service.answer)
    async with TestServer(app) as server:
        connection = Connection(str(server.make_url("")), ConnectionOptions(api_key="k", rpc_timeout=5.0))
        try:
            yield Caller(connection, service)
        finally:
            service.listens.set()
            await connection.close()


def tasks() -> list[str]:
    """What runs for channels in this loop."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith("Channel.")]


@contextmanager
def complaints() -> Iterator[list[dict[str, Any]]]:
    """What asyncio complains of in here, warnings being errors."""
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield heard
        gc.collect()


# ---- opening ----


async def test_a_few_requests_open_nothing() -> None:
    """The first requests go over HTTP, and only one more opens a channel, as the caller that it is."""
    async with calling() as c:
        assert [HTTP] * OPEN_AFTER == [await c.ask() for _ in range(OPEN_AFTER)]
        assert ([], []) == (c.service.upgrades, tasks())
        assert HTTP == await c.ask()
        await c.open()
        (headers,) = c.service.upgrades
        assert ("1", "Bearer k") == (headers["perdure-protocol"], headers["authorization"])


async def test_an_open_channel_takes_everything() -> None:
    """Methods, targets and bodies are those of HTTP, and each request has an id of its own."""
    async with calling() as c:
        await c.open()
        await c.ask("/a%2Fb?c=%20d")
        await c.connection.request("GET", "/y", None, Acknowledged)
        (first,), (second,) = c.service.frames.get_nowait(), c.service.frames.get_nowait()
        assert ("POST", "/a%2Fb?c=%20d", msgspec.json.encode(REQUEST)) == (
            first.method,
            first.target,
            bytes(first.body),
        )
        assert ("GET", "/y", NOTHING) == (second.method, second.target, second.body)
        assert first.id != second.id
        assert [] == c.service.over_http


async def test_requests_of_one_turn_leave_in_one_frame() -> None:
    """What is asked at once is sent at once."""
    async with calling() as c:
        await c.open()
        paths = [f"/{number}" for number in range(20)]
        assert [CHANNEL] * 20 == await asyncio.gather(*map(c.ask, paths))
        assert paths == [request.target for request in c.service.frames.get_nowait()]
        assert c.service.frames.empty()


async def test_no_frame_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into one frame leaves in several."""
    monkeypatch.setattr(_channel, "FRAME_BYTES_MAX", 2_000)
    async with calling() as c:
        await c.open()
        assert [CHANNEL] * 100 == await asyncio.gather(*(c.ask(f"/{number}") for number in range(100)))
        assert 100 == sum(len(c.service.frames.get_nowait()) for _ in range(c.service.frames.qsize()))
        assert max(c.service.frame_bytes) <= 2_000


async def test_a_large_body_goes_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing should wait behind it, so it gets a connection of its own."""
    monkeypatch.setattr(_channel, "BODY_BYTES_MAX", 100)
    async with calling() as c:
        await c.open()
        for size, way in ((100, CHANNEL), (101, HTTP)):
            answer = await c.connection.send("POST", "/x", b'"'.ljust(size - 1, b"x") + b'"', 5.0)
            assert way == msgspec.json.decode(answer)["run_id"]


async def test_an_error_is_that_of_http() -> None:
    """Code, status, message and details are the service's."""
    async with calling() as c:
        await c.open()
        c.service.error = ErrorBody(code=Code.WORKFLOW_NOT_FOUND, message="no run", details={"a": 1})
        with pytest.raises(RPCError, match="no run") as caught:
            await c.ask()
        error = caught.value
        assert (Code.WORKFLOW_NOT_FOUND, 404, {"a": 1}) == (error.code, error.status, error.details)


# ---- giving up ----


async def test_no_answer_in_time_is_unavailable() -> None:
    """The caller is told, and the service that nobody waits any more."""
    async with calling() as c:
        await c.open()
        with pytest.raises(RPCError, match=r"no answer in 0\.01 s") as caught:
            await c.ask(HELD, timeout=0.01)
        assert Code.UNAVAILABLE == caught.value.code
        (asked,), (given_up,) = await c.service.frames.get(), await c.service.frames.get()
        assert (asked.id, CANCEL) == (given_up.id, given_up.method)


async def test_a_caller_that_is_cancelled_cancels_its_request() -> None:
    """The service hears of it, and others go on."""
    async with calling() as c:
        await c.open()
        asking, request_id = await c.begin()
        asking.cancel()
        (given_up,) = await c.service.frames.get()
        assert (request_id, CANCEL) == (given_up.id, given_up.method)
        assert asking.cancelled()
        assert CHANNEL == await c.ask()


async def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    """It may have been on its way when the caller gave up."""
    async with calling() as c:
        await c.open()
        asking, request_id = await c.begin()
        asking.cancel()
        await c.service.frames.get()
        await c.service.socket.send_bytes(frame([encode_answer(request_id, 200, b"{}"), encode_answer(999, 200, b"0")]))
        assert CHANNEL == await c.ask()


async def test_an_answer_may_come_in_the_turn_in_which_its_caller_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is dropped, and the channel stays."""

    def decode(data: bytes) -> list[ChannelAnswer]:
        asking.cancel()
        return decode_answers(data)

    async with calling() as c:
        await c.open()
        asking, request_id = await c.begin()
        monkeypatch.setattr(_channel, "decode_answers", decode)
        await c.service.socket.send_bytes(frame([encode_answer(request_id, 200, b"{}")]))
        await asyncio.wait([asking])
        assert asking.cancelled()
        assert CHANNEL == await c.ask()


async def test_a_channel_may_end_in_the_turn_in_which_a_caller_gives_up() -> None:
    """Both are ended, and nothing complains."""
    with complaints() as heard:
        async with calling() as c:
            await c.open()
            asking, _ = await c.begin()
            c.connection._channel.abandon()
            asking.cancel()
            await c.service.closed.wait()
            assert asking.cancelled()
    assert [] == heard


async def test_an_answered_request_is_not_given_up() -> None:
    """Nothing but requests is sent while all goes well."""
    async with calling() as c:
        await c.open()
        await asyncio.gather(*(c.ask() for _ in range(5)))
        await c.ask()
        sent = [request.method for _ in range(2) for request in c.service.frames.get_nowait()]
        assert ["POST"] * 6 == sent


# ---- losing it ----


async def test_what_waits_on_a_lost_channel_fails() -> None:
    """Nobody knows whether it was served, so its caller may repeat it."""
    async with calling() as c:
        await c.open()
        (first, _), (second, _) = await c.begin(), await c.begin()
        await c.service.lose()
        for asking in (first, second):
            with pytest.raises(RPCError, match="the connection was lost") as caught:
                await asking
            assert Code.UNAVAILABLE == caught.value.code


async def test_a_call_is_repeated_over_http() -> None:
    """The caller of `call` hears nothing of a lost channel."""
    async with calling() as c:
        await c.open()
        asking = asyncio.create_task(c.connection.call("POST", HELD, REQUEST, Acknowledged))
        await c.service.frames.get()
        await c.service.lose()
        assert HTTP == (await asking).run_id
        assert [HELD] == c.service.over_http


async def test_a_lost_channel_opens_again(clock: Clock) -> None:
    """After a pause, and until then requests go over HTTP."""
    async with calling() as c:
        for _ in range(3):
            await c.open()
            asking, _ = await c.begin()
            await c.service.lose()
            await asyncio.wait([asking])
            with pytest.raises(RPCError):
                asking.result()
            clock.now += PAUSE_SECONDS_FIRST * 0.99
            assert (HTTP, []) == (await c.ask(), tasks())
            clock.now += PAUSE_SECONDS_FIRST * 0.02
        assert 3 == len(c.service.upgrades)


@pytest.mark.parametrize("status", [400, 403, 404, 426, 503])
async def test_a_service_without_channels_is_asked_less_and_less(clock: Clock, status: int) -> None:
    """Requests go over HTTP, and each refusal doubles the pause, up to a limit."""
    async with calling() as c:
        c.service.refuses = status
        assert [HTTP] * OPEN_AFTER == [await c.ask() for _ in range(OPEN_AFTER)]
        pause = PAUSE_SECONDS_FIRST
        for attempt in range(1, 13):
            assert HTTP == await c.ask()
            await c.opening_ends()
            assert attempt == len(c.service.upgrades)
            clock.now += pause * 0.99
            assert (HTTP, []) == (await c.ask(), tasks())
            clock.now += pause * 0.02
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
        assert PAUSE_SECONDS_MAX == pause


async def test_a_service_that_learns_channels_gets_one(clock: Clock) -> None:
    """A refusal is not for ever, and an answer on a channel makes the pause short again."""
    async with calling() as c:
        c.service.refuses = 404
        for _ in range(OPEN_AFTER + 1):
            await c.ask()
        await c.opening_ends()
        c.service.refuses = None
        clock.now += PAUSE_SECONDS_FIRST
        await c.open()
        assert PAUSE_SECONDS_FIRST == c.connection._channel._pause


@pytest.mark.parametrize(
    "garbage", [b"<html>", b"{}", b"[1]", b'[["x",200]]', b'[["\xff",200]]', b"\xff", b""], ids=repr
)
async def test_garbage_closes_the_channel(garbage: bytes) -> None:
    """Something stands in between, so what waits fails and the next request goes over HTTP."""
    async with calling() as c:
        await c.open()
        asking, _ = await c.begin()
        await c.service.socket.send_bytes(garbage)
        with pytest.raises(RPCError, match="the connection was lost"):
            await asking
        await c.service.closed.wait()
        assert HTTP == await c.ask()


async def test_a_service_that_goes_away_loses_nothing() -> None:
    """A channel that the service closes in order is as good as lost."""
    async with calling() as c:
        await c.open()
        asking = asyncio.create_task(c.connection.call("POST", HELD, REQUEST, Acknowledged))
        await c.service.frames.get()
        await c.service.socket.close(code=1001)
        assert HTTP == (await asking).run_id


# ---- closing ----


async def begin_nothing(_: Caller) -> None:
    """Closed before it was ever used."""


async def begin_opening(c: Caller) -> None:
    """Closed while it opens."""
    for _ in range(OPEN_AFTER):
        await c.ask()
    assert not c.connection._channel.takes(None)
    assert c.connection._channel._task is not None


async def begin_request(c: Caller) -> None:
    """Closed while a request waits."""
    await c.open()
    asking, _ = await c.begin()
    asking.add_done_callback(lambda asking: asking.exception())


async def begin_frame(c: Caller) -> None:
    """Closed in the turn in which a request is made."""
    await c.open()
    asking = asyncio.create_task(c.ask())
    asking.add_done_callback(lambda asking: asking.exception())
    await asyncio.sleep(0)


async def begin_losing(c: Caller) -> None:
    """Closed when the service has just cut the connection."""
    await c.open()
    await c.service.lose()


async def begin_garbage(c: Caller) -> None:
    """Closed when it is closing already."""
    await c.open()
    asking, _ = await c.begin()
    await c.service.socket.send_bytes(b"<html>")
    await asyncio.wait([asking])
    assert isinstance(asking.exception(), RPCError)


async def begin_silence(c: Caller) -> None:
    """Closed while the service stands still."""
    await c.open()
    asking, _ = await c.begin(DEAF)
    asking.add_done_callback(lambda asking: asking.exception())


async def begin_garbage_and_silence(c: Caller) -> None:
    """Closed when it is closing already, and the service stands still."""
    await c.open()
    asking, _ = await c.begin(DEAF)
    await c.service.socket.send_bytes(b"<html>")
    await asyncio.wait([asking])
    assert isinstance(asking.exception(), RPCError)


@pytest.mark.parametrize(
    "begin",
    [
        begin_nothing,
        begin_opening,
        begin_request,
        begin_frame,
        begin_losing,
        begin_garbage,
        begin_silence,
        begin_garbage_and_silence,
    ],
    ids=lambda begin: begin.__name__,
)
async def test_closing_leaves_nothing(begin: Callable[[Caller], Any]) -> None:
    """Whatever it was doing, no task is left and nothing complains."""
    with complaints() as heard:
        async with calling() as c:
            await begin(c)
            async with asyncio.timeout(2):
                await c.connection.close()
            assert [] == tasks()
    assert [] == heard


async def test_closing_fails_what_waits() -> None:
    """A request that is under way is told."""
    async with calling() as c:
        await c.open()
        asking, _ = await c.begin()
        await c.connection.close()
        with pytest.raises(RPCError, match="the connection was lost"):
            await asking
        await c.service.closed.wait()


async def test_closing_a_channel_waits_for_its_end() -> None:
    """When the call returns nothing of the channel runs."""
    async with calling() as c:
        await c.open()
        await c.connection._channel.close()
        assert [] == tasks()


async def test_a_closed_connection_opens_no_channel(clock: Clock) -> None:
    """Not even after every pause."""
    async with calling() as c:
        await c.open()
        await c.connection.close()
        clock.now += 10 * PAUSE_SECONDS_MAX
        assert not c.connection._channel.takes(None)
        assert [] == tasks()


async def test_a_connection_may_be_dropped() -> None:
    """Nothing complains about one that nobody closed, and the service sees its end."""
    with complaints() as heard:
        async with calling() as kept:
            connection: Connection | None = Connection(kept.connection.address, ConnectionOptions())
            assert connection is not None
            await Caller(connection, kept.service).open()
            connection = None
            gc.collect()
            async with asyncio.timeout(5):
                await kept.service.closed.wait()
            assert [] == tasks()
    assert [] == heard
