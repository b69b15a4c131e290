"""One channel: many requests of one caller over one WebSocket, each a task of its own, answers in frames.

Answers that are ready in the same turn of the loop leave in one frame. When the connection closes, what it asked for
is cancelled, as HTTP requests are. It must not know what an operation does.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import NamedTuple

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from perdure_proto.channel import (
    CANCEL,
    FRAME_BYTES_MAX,
    NOTHING,
    ChannelRequest,
    decode_requests,
    encode_answer,
    frame,
)
from perdure_proto.codec import encoder
from perdure_proto.errors import RETRY_AFTER, Code, ServiceError
from perdure_server.config import Limits
from perdure_server.frontend.admission import RETRY_AFTER_SECONDS, Admission
from perdure_server.frontend.answers import body_too_large
from perdure_server.frontend.asked import Asked
from perdure_server.frontend.forwarding import Forwarding, is_elsewhere
from perdure_server.frontend.operations import Operations
from perdure_server.frontend.peers import OK
from perdure_server.frontend.refusals import refusal
from perdure_server.frontend.unread import cut

HEARTBEAT_SECONDS = 20.0
"""How often a caller that says nothing is asked whether it is there; it has half as long to answer."""

REQUESTS_MAX = 10_000
"""Requests of one channel that are not answered yet."""

AT_ONCE_MAX = 16
"""So many requests of a frame begin in one turn of the loop."""

COMMA = 1

ANSWERS_UNSENT_MAX = 1_000
"""So many answers may wait for a caller that does not read: then nothing more is taken from it."""


class ChannelParts(NamedTuple):
    """What all channels of a server share."""

    operations: Operations
    forwarding: Forwarding
    admission: Admission
    limits: Limits


class Channel:
    """Serves one WebSocket until it closes."""

    def __init__(self, parts: ChannelParts, *, keeps_map: bool) -> None:
        self._operations, self._forwarding, self._admission, limits = parts
        self._places = self._admission.places
        self._keeps_map = keeps_map
        self._body_bytes_max = limits.body_bytes_max
        self._unsent_bytes_max = limits.channel_unsent_bytes_max
        self._unsent_bytes = 0
        self._transport: asyncio.Transport | None = None
        self._socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_SECONDS, max_msg_size=FRAME_BYTES_MAX + 1, compress=False
        )
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ids: dict[asyncio.Task[None], int] = {}
        self._answers: list[bytes] = []
        self._ready = asyncio.Event()
        self._sent = asyncio.Event()
        self._is_draining = False
        self._given_up: set[int] = set()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """The whole life of the channel."""
        await self._socket.prepare(request)
        self._transport = request.transport
        sending = asyncio.create_task(self._send_while_open())
        try:
            await self._receive()
        finally:
            sending.cancel()
            for task in self._tasks.values():
                task.cancel()
        return self._socket

    def drain(self) -> None:
        """Close when everything that was asked is answered."""
        self._is_draining = True
        self._ready.set()

    def give_up(self) -> None:
        """This server is cut off: what waits here is told to go elsewhere."""
        self._given_up |= self._tasks.keys()
        for task in self._tasks.values():
            task.cancel()

    async def _receive(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY:
                await self._socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"send binary frames")
                return
            try:
                requests = decode_requests(message.data)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                reason = f"the frame does not fit its type: {error}".encode()
                await self._socket.close(code=WSCloseCode.INVALID_TEXT, message=reason[:120])
                return
            while len(self._answers) > ANSWERS_UNSENT_MAX or self._unsent_bytes > self._unsent_bytes_max // 4:
                self._sent.clear()
                await self._sent.wait()
            for number, request in enumerate(requests, 1):
                self._begin(request)
                if number % AT_ONCE_MAX == 0:
                    await asyncio.sleep(0)

    def _begin(self, request: ChannelRequest) -> None:
        known = self._tasks.get(request.id)
        if request.method == CANCEL:
            if known is not None:
                known.cancel()
        elif known is not None or len(self._tasks) >= REQUESTS_MAX:
            what = "this id is in use" if known is not None else f"at most {REQUESTS_MAX} requests at a time"
            details = {} if known is not None else {RETRY_AFTER: RETRY_AFTER_SECONDS}
            code = Code.INVALID_ARGUMENT if known is not None else Code.RESOURCE_EXHAUSTED
            self._answer(request.id, ServiceError(code, what, **details))
        else:
            task = asyncio.get_running_loop().create_task(self._run(request))
            self._tasks[request.id] = task
            self._ids[task] = request.id
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A callback and no `finally`: a task that is cancelled before its first step never gets there."""
        request_id = self._ids.pop(task)
        del self._tasks[request_id]
        self._given_up.discard(request_id)
        if self._is_draining:
            self._ready.set()

    async def _run(self, request: ChannelRequest) -> None:
        backlog = self._admission.backlog
        try:
            # A copy: a payload that is kept must not keep the whole frame.
            body = b"" if request.method == "GET" or request.body == NOTHING else bytes(request.body)
            if len(body) > self._body_bytes_max:
                raise body_too_large(self._body_bytes_max)
            endpoint, names = self._operations.find(request.method, request.target)
            room, bound = self._places[endpoint.route.handler]
            # `Admission.enter` without the call: on the hottest path it would cost more than what is compared.
            if (
                room.requests >= room.requests_max
                or room.bytes + len(body) > room.bytes_max
                or (bound is not None and (backlog.runs >= bound.runs_max or backlog.bytes >= bound.bytes_max))
            ):
                self._admission.check(endpoint.route, len(body))
            asked = Asked(endpoint, names, request.target, body)
            self._operations.admit(asked)
            self._forwarding.check_in_touch(asked)
            room.requests += 1
            room.bytes += len(body)
            try:
                if asked.member:
                    status, answer = await self._forwarding.of_member(asked, keeps_map=self._keeps_map)
                else:
                    status, answer = OK, await self._operations.run(asked)
            except ServiceError as error:
                if self._keeps_map or asked.member or not is_elsewhere(error):
                    raise
                status, answer = await self._forwarding.elsewhere(asked, error)
            finally:
                room.requests -= 1
                room.bytes -= len(body)
        except asyncio.CancelledError:
            if request.id not in self._given_up:
                raise
            self._answer(request.id, self._forwarding.cut_off())
        except Exception as error:  # noqa: BLE001 - it belongs to the request
            self._answer(request.id, refusal(error, request.method, request.target))
        else:
            self._answers.append(encode_answer(request.id, status, answer))
            self._ready.set()
            self._unsent_bytes += len(answer)
            if self._unsent_bytes > self._unsent_bytes_max:
                self._cut()

    def _answer(self, request_id: int, error: ServiceError) -> None:
        said = encode_answer(request_id, error.status, encoder.encode(error.body()))
        self._answers.append(said)
        self._unsent_bytes += len(said) + COMMA
        self._ready.set()
        if self._unsent_bytes > self._unsent_bytes_max:
            self._cut()

    def _cut(self) -> None:
        """A caller that has let too much gather does not get it."""
        if self._transport is not None:
            cut(self._transport, self._unsent_bytes, "channel_unsent_bytes_max")
            self._transport = None

    async def _send_while_open(self) -> None:
        with suppress(ConnectionError):  # the handler learns of it too, and ends
            await self._send()

    async def _send(self) -> None:
        while True:
            await self._ready.wait()
            self._ready.clear()
            if self._answers:
                answers, self._answers = self._answers, []
                data = frame(answers)
                await self._socket.send_bytes(data)
                self._unsent_bytes -= len(data) - COMMA  # two brackets, and one comma less than answers
                self._sent.set()
            if self._is_draining and not self._tasks and not self._answers:
                await self._socket.close(code=WSCloseCode.GOING_AWAY)
                return
