"""Requests to a real HTTP server: what is repeated, with what, for how long, and which error comes of it."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from perdure import _connection, _requests
from perdure._connection import Connection, ConnectionOptions
from perdure.client import Client
from perdure.exceptions import RPCError
from perdure_proto.errors import Code, ErrorBody
from perdure_proto.service import Acknowledged, CancelWorkflowRequest, VersionAnswer

Answer = Callable[[web.Request], Awaitable[web.Response]]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_requests, "BACKOFF_SECONDS_FIRST", 0.0)


class Script:
    """A server that gives the answers of a list, the last one for ever."""

    def __init__(self, *answers: web.Response | Code | None) -> None:
        self.answers = list(answers)
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.read())
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:  # drops the connection
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(answer, Code):
            body = msgspec.json.encode(ErrorBody(code=answer, message=f"it is {answer}", details={"run_id": "r"}))
            return web.Response(status=400, body=body)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)


def said(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value))


@asynccontextmanager
async def connected(script: Script, rpc_timeout: float = 5.0) -> AsyncIterator[Connection]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.answer)
    async with TestServer(app) as server:
        connection = Connection(str(server.make_url("")), ConnectionOptions(api_key="k", rpc_timeout=rpc_timeout))
        try:
            yield connection
        finally:
            await connection.close()


DONE = Acknowledged(run_id="r")
REQUEST = CancelWorkflowRequest(request_id="once")


async def test_a_request_carries_protocol_and_key() -> None:
    """Every request says which protocol it speaks and who it is."""
    script = Script(said(DONE))
    async with connected(script) as connection:
        assert DONE == await connection.request("POST", "/x", REQUEST, Acknowledged)
    assert ("1", "Bearer k") == (script.headers[0]["perdure-protocol"], script.headers[0]["authorization"])


@pytest.mark.parametrize(
    "answer",
    [Code.UNAVAILABLE, Code.WRONG_OWNER, Code.RESOURCE_EXHAUSTED, None, web.Response(status=502, body=b"bad gateway")],
    ids=str,
)
async def test_what_may_pass_is_repeated(answer: web.Response | Code | None) -> None:
    """The repeat has the same body, and so the same request id."""
    script = Script(answer, answer, said(DONE))
    async with connected(script) as connection:
        assert DONE == await connection.call("POST", "/x", REQUEST, Acknowledged)
    assert 3 == len(script.bodies)
    assert 1 == len(set(script.bodies))


async def test_a_refusal_is_not_repeated() -> None:
    """Code, status, message and details are the server's."""
    script = Script(Code.WORKFLOW_NOT_FOUND)
    async with connected(script) as connection:
        with pytest.raises(RPCError, match="it is WORKFLOW_NOT_FOUND") as caught:
            await connection.call("POST", "/x", REQUEST, Acknowledged)
    assert (Code.WORKFLOW_NOT_FOUND, 400, {"run_id": "r"}) == (
        caught.value.code,
        caught.value.status,
        caught.value.details,
    )
    assert 1 == len(script.bodies)


@pytest.mark.parametrize("answer", [None, Code.RESOURCE_EXHAUSTED], ids=str)
async def test_repeating_ends_with_unavailable(answer: Code | None) -> None:
    """After `rpc_timeout` the caller is told, with the last reason."""
    async with connected(Script(answer), rpc_timeout=0.05) as connection:
        with pytest.raises(RPCError, match=r"tried for 0\.05 s") as caught:
            await connection.call("GET", "/x", None, Acknowledged)
    assert (Code.UNAVAILABLE, 503) == (caught.value.code, caught.value.status)


async def test_one_attempt_stays_one() -> None:
    """`request` leaves repeating to its caller."""
    script = Script(Code.UNAVAILABLE)
    async with connected(script) as connection:
        with pytest.raises(RPCError):
            await connection.request("POST", "/x", REQUEST, Acknowledged)
    assert 1 == len(script.bodies)


