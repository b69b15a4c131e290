"""The data converter: Python values to what travels, and back as their annotated types.

It owns the shape of arguments (positional ones as a JSON array, keyword ones as an object beside it) and the choice
of encoding: plain JSON, base64 where Postgres could not hold the text, or a payload codec's own. It does no I/O and
runs inside workflows, so a codec has to be synchronous and deterministic there.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar, cast, overload

import msgspec
from msgspec import Raw

from perdure._parameters import Parameters
from perdure._raw_value import RawValue
from perdure._type_codec import MsgspecCodec, TypeCodec, codec_for
from perdure.exceptions import ConversionError
from perdure_proto.payload import BASE64_JSON, EMPTY_LIST, NULL, PLAIN, is_unstorable

__all__ = ["DataConverter", "PayloadCodec", "PayloadConverter", "RawValue"]

T = TypeVar("T")

ROUND_TRIP_BYTES_MAX: Final = 16_384
"""Values up to this size are read back when they are written, so that what does not fit fails at the call."""

_any: Final[TypeCodec] = MsgspecCodec(Any)
_raws: Final = msgspec.json.Decoder(list[Raw])
_named_raws: Final = msgspec.json.Decoder(dict[str, Raw])
_ERRORS: Final = (ValueError, TypeError, OverflowError, RecursionError, msgspec.MsgspecError)


class PayloadCodec(Protocol):
    """Makes values opaque to the service: encryption, compression, or a reference into a store for large ones.

    It is called on the event loop, for workflows too: it must not wait, and the same bytes must decode for ever.

    Example:
        >>> import zlib
        >>> class Zip:
        ...     encoding = "json/zlib"
        ...     def encode(self, data: bytes) -> bytes:
        ...         return zlib.compress(data)
        ...     def decode(self, data: bytes) -> bytes:
        ...         return zlib.decompress(data)
        >>> converter = DataConverter(payload_codec=Zip())
        >>> converter.decode_value(*converter.encode_value("a" * 99), str) == "a" * 99
        True
    """

    @property
    def encoding(self) -> str:
        """The name that stands beside each opaque value, such as `binary/encrypted`; not empty, not `json/base64`."""
        ...

    def encode(self, data: bytes) -> bytes:
        """The opaque form of one JSON value."""
        ...

    def decode(self, data: bytes) -> bytes:
        """The JSON value of an opaque form."""
        ...


class DataConverter:
    """Writes values to JSON and reads them back as their annotated types.

    Args:
        payload_codec: makes every value opaque before it leaves this process. Default None: plain JSON.

    Example:
        >>> raw, encoding = DataConverter().encode_value([1, 2])
        >>> bytes(raw), encoding
        (b'[1,2]', '')
    """

    def __init__(self, *, payload_codec: PayloadCodec | None = None) -> None:
        if payload_codec is not None and payload_codec.encoding in {PLAIN, BASE64_JSON}:
            raise ValueError(f"a payload codec cannot be named {payload_codec.encoding!r}")
        self._codec = payload_codec

    def encode_args(
        self, args: Sequence[object], kwargs: Mapping[str, object], types: Sequence[Any] | None = None
    ) -> tuple[Raw, Raw, str]:
        """Arguments as `(input, kwargs, encoding)`.

        `types` are the types of the positional parameters in order, or a definition's `Parameters`, with which
        number and names of the arguments are checked too; None takes anything.
        Raises `ConversionError`, naming the argument that does not fit.
        """
        if not args and not kwargs and types is None:
            return EMPTY_LIST, NULL, PLAIN
        if isinstance(types, Parameters):
            types.check(len(args), kwargs)
        positional = [_encode(_place(types, i), value) for i, value in enumerate(args)]
        named = {name: _encode(_place(types, name), value) for name, value in kwargs.items()}
        encoding = self._encoding_of([*positional, *named.values()])
        listed = b"[" + b",".join([self._seal(data, encoding) for data in positional]) + b"]"
        if not named:
            return Raw(listed), NULL, encoding
        pairs = [msgspec.json.encode(name) + b":" + self._seal(data, encoding) for name, data in named.items()]
        return Raw(listed), Raw(b"{" + b",".join(pairs) + b"}"), encoding

    def decode_args(
        self, input: Raw | bytes, kwargs: Raw | bytes, encoding: str, types: Sequence[Any] | None = None
    ) -> tuple[list[Any], dict[str, Any]]:
        """The arguments as `(positional, keyword)`, each as its type; see `encode_args`.

        Raises `ConversionError`, naming the argument that does not fit.
        """
        try:
            positional = _raws.decode(input) if _is_given(input) else []
            named = _named_raws.decode(kwargs) if _is_given(kwargs) else {}
        except msgspec.MsgspecError as error:
            raise ConversionError(f"the arguments are not a JSON array and object: {error}") from None
        if isinstance(types, Parameters):
            types.check(len(positional), named)
        return (
            [self._decode(_place(types, i), raw, encoding) for i, raw in enumerate(positional)],
            {name: self._decode(_place(types, name), raw, encoding) for name, raw in named.items()},
        )

    def encode_value(self, value: object, type: Any = None) -> tuple[Raw, str]:
        """One value as `(raw, encoding)`; with a type, checked to fit it. Raises `ConversionError`.

        Example:
            >>> bytes(DataConverter().encode_value(None)[0])
            b'null'
        """
        data = _encode(_Place("the value", Any if type is None else type), value)
        encoding = self._encoding_of([data])
        return Raw(self._seal(data, encoding)), encoding

    @overload
    def decode_value(self, raw: Raw | bytes, encoding: str, type: type[T]) -> T: ...
    @overload
    def decode_value(self, raw: Raw | bytes, encoding: str = "", type: Any = None) -> Any: ...
    def decode_value(self, raw: Raw | bytes, encoding: str = "", type: Any = None) -> Any:
        """The value of what `encode_value` gave, as its type; None as type takes any JSON. Raises `ConversionError`.

        Example:
            >>> DataConverter().decode_value(b'"2020-01-01"', "", str)
            '2020-01-01'
        """
        return self._decode(_Place("the value", Any if type is None else type), raw, encoding)

    def encode_values(self, values: Sequence[object]) -> tuple[Raw, str]:
        """Untyped values, such as an error's details, as one JSON array; NULL for none. Raises `ConversionError`."""
        if not values:
            return NULL, PLAIN
        raw, _, encoding = self.encode_args(values, {})
        return raw, encoding

    def decode_values(self, raw: Raw | bytes, encoding: str = "") -> tuple[Any, ...]:
        """The values of what `encode_values` gave. Raises `ConversionError`."""
        return tuple(self.decode_args(raw, NULL, encoding)[0])

    def _encoding_of(self, values: Sequence[bytes]) -> str:
        if self._codec is not None and values:
            return self._codec.encoding
        return BASE64_JSON if any(map(is_unstorable, values)) else PLAIN

    def _seal(self, data: bytes, encoding: str) -> bytes:
        if encoding == PLAIN:
            return data
        if encoding != BASE64_JSON:
            assert self._codec is not None
            data = self._codec.encode(data)
        return b'"' + base64.b64encode(data) + b'"'

    def _open(self, raw: Raw | bytes, encoding: str) -> bytes | Raw:
        if encoding == PLAIN:
            return raw
        try:
            data = base64.b64decode(msgspec.json.decode(raw, type=str), validate=True)
        except ValueError as error:
            raise ConversionError(f"a value of encoding {encoding!r} is not a base64 string: {error}") from None
        if encoding == BASE64_JSON:
            return data
        if self._codec is None or self._codec.encoding != encoding:
            raise ConversionError(
                f"a value has encoding {encoding!r}; give DataConverter the payload codec of that name"
            )
        return self._codec.decode(data)

    def _decode(self, place: _Place, raw: Raw | bytes, encoding: str) -> Any:
        data = self._open(raw, encoding) if _is_given(raw) else b"null"
        codec = place.codec()
        try:
            return codec.decode(data)
        except _ERRORS as error:
            if encoding != PLAIN and isinstance(error, ValueError) and b"\\u" in bytes(data):
                return _decode_surrogates(place, codec, bytes(data))
            raise ConversionError(f"{place}: {error}") from None


