"""A channel over a real WebSocket: what is answered and when, what is refused, and how it ends."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import WSCloseCode, WSMsgType

from perdure_proto.channel import CANCEL, CHANNEL_PATH, decode_answers
from perdure_proto.codec import encoder
from perdure_proto.errors import Code, ServiceError
from perdure_server.config import ServerSettings
from perdure_server.frontend import OutcomeWait, channel
from perdure_server.frontend.examples import PATH_NAMES, REQUESTS
from perdure_server.frontend.routes import PREFIX, ROUTES, Route
from perdure_server.store.port import DataRefusedError, StoreUnavailableError
from tests.unit.server.frontend.doubles import OWN, SETTINGS, House, house, with_limits

NAMESPACE = "/api/v1/namespaces/default"
COUNT = f"{NAMESPACE}/workflow-count"
WORKFLOW = f"{NAMESPACE}/workflows/w"
RESULT = f"{WORKFLOW}/result?wait=PT20S"
POLL = f"{NAMESPACE}/task-queues/q/poll"


class Caller:
    """The far end of a channel. `frames` are the ids of each frame that came."""

    def __init__(self, house: House, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.house = house
        self.socket = socket
        self.frames: list[list[int]] = []
        self._answers: dict[int, tuple[int, Any]] = {}

    async def ask(self, *items: tuple[Any, ...]) -> None:
        await self.socket.send_bytes(encoder.encode(items))

    async def answer(self, request_id: int) -> tuple[int, Any]:
        """Status and body of an answer, waited for."""
        while request_id not in self._answers:
            answers = decode_answers(await self.socket.receive_bytes())
            self.frames.append([answer.id for answer in answers])
            for answer in answers:
                assert answer.id not in self._answers, "answered twice"
                self._answers[answer.id] = answer.status, msgspec.json.decode(answer.body)
        return self._answers.pop(request_id)

    async def told(self, *request: Any) -> tuple[int, Any]:
        """The answer to one request."""
        await self.ask((99, *request))
        return await self.answer(99)

    async def begin(self, name: str, *request: Any) -> None:
        """Send a request whose operation waits, and return when it does."""
        self.house.api.waits[name] = asyncio.Event()
        self.house.api.waiting.clear()
        await self.ask(request)
        await self.house.api.waiting.wait()

    async def closed(self) -> int | None:
        """The code with which the service closes; what it says before belongs to nobody."""
        async with asyncio.timeout(5):
            message = await self.socket.receive()
        assert message.type is WSMsgType.CLOSE
        return self.socket.close_code


@asynccontextmanager
async def caller(settings: ServerSettings = SETTINGS) -> AsyncIterator[Caller]:
    async with house(settings) as h, h.client.ws_connect(h.address + CHANNEL_PATH, max_msg_size=0) as socket:
        yield Caller(h, socket)


# ---- answers ----


@pytest.mark.parametrize("route", [route for route in ROUTES if route.name not in OWN], ids=lambda route: route.name)
async def test_every_endpoint_is_answered_as_over_http(route: Route) -> None:
    """Each endpoint does its example and gives the same answer."""
    async with caller() as c:
        request = REQUESTS[route.name] if route.request else None
        target = PREFIX + route.path.format_map(PATH_NAMES)
        answer = await c.house.send(route.method, target, None if request is None else encoder.encode(request))
        assert (answer.status, answer.body) == await c.told(route.method, target, request)
        asked = [arguments for name, arguments in c.house.api.asked if name == route.name]
        assert 2 == len(asked)
        assert asked[0] == asked[1]


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", f"{PREFIX}version", None),
        ("GET", f"{PREFIX}nowhere", None),
        ("PUT", COUNT, {}),
        ("POST", COUNT, {}),
        ("GET", "/api/v1/namespaces/missing/workflow-count", None),
        ("GET", f"{NAMESPACE}/workflows/%00/result", None),
        ("GET", f"{NAMESPACE}/workflows/{'x' * 256}/result", None),
        ("GET", f"{NAMESPACE}/workflows?limit=0", None),
        ("POST", WORKFLOW, {}),
        ("POST", WORKFLOW, [1]),
        ("POST", f"{WORKFLOW}/cancel", None),
        ("POST", f"{WORKFLOW}/cancel", {}),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 80 else "",
)
async def test_errors_are_those_of_http(method: str, target: str, body: Any) -> None:
    """What HTTP refuses is refused with the same status, code and message, and what it takes is taken."""
    async with caller() as c:
        data = None if body is None else encoder.encode(body)
        answer = await c.house.send(method, target, data, Content_Type="application/json")
        request = (method, target) if body is None else (method, target, body)
        assert (answer.status, answer.body) == await c.told(*request)


@pytest.mark.parametrize(
    "error",
    [ServiceError(Code.WRONG_OWNER, "moved"), StoreUnavailableError("away"), DataRefusedError("no"), OSError("oh")],
    ids=lambda error: type(error).__name__,
)
async def test_failures_are_told_as_over_http(error: Exception) -> None:
    """Whatever an operation raises becomes the same answer, and the channel goes on."""
    async with caller() as c:
        c.house.api.fails["count_workflows"] = error
        answer = await c.house.get(COUNT)
        assert (answer.status, answer.body) == await c.told("GET", COUNT)
        del c.house.api.fails["count_workflows"]
        assert 200 == (await c.told("GET", COUNT))[0]


async def test_a_body_over_the_limit_is_told_as_over_http() -> None:
    """The limit on bodies holds for each item, to the byte."""
    body = {"workflow_type": "t", "input": ["x" * 200]}
    size = len(encoder.encode(body))
    for limit, status in ((size, 200), (size - 1, 413)):
        async with caller(with_limits(body_bytes_max=limit)) as c:
            answer = await c.house.post(WORKFLOW, body)
            assert status == answer.status
            assert (status, answer.body) == await c.told("POST", WORKFLOW, body)


async def test_requests_of_a_frame_are_answered_each() -> None:
    """One frame asks many things; what is ready together comes back in one frame."""
    async with caller() as c:
        await c.ask((7, "GET", COUNT), (8, "GET", f"{PREFIX}nowhere"), (9, "POST", WORKFLOW, {"workflow_type": "t"}))
        assert [200, 404, 200] == [(await c.answer(request_id))[0] for request_id in (7, 8, 9)]
        assert [{7, 8, 9}] == [set(frame) for frame in c.frames]


async def test_answers_come_as_they_are_ready() -> None:
    """A request that waits holds up no other one."""
    async with caller() as c:
        await c.begin("workflow_result", 1, "GET", RESULT)
        assert 200 == (await c.told("GET", COUNT))[0]
        c.house.api.waits["workflow_result"].set()
        assert "COMPLETED" == (await c.answer(1))[1]["status"]
        assert [[99], [1]] == c.frames


async def test_a_large_frame_begins_in_turns() -> None:
    """The first requests of a large frame are answered before its last ones have begun."""
    async with caller() as c:
        count = 3 * channel.AT_ONCE_MAX
        await c.ask(*((request_id, "GET", COUNT) for request_id in range(count)))
        await c.answer(count - 1)
        assert list(range(count)) == [request_id for frame in c.frames for request_id in frame]
        assert len(c.frames) > 1
        assert len(c.frames[0]) <= 2 * channel.AT_ONCE_MAX


async def test_an_empty_frame_asks_nothing() -> None:
    """A frame without items is taken and not answered."""
    async with caller() as c:
        await c.ask()
        await c.told("GET", COUNT)
        assert [[99]] == c.frames


# ---- giving up ----


async def test_a_cancel_ends_the_operation() -> None:
    """What is given up is not answered, and its id is free again."""
    async with caller() as c:
        await c.begin("workflow_result", 1, "GET", RESULT)
        await c.ask((1, CANCEL))
        await c.house.api.cancelled.wait()
        assert 200 == (await c.told("GET", COUNT))[0]
        await c.ask((1, "GET", COUNT))
        assert 200 == (await c.answer(1))[0]
        assert [[99], [1]] == c.frames


async def test_a_cancel_may_be_in_the_frame_of_its_request() -> None:
    """A request that is given up before it has begun leaves nothing behind."""
    async with caller() as c:
        await c.ask((1, "GET", RESULT), (1, CANCEL))
        await c.told("GET", COUNT)
        await c.ask((1, "GET", COUNT))
        assert 200 == (await c.answer(1))[0]
        assert [[99], [1]] == c.frames


async def test_a_cancel_of_nothing_is_nothing() -> None:
    """The answer may have been on its way when the caller gave up."""
    async with caller() as c:
        await c.ask((5, CANCEL))
        await c.told("GET", COUNT)
        assert [[99]] == c.frames


@pytest.mark.parametrize("abruptly", [False, True], ids=["closed", "lost"])
async def test_a_closed_channel_cancels_what_it_asked_for(abruptly: bool) -> None:
    """The poll of a worker that is gone is cancelled, so that it takes no tasks."""
    async with caller() as c:
        await c.begin("poll", 1, "POST", POLL, {"session": "s", "sequence": 1})
        if abruptly:
            c.socket._response.close()
        else:
            await c.socket.close()
        await c.house.api.cancelled.wait()


# ---- refusals ----


async def test_an_id_in_use_is_refused() -> None:
    """The second request of an id is told, and the first goes on."""
    async with caller() as c:
        await c.begin("workflow_result", 1, "GET", RESULT)
        await c.ask((1, "GET", COUNT))
        status, body = await c.answer(1)
        assert (400, "INVALID_ARGUMENT") == (status, body["code"])
        c.house.api.waits["workflow_result"].set()
        assert "COMPLETED" == (await c.answer(1))[1]["status"]


async def test_too_many_requests_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over the limit is told to come later, what is within it is answered, and then there is room again."""
    monkeypatch.setattr(channel, "REQUESTS_MAX", 1)
    async with caller() as c:
        await c.begin("workflow_result", 1, "GET", RESULT)
        status, body = await c.told("GET", COUNT)
        assert (429, "RESOURCE_EXHAUSTED") == (status, body["code"])
        c.house.api.waits["workflow_result"].set()
        assert "COMPLETED" == (await c.answer(1))[1]["status"]
        assert 200 == (await c.told("GET", COUNT))[0]