async def test_no_answer_in_time_is_unavailable() -> None:
    """An attempt has its own timeout."""
    app = web.Application()

    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    app.router.add_get("/x", never)
    async with TestServer(app) as server:
        connection = Connection(str(server.make_url("")), ConnectionOptions())
        with pytest.raises(RPCError, match=r"no answer in 0.01 s"):
            await connection.request("GET", "/x", None, Acknowledged, timeout=0.01)
        await connection.close()


@pytest.mark.parametrize("body", [b"<html>", b"[1]"])
async def test_an_answer_of_someone_else_is_told(body: bytes) -> None:
    """An address that is no perdure server is named."""
    async with connected(Script(web.Response(body=body))) as connection:
        with pytest.raises(RPCError, match="not perdure's") as caught:
            await connection.call("GET", "/x", None, Acknowledged)
    assert connection.address in str(caught.value)


def version(now: int, oldest: int) -> web.Response:
    return said(VersionAnswer(server_version="9", protocol_version=now, protocol_version_min=oldest, server_id="s"))


@pytest.mark.parametrize(
    ("answer", "remedy"), [(version(0, 0), "upgrade the server"), (version(9, 2), "upgrade the perdure package")]
)
async def test_versions_that_do_not_fit_are_told(answer: web.Response, remedy: str) -> None:
    """The message says which side to upgrade."""
    async with connected(Script(answer)) as connection:
        with pytest.raises(RPCError, match=remedy) as caught:
            await Client.connect(connection.address)
    assert Code.PROTOCOL_VERSION == caught.value.code


async def test_a_client_may_be_dropped() -> None:
    """Nothing complains about a client that nobody closed."""
    async with connected(Script(version(1, 1))) as connection:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            client: Client | None = await Client.connect(connection.address)
            assert client is not None
            client = None
            gc.collect()
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("given", "tls", "found"),
    [
        ("127.0.0.1:7233", False, "http://127.0.0.1:7233"),
        ("host:7233", True, "https://host:7233"),
        ("http://host:1/", False, "http://host:1"),
    ],
)
def test_addresses_are_forgiving(given: str, tls: bool, found: str) -> None:
    """A scheme and a trailing slash are optional."""
    assert found == _connection.normalized(given, tls=tls)


def test_a_wrong_address_is_told() -> None:
    """The message shows a right one."""
    with pytest.raises(ValueError, match=r"http://127\.0\.0\.1:7233"):
        _connection.normalized("ftp://x", tls=False)


class Pauses:
    """The pauses between attempts, taken down and not made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []
        monkeypatch.setattr(asyncio, "sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        if seconds:  # HTTP below lets others run now and then
            self.seconds.append(seconds)


def later(status: int, header: str, body: bytes = b"<html>busy</html>") -> web.Response:
    return web.Response(status=status, body=body, headers={"Retry-After": header})


FULL = msgspec.json.encode(ErrorBody(code=Code.RESOURCE_EXHAUSTED, message="full", details={"retry_after": 2}))


@pytest.mark.parametrize(
    "answer",
    [later(429, "2"), later(503, "2"), web.Response(status=429, body=FULL), later(429, "1", FULL)],
    ids=["proxy-429", "proxy-503", "details", "details-first"],
)
async def test_a_repeat_waits_as_long_as_was_asked(answer: web.Response, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least that long and at most half as long again, whoever asked for it and where it stands."""
    async with connected(Script(answer, said(DONE))) as connection:
        pauses = Pauses(monkeypatch)
        assert DONE == await connection.call("POST", "/x", REQUEST, Acknowledged)
    (seconds,) = pauses.seconds
    assert 2.0 <= seconds <= 3.0


async def test_a_wait_beyond_the_rpc_timeout_is_not_begun() -> None:
    """Who may not wait so long is told at once what was said."""
    async with connected(Script(web.Response(status=429, body=FULL)), rpc_timeout=1.0) as connection:
        with pytest.raises(RPCError, match="full") as caught:
            await connection.call("POST", "/x", REQUEST, Acknowledged)
    assert 2.0 == caught.value.retry_after
