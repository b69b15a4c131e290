"""Encoders and decoders, made once: JSON to Structs and back, and the joining of encoded events.

The encoding of events is a contract with the log: `tests/wire` holds golden bytes for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

import msgspec

from perdure_proto.commands import AnyCommand
from perdure_proto.errors import Code, ServiceError
from perdure_proto.events import AnyEvent

encoder: Final = msgspec.json.Encoder(decimal_format="string")
"""The one JSON encoder."""

_events = msgspec.json.Decoder(list[AnyEvent])
_commands = msgspec.json.Decoder(list[AnyCommand])
_EMPTY: Final = 2
"""Length of `[]`."""


def encode_events(events: Sequence[AnyEvent]) -> bytes:
    """Events as one JSON array: the text of a row of the log."""
    return encoder.encode(events)


def decode_events(data: bytes | str | msgspec.Raw) -> list[AnyEvent]:
    """The events of a row, or of several joined rows."""
    return _events.decode(data)


def decode_commands(data: bytes | msgspec.Raw) -> list[AnyCommand]:
    """Commands of one workflow task."""
    return _commands.decode(data)


def join_arrays(arrays: Iterable[bytes]) -> bytes:
    """Several encoded JSON arrays as one, without decoding any.

    >>> join_arrays([b"[1,2]", b"[]", b"[3]"])
    b'[1,2,3]'
    """
    return b"[" + b",".join([array[1:-1] for array in arrays if len(array) > _EMPTY]) + b"]"


T = TypeVar("T")


def decode_request(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """A request body as its Struct.

    Raises `ServiceError` with `MALFORMED_JSON` when it is no JSON, `INVALID_ARGUMENT` when a field does not fit.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise ServiceError(Code.INVALID_ARGUMENT, f"the request does not fit its type: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ServiceError(Code.MALFORMED_JSON, f"the request body is not valid JSON: {error}") from None
