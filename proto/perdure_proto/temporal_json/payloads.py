"""Payloads: Temporal's base64 envelopes around the values that are plain JSON here.

A list of values has one `encoding` here and one for each payload there; `temporal/payload` keeps what does not fit.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from perdure_proto.codec import encoder
from perdure_proto.payload import BASE64_JSON, NULL, PLAIN

JSON_PLAIN: Final = "json/plain"
BINARY_NULL: Final = "binary/null"
TEMPORAL_PAYLOAD: Final = "temporal/payload"
"""The encoding of values that are the base64 of a whole payload as JSON."""

MARK: Final = "perdure"
"""The metadata key of what only perdure reads."""

KWARGS: Final = "kwargs"
"""The mark of the payload that holds keyword arguments."""

RESERVED: Final = frozenset({PLAIN, BASE64_JSON, TEMPORAL_PAYLOAD})
"""Encodings with a meaning here: a payload whose own encoding has such a name is kept whole."""


class Payload(Struct, frozen=True, omit_defaults=True):
    """One value. Metadata values and data are base64."""

    metadata: dict[str, str] = {}
    data: str = ""


class Payloads(Struct, frozen=True, omit_defaults=True):
    """A list of values."""

    payloads: tuple[Payload, ...] = ()


class StrictPayload(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold for a plain value to pass as a payload of its own."""

    metadata: dict[str, str]
    data: str = ""


_payload = msgspec.json.Decoder(Payload)
_strict_payload = msgspec.json.Decoder(StrictPayload)
_payloads = msgspec.json.Decoder(Payloads)
_raw = msgspec.json.Decoder(Raw)
_values = msgspec.json.Decoder(list[Raw])
_text = msgspec.json.Decoder(str)
_any = msgspec.json.Decoder(Any)


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def from_base64(text: str) -> bytes:
    """Bytes from either alphabet, padded or not, as proto3 JSON allows.

    >>> from_base64("_-8") == from_base64("/+8=")
    True
    """
    padded = text.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)


def payload(data: bytes, **metadata: str) -> Payload:
    """A payload around bytes."""
    return Payload({key: to_base64(value.encode()) for key, value in metadata.items()}, to_base64(data))


NULL_PAYLOAD: Final = payload(b"", encoding=BINARY_NULL)


def metadata_of(sealed: Payload, key: str) -> str:
    return from_base64(sealed.metadata.get(key, "")).decode()


def is_null(sealed: Payload) -> bool:
    """Whether a payload stands for nothing: Temporal also writes an empty one, to remove a key of a memo."""
    encoding = metadata_of(sealed, "encoding")
    return encoding == BINARY_NULL or (not encoding and not sealed.data)


def encoding_of(sealed: Payload) -> str:
    """The encoding that a payload has here."""
    name = metadata_of(sealed, "encoding")
    if name == JSON_PLAIN:
        return BASE64_JSON if metadata_of(sealed, MARK) == BASE64_JSON else PLAIN
    return TEMPORAL_PAYLOAD if name in RESERVED or len(sealed.metadata) > 1 else name


def checked(sealed: Payload) -> Payload:
    """A payload that can be read again, else `ValueError` or `DecodeError`."""
    if encoding_of(sealed) == PLAIN:
        unseal(sealed, PLAIN)
    from_base64(sealed.data)
    return sealed


def seal(value: Raw, encoding: str) -> Payload:
    """One value as a payload. A value that is not what its encoding says is written as the JSON that it is."""
    if value == NULL:
        return NULL_PAYLOAD
    plain = payload(bytes(value), encoding=JSON_PLAIN)
    if encoding in {PLAIN, JSON_PLAIN, BINARY_NULL}:
        return plain
    try:
        data = from_base64(_text.decode(value))
        if encoding == TEMPORAL_PAYLOAD:
            return checked(_payload.decode(data))
    except (msgspec.MsgspecError, ValueError):
        return plain
    if encoding == BASE64_JSON:
        return payload(data, encoding=JSON_PLAIN, perdure=BASE64_JSON)
    return payload(data, encoding=encoding)


def unseal(sealed: Payload, encoding: str) -> Raw:
    """The value of a payload in one of the encodings that it can have here."""
    if is_null(sealed):
        return NULL
    if encoding == PLAIN:
        return _raw.decode(from_base64(sealed.data))
    data = encoder.encode(sealed) if encoding == TEMPORAL_PAYLOAD else from_base64(sealed.data)
    return Raw(encoder.encode(to_base64(data)))


def seal_all(values: Iterable[Raw], encoding: str) -> Payloads:
    return Payloads(tuple(seal(value, encoding) for value in values))


def unseal_all(sealed: Sequence[Payload]) -> tuple[list[Raw], str]:
    """The values of a list of payloads, and their one encoding."""
    encodings = {encoding_of(one) for one in sealed if not is_null(one)}
    encoding = TEMPORAL_PAYLOAD if len(encodings) > 1 else next(iter(encodings), PLAIN)
    return [unseal(one, encoding) for one in sealed], encoding


def read_payloads(leaf: Raw) -> tuple[Payload, ...]:
    return _payloads.decode(leaf).payloads


def read_text(leaf: Raw) -> str | None:
    """The text that a single payload holds, if it is plain text."""
    sealed = _payload.decode(leaf)
    value = _any.decode(unseal_single(sealed))
    return value if isinstance(value, str) else None


def join(values: Iterable[Raw]) -> Raw:
    """Values as one JSON array."""
    return Raw(b"[" + b",".join(map(bytes, values)) + b"]")


def split(value: Raw) -> list[Raw]:
    """The elements of a JSON array; anything else is one value."""
    return _values.decode(value) if bytes(value).startswith(b"[") else [value]


def seal_single(value: Raw) -> Payload:
    """A value whose field has no encoding: an opaque payload was read as its own JSON, and is written as itself."""
    try:
        strict = _strict_payload.decode(value)
        opaque = checked(Payload(strict.metadata, strict.data))
    except (msgspec.MsgspecError, ValueError):
        return seal(value, PLAIN)
    return seal(value, PLAIN) if encoding_of(opaque) == PLAIN else opaque


def unseal_single(sealed: Payload) -> Raw:
    """A value of a field without an encoding: plain JSON, or the payload itself as JSON."""
    if is_null(sealed) or encoding_of(sealed) == PLAIN:
        return unseal(sealed, PLAIN)
    return Raw(encoder.encode(sealed))


def write_map(values: dict[str, Any]) -> dict[str, Payload]:
    """A memo, a header or search attributes."""
    return {key: seal_single(Raw(encoder.encode(value))) for key, value in values.items()}


_map = msgspec.json.Decoder(dict[str, Payload | None])


def read_map(leaf: Raw) -> dict[str, Any]:
    """A memo, a header or search attributes, decoded as they are in events."""
    return {key: _any.decode(unseal_single(one or NULL_PAYLOAD)) for key, one in _map.decode(leaf).items()}
