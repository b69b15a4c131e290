"""The client's end of a channel: requests of the HTTP API, many at a time, over one WebSocket.

It is an optimisation, never a need: while it is not open, requests go over HTTP one by one. It opens by itself when
there is traffic, and is tried again with growing pauses when it could not be opened or was lost. What waits for an
answer when it is lost fails as on a lost connection. Requests of the same turn of the loop leave in one frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

import aiohttp
import msgspec

from perdure_proto.channel import (
    CANCEL,
    CHANNEL_PATH,
    FRAME_BYTES_MAX,
    ChannelAnswer,
    decode_answers,
    encode_request,
    frame,
)

OPEN_AFTER: Final = 3
"""So many requests are not worth a channel."""

HEARTBEAT_SECONDS: Final = 5.0
"""How often a service that says nothing is asked whether it is there; it has half as long to answer."""

OPENING_SECONDS_MAX: Final = 10.0
PAUSE_SECONDS_FIRST: Final = 0.1
PAUSE_SECONDS_MAX: Final = 30.0

BODY_BYTES_MAX: Final = 2**18
"""A larger body goes over HTTP: nothing should wait behind it."""

_COMMA: Final = 1


class ChannelLostError(ConnectionError):
    """The channel closed before the answer came: nobody knows whether the request was served."""


class Channel:
    """At most one WebSocket to an address. Used on one loop alone."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._url = address + CHANNEL_PATH
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._waiting: dict[int, asyncio.Future[ChannelAnswer]] = {}
        self._items: list[bytes] = []
        self._items_bytes = 0
        self._last_id = 0
        self._requests = 0
        self._task: asyncio.Task[None] | None = None
        self._writes: set[asyncio.Task[None]] = set()
        self._pause = PAUSE_SECONDS_FIRST
        self._not_before = 0.0

    def takes(self, data: bytes | None) -> bool:
        """Whether this request can go over the channel now; where there is none yet, it may begin to open."""
        if self._socket is not None:
            return data is None or len(data) <= BODY_BYTES_MAX
        self._requests += 1
        if self._task is None and self._requests > OPEN_AFTER and time.monotonic() >= self._not_before:
            self._task = asyncio.get_running_loop().create_task(self._live())
        return False

    async def send(self, method: str, target: str, data: bytes | None, timeout: float) -> tuple[int, bytes]:
        """Status and body of the answer. Raises `ChannelLostError`, or `TimeoutError` after so many seconds."""
        self._last_id = request_id = self._last_id + 1
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[ChannelAnswer] = loop.create_future()
        self._waiting[request_id] = answered
        self._put(encode_request(request_id, method, target, data))
        timer = loop.call_later(timeout, _give_up, answered)
        try:
            answer = await answered
        finally:
            timer.cancel()
            if self._waiting.pop(request_id, None) is not None and self._socket is not None:
                self._put(encode_request(request_id, CANCEL, "", None))
        return answer.status, bytes(answer.body)

    async def close(self) -> None:
        """Closes it; what waits fails."""
        self.abandon()
        if self._task is not None:
            await asyncio.wait([self._task])

    def abandon(self) -> None:
        """As `close`, without waiting: its owner was dropped."""
        self._not_before = float("inf")
        if self._task is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and the task with it
                self._task.cancel()

    def _put(self, item: bytes) -> None:
        """Into the frame of this turn of the loop."""
        if self._items and self._items_bytes + len(item) > FRAME_BYTES_MAX // 2:
            self._flush()
        if not self._items:
            asyncio.get_running_loop().call_soon(self._flush)
        self._items.append(item)
        self._items_bytes += len(item) + _COMMA

    def _flush(self) -> None:
        if self._items and self._socket is not None:
            write = asyncio.get_running_loop().create_task(self._write(self._socket, frame(self._items)))
            self._writes.add(write)
            write.add_done_callback(self._writes.discard)
        self._items, self._items_bytes = [], 0

    async def _write(self, socket: aiohttp.ClientWebSocketResponse, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # the reader sees it too, and fails what waits
            await socket.send_bytes(data)

    async def _live(self) -> None:
        """Opens the channel and reads it until it is lost."""
        try:
            async with asyncio.timeout(OPENING_SECONDS_MAX):
                socket = await self._session.ws_connect(
                    self._url, heartbeat=HEARTBEAT_SECONDS, max_msg_size=0, compress=0
                )
        except (aiohttp.ClientError, OSError, TimeoutError):  # HTTP says what is wrong, if anything is
            self._closed()
            return
        self._socket = socket
        try:
            await self._read(socket)
        finally:
            self._closed()
            await socket.close()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            self._pause = PAUSE_SECONDS_FIRST
            try:
                answers = decode_answers(message.data)
            except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):  # not perdure's: something stands in between
                return
            for answer in answers:
                answered = self._waiting.pop(answer.id, None)
                if answered is not None and not answered.done():
                    answered.set_result(answer)

    def _closed(self) -> None:
        self._socket = self._task = None
        self._items, self._items_bytes = [], 0
        self._not_before = max(self._not_before, time.monotonic() + self._pause)
        self._pause = min(self._pause * 2, PAUSE_SECONDS_MAX)
        waiting, self._waiting = self._waiting, {}
        for answered in waiting.values():
            if not answered.done():
                answered.set_exception(ChannelLostError("the connection was lost"))


def _give_up(answered: asyncio.Future[ChannelAnswer]) -> None:
    if not answered.done():
        answered.set_exception(TimeoutError())