async def test_a_text_frame_closes_the_channel() -> None:
    """Frames are binary."""
    async with caller() as c:
        await c.socket.send_str("[]")
        assert WSCloseCode.UNSUPPORTED_DATA == await c.closed()


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[1]", b'[["x","GET","/"]]', b"[[1]]", b'[[1,"\xff"]]', b"\xff", b'[[1,"GET","/"],'], ids=repr
)
async def test_a_frame_of_another_type_closes_the_channel(data: bytes) -> None:
    """Nothing of such a frame is done, and others are served as before."""
    async with caller() as c:
        await c.socket.send_bytes(data)
        assert WSCloseCode.INVALID_TEXT == await c.closed()
        assert 200 == (await c.house.get(COUNT)).status


@pytest.mark.parametrize("over", [0, 1])
async def test_a_frame_over_the_limit_closes_the_channel(monkeypatch: pytest.MonkeyPatch, over: int) -> None:
    """A frame of the largest size is taken, one byte more is not."""
    monkeypatch.setattr(channel, "FRAME_BYTES_MAX", 1_000)
    item = encoder.encode([[99, "GET", COUNT]])
    async with caller() as c:
        await c.socket.send_bytes(item.ljust(1_000 + over))
        if over:
            assert WSCloseCode.MESSAGE_TOO_BIG == await c.closed()
        else:
            assert 200 == (await c.answer(99))[0]


