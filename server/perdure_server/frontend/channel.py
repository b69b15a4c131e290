"""One channel: many requests of one caller over one WebSocket, each a task of its own, answers in frames.

Answers that are ready in the same turn of the loop leave in one frame. When the connection closes, what it asked for
is cancelled, as HTTP requests are. It must not know what an operation does.
"""

from __future__ import annotations

import asyncio

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
from perdure_proto.errors import Code, ServiceError
from perdure_server.config import Limits
from perdure_server.frontend.answers import body_too_large
from perdure_server.frontend.asked import Asked
from perdure_server.frontend.forwarding import Forwarding, is_elsewhere
from perdure_server.frontend.operations import Operations
from perdure_server.frontend.peers import OK
from perdure_server.frontend.refusals import refusal

HEARTBEAT_SECONDS = 20.0
"""How often a caller that says nothing is asked whether it is there; it has half as long to answer."""

REQUESTS_MAX = 10_000
"""Requests of one channel that are not answered yet."""

AT_ONCE_MAX = 16
"""So many requests of a frame begin in one turn of the loop."""

ANSWERS_UNSENT_MAX = 1_000
"""So many answers may wait for a caller that does not read: then nothing more is taken from it."""


class Channel:
    """Serves one WebSocket until it closes."""

    def __init__(self, operations: Operations, forwarding: Forwarding, limits: Limits, *, keeps_map: bool) -> None:
        self._operations = operations
        self._forwarding = forwarding
        self._keeps_map = keeps_map
        self._body_bytes_max = limits.body_bytes_max
        self._socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_SECONDS, max_msg_size=FRAME_BYTES_MAX + 1, compress=False
        )
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._answers: list[bytes] = []
        self._ready = asyncio.Event()
        self._sent = asyncio.Event()
        self._is_draining = False
        self._given_up: set[int] = set()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """The whole life of the channel."""
        await self._socket.prepare(request)
        sending = asyncio.create_task(self._send())
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
            while len(self._answers) > ANSWERS_UNSENT_MAX:
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
            code = Code.INVALID_ARGUMENT if known is not None else Code.RESOURCE_EXHAUSTED
            self._answer(request.id, ServiceError(code, what))
        else:
            task = asyncio.get_running_loop().create_task(self._run(request))
            self._tasks[request.id] = task
            task.add_done_callback(lambda _: self._ended(request.id))

    def _ended(self, request_id: int) -> None:
        """A callback and no `finally`: a task that is cancelled before its first step never gets there."""
        del self._tasks[request_id]
        self._given_up.discard(request_id)
        if self._is_draining:
            self._ready.set()

    async def _run(self, request: ChannelRequest) -> None:
        try:
            # A copy: a payload that is kept must not keep the whole frame.
            body = b"" if request.method == "GET" or request.body == NOTHING else bytes(request.body)
            if len(body) > self._body_bytes_max:
                raise body_too_large(self._body_bytes_max)
            endpoint, names = self._operations.find(request.method, request.target)
            asked = Asked(endpoint, names, request.target, body)
            self._operations.admit(asked)
            self._forwarding.check_in_touch(asked)
            if asked.member:
                status, answer = await self._forwarding.of_member(asked, keeps_map=self._keeps_map)
            else:
                try:
                    status, answer = OK, await self._operations.run(asked)
                except ServiceError as error:
                    if self._keeps_map or not is_elsewhere(error):
                        raise
                    status, answer = await self._forwarding.elsewhere(asked, error)
        except asyncio.CancelledError:
            if request.id not in self._given_up:
                raise
            self._answer(request.id, self._forwarding.cut_off())
        except Exception as error:  # noqa: BLE001 - it belongs to the request
            self._answer(request.id, refusal(error, request.method, request.target))
        else:
            self._answers.append(encode_answer(request.id, status, answer))
            self._ready.set()

    def _answer(self, request_id: int, error: ServiceError) -> None:
        self._answers.append(encode_answer(request_id, error.status, encoder.encode(error.body())))
        self._ready.set()

    async def _send(self) -> None:
        while True:
            await self._ready.wait()
            self._ready.clear()
            if self._answers:
                answers, self._answers = self._answers, []
                await self._socket.send_bytes(frame(answers))
                self._sent.set()
            if self._is_draining and not self._tasks and not self._answers:
                await self._socket.close(code=WSCloseCode.GOING_AWAY)
                return