class PayloadConverter:
    """Values to JSON and back, one by one: for what a dynamic definition takes as `RawValue`s.

    Example:
        >>> converter = PayloadConverter()
        >>> converter.from_payload(converter.to_payload(3), int)
        3
    """

    def to_payload(self, value: object) -> Raw:
        """The value as JSON. Raises `ConversionError`."""
        return Raw(_encode(_Place("the value", Any), value))

    @overload
    def from_payload(self, payload: Raw | bytes, type_hint: type[T]) -> T: ...
    @overload
    def from_payload(self, payload: Raw | bytes, type_hint: Any = None) -> Any: ...
    def from_payload(self, payload: Raw | bytes, type_hint: Any = None) -> Any:
        """The value of a JSON text, as a type; None as type takes any. Raises `ConversionError`."""
        return _plain.decode_value(payload, PLAIN, type_hint)


_plain: Final = DataConverter()


class _Place:
    """Where a value stands, for messages, and the type it has there."""

    __slots__ = ("_kind", "_name")

    def __init__(self, name: str, kind: Any) -> None:
        self._name = name
        self._kind = kind

    def __str__(self) -> str:
        return self._name

    def codec(self) -> TypeCodec:
        if self._kind is Any:
            return _any
        try:
            return codec_for(self._kind)
        except ConversionError as error:
            raise ConversionError(f"{self}: {error}") from None

    @property
    def is_typed(self) -> bool:
        return self._kind is not Any


def _place(types: Sequence[Any] | None, key: int | str) -> _Place:
    """The place of a positional (by index) or keyword (by name) argument."""
    name = f"argument {key + 1 if isinstance(key, int) else repr(key)}"
    if not isinstance(types, Parameters):
        return _Place(name, types[key] if types and isinstance(key, int) and key < len(types) else Any)
    if isinstance(key, int):
        kind = types.positional[key] if key < len(types.positional) else types.rest
        return _Place(f"{types.owner}() argument {types.name_of(key)}", kind)
    return _Place(f"{types.owner}() argument {key!r}", types.keywords.get(key, types.extra))


def _is_given(raw: Raw | bytes) -> bool:
    return bytes(raw) not in (b"", b"null")


def _encode(place: _Place, value: object) -> bytes:
    codec = place.codec()
    try:
        try:
            data = codec.encode(value)
        except UnicodeEncodeError:
            return _encode_surrogates(value)
        if place.is_typed and len(data) <= ROUND_TRIP_BYTES_MAX:
            codec.decode(data)
    except _ERRORS as error:
        raise ConversionError(f"{place}: {error}") from None
    return data


def _encode_surrogates(value: object) -> bytes:
    """JSON of a value that holds lone surrogates, each escaped: what only the standard library writes."""
    return json.dumps(msgspec.to_builtins(value, str_keys=True), allow_nan=False, separators=(",", ":")).encode()


def _decode_surrogates(place: _Place, codec: TypeCodec, data: bytes) -> Any:
    """The value of JSON that holds lone surrogates: what only the standard library reads."""
    try:
        return codec.convert(cast(object, json.loads(data)))
    except _ERRORS as error:
        raise ConversionError(f"{place}: {error}") from None