async def test_what_is_ready_while_it_closes_makes_no_complaint() -> None:
    """An answer that comes between the service's closing and the caller's is dropped in silence."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with house() as h, h.client.ws_connect(h.address + CHANNEL_PATH, autoclose=False) as socket:
        c = Caller(h, socket)
        await c.begin("workflow_result", 1, "GET", RESULT)
        await socket.send_str("[]")
        assert WSCloseCode.UNSUPPORTED_DATA == (await socket.receive()).data
        h.api.waits["workflow_result"].set()
        await h.get(COUNT)
    gc.collect()
    assert [] == complaints


# ---- who may open one ----


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Host": "evil.example:7233"}, 403),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"perdure-protocol": "9"}, 426),
    ],
    ids=["origin", "host", "key", "protocol"],
)
async def test_the_guard_stands_before_the_channel(headers: dict[str, str], status: int) -> None:
    """Web pages, strangers and other protocols are refused before anything is opened."""
    ours = {"Authorization": "Bearer sesame", "perdure-protocol": "1"}
    async with house(msgspec.structs.replace(SETTINGS, api_key="sesame")) as h:
        async with h.client.ws_connect(h.address + CHANNEL_PATH, headers=ours) as socket:
            assert 200 == (await Caller(h, socket).told("GET", COUNT))[0]
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await h.client.ws_connect(h.address + CHANNEL_PATH, headers=ours | headers)
        assert status == caught.value.status


async def test_a_plain_request_opens_nothing() -> None:
    """A request for the channel's path that is no upgrade is told so."""
    async with house() as h:
        answer = await h.get(CHANNEL_PATH)
        assert (400, "INVALID_ARGUMENT") == (answer.status, answer.code)


