"""The frames of a channel: requests of the HTTP API, many at a time, over one WebSocket.

A frame is a binary message that holds a JSON array. A caller's frame holds `ChannelRequest`s, the service's
`ChannelAnswer`s, in any order: `id` says what belongs together. What a request means, and what it is answered, is
what the same method, target and body mean over HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Raw, Struct

from perdure_proto.codec import encoder

CHANNEL_PATH: Final = "/api/v1/channel"

SHARD_MAP_HEADER: Final = "perdure-shard-map"
"""Sent by who keeps a map of shards: is told the owner (`WRONG_OWNER`) where others have their request passed on."""

FRAME_BYTES_MAX: Final = 4 * 2**20
"""The largest frame that the service takes. What does not fit is sent over HTTP."""

CANCEL: Final = "CANCEL"
"""The method of an item that gives up an earlier one of the same `id`. It is not answered, and neither is that one."""

NOTHING: Final = Raw(b"null")


class ChannelRequest(Struct, frozen=True, array_like=True, gc=False):
    """One request: `[7, "POST", "/api/v1/namespaces/default/workflows/order-1", {…}]`.

    `id` is the caller's choice, unique among its requests that are not answered. `target` is a path with its query.
    """

    id: int
    method: str
    target: str = ""
    body: Raw = NOTHING


class ChannelAnswer(Struct, frozen=True, array_like=True, gc=False):
    """One answer: `[7, 200, {…}]`, with the status and the body that HTTP would have."""

    id: int
    status: int
    body: Raw = NOTHING


_requests = msgspec.json.Decoder(list[ChannelRequest])
_answers = msgspec.json.Decoder(list[ChannelAnswer])


def encode_request(request_id: int, method: str, target: str, body: bytes | None) -> bytes:
    """One item of a caller's frame; the body is encoded already."""
    return encoder.encode((request_id, method, target) if body is None else (request_id, method, target, Raw(body)))


def encode_answer(request_id: int, status: int, body: bytes) -> bytes:
    """One item of the service's frame; the body is encoded already."""
    return b"[%d,%d,%b]" % (request_id, status, body)


def frame(items: Iterable[bytes]) -> bytes:
    """Encoded items as one message.

    >>> frame([encode_answer(1, 200, b"{}"), encode_answer(2, 404, b"{}")])
    b'[[1,200,{}],[2,404,{}]]'
    """
    return b"[" + b",".join(items) + b"]"


def decode_requests(data: bytes) -> list[ChannelRequest]:
    """The items of a caller's frame. Raises `msgspec.MsgspecError`, or `UnicodeDecodeError`."""
    return _requests.decode(data)


def decode_answers(data: bytes) -> list[ChannelAnswer]:
    """The items of the service's frame. Raises `msgspec.MsgspecError`, or `UnicodeDecodeError`."""
    return _answers.decode(data)