# ---- going away ----


async def test_draining_closes_a_quiet_channel() -> None:
    """A channel without requests is closed at once."""
    async with caller() as c:
        await c.told("GET", COUNT)
        await c.house.frontend.drain()
        assert WSCloseCode.GOING_AWAY == await c.closed()


async def test_draining_answers_everything_first() -> None:
    """Waits are answered with what is known, polls when matching ends them; only then is the channel closed."""
    async with caller() as c:
        await c.begin("poll", 1, "POST", POLL, {"session": "s", "sequence": 1})
        await c.begin("workflow_result", 2, "GET", RESULT)
        await c.begin("update_workflow", 3, "POST", f"{WORKFLOW}/update/n", {"update_id": "u"})
        await c.house.frontend.drain()
        assert [200, 200] == [(await c.answer(2))[0], (await c.answer(3))[0]]
        assert ("default", "w", "", 0.0) == c.house.api.last("workflow_result")
        assert OutcomeWait(stage="COMPLETED") == c.house.api.last("update_outcome")[-1]
        assert 200 == (await c.told("GET", RESULT))[0]
        c.house.api.waits["poll"].set()
        assert 200 == (await c.answer(1))[0]
        assert WSCloseCode.GOING_AWAY == await c.closed()


async def test_a_channel_that_opens_late_is_closed_too() -> None:
    """One that comes over a connection from before the drain does not hold up the server."""
    async with house() as h:
        await h.get(COUNT)
        address = h.address
        await h.frontend.drain()
        async with h.client.ws_connect(address + CHANNEL_PATH) as socket:
            assert WSCloseCode.GOING_AWAY == await Caller(h, socket).closed()


async def test_a_drain_ends_when_the_last_request_is_given_up() -> None:
    """What is not answered any more holds up no server that goes away."""
    async with caller() as c:
        await c.begin("poll", 1, "POST", POLL, {"session": "s", "sequence": 1})
        await c.house.frontend.drain()
        await c.ask((1, CANCEL))
        assert WSCloseCode.GOING_AWAY == await c.closed()
