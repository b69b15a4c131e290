"""How values of one type are written to JSON and read back: msgspec, or pydantic where only it can.

A codec is made once for a type and kept. pydantic is imported only when a type asks for it; without it, a type that
msgspec cannot tell apart is refused, with the reason.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeGuard, TypeVar, cast, get_args, get_type_hints, is_typeddict

import msgspec

from perdure._raw_value import RawCodec, RawValue
from perdure.exceptions import ConversionError

_DEPTH_MAX = 50
"""How deep a value or a type is searched."""


class TypeCodec(Protocol):
    """Writes and reads values of one type. Both raise `ValueError` or `TypeError` with what does not fit."""

    def encode(self, value: object) -> bytes:
        """The value as JSON."""
        ...

    def decode(self, data: bytes | msgspec.Raw) -> Any:
        """The value of a JSON text."""
        ...

    def convert(self, value: object) -> Any:
        """The value that plain JSON values (dicts, lists, strings, …) stand for."""
        ...


def _dump(value: Any) -> object:
    """What msgspec cannot write itself: raw values, which are JSON already, and pydantic models."""
    if isinstance(value, RawValue):
        return value.payload
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"values of {type(value).__qualname__} cannot be written as JSON")
    return cast(object, dump(mode="json"))


def _revive(kind: Any, value: object) -> Any:
    """What msgspec cannot read itself: raw values and pydantic models inside of its own types."""
    if kind is RawValue:
        return RawValue(_encoder.encode(value))
    validate = getattr(kind, "model_validate_json", None)
    return value if validate is None else validate(_encoder.encode(value))


_encoder = msgspec.json.Encoder(decimal_format="string", enc_hook=_dump)


def refuse_nan(value: object, depth: int = 0) -> None:
    """Raises `ValueError` where a tree of plain values holds NaN or an infinity, which JSON cannot say."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} has no JSON form; use None, a string or a Decimal")
    if depth > _DEPTH_MAX:
        return
    if isinstance(value, dict):
        for inner in cast(dict[object, object], value).values():
            refuse_nan(inner, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in cast(list[object], value):
            refuse_nan(inner, depth + 1)


class MsgspecCodec:
    """Values that msgspec reads and writes."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind, dec_hook=_revive)

    def encode(self, value: object) -> bytes:
        """The value as JSON."""
        data = _encoder.encode(value)
        if b"null" in data:  # msgspec writes NaN as null
            refuse_nan(msgspec.to_builtins(value, enc_hook=_dump))
        return data

    def decode(self, data: bytes | msgspec.Raw) -> Any:
        """The value of a JSON text."""
        return self._decoder.decode(data)

    def convert(self, value: object) -> Any:
        """The value that plain JSON values stand for."""
        return msgspec.convert(value, self._kind, str_keys=True, dec_hook=_revive)


class PydanticCodec:
    """Values that only pydantic can tell apart, or whose type is its own."""

    def __init__(self, adapter: Any, *, union: bool) -> None:
        self._adapter = adapter
        self._union = union

    def encode(self, value: object) -> bytes:
        """The value as JSON, checked to come back as its own type where several are possible."""
        data = cast(bytes, self._adapter.dump_json(value, warnings="error"))
        if b"null" in data:
            refuse_nan(self._adapter.dump_python(value, mode="json"))
        if self._union and type(back := self.decode(data)) is not type(value) and back != value:
            raise ValueError(f"{value!r} would come back as {back!r}: nothing in its JSON tells the two apart")
        return data

    def decode(self, data: bytes | msgspec.Raw) -> Any:
        """The value of a JSON text."""
        return self._adapter.validate_json(bytes(data))

    def convert(self, value: object) -> Any:
        """The value that plain JSON values stand for."""
        return self._adapter.validate_python(value)


_codecs: dict[Any, TypeCodec] = {}


def codec_for(kind: Any) -> TypeCodec:
    """The codec of a type, made on first use. Raises `ConversionError` for a type that nothing here can read."""
    try:
        found = _codecs.get(kind)
    except TypeError:  # unhashable metadata in Annotated
        return _make_codec(kind)
    if found is None:
        found = _codecs[kind] = _make_codec(kind)
    return found


def _make_codec(kind: Any) -> TypeCodec:
    if kind is object or isinstance(kind, TypeVar):
        kind = Any
    if kind is RawValue:
        return RawCodec()
    if "pydantic" in sys.modules and any(map(_is_pydantic, _parts(kind))) and (found := _pydantic_codec(kind)):
        return found
    codec: TypeCodec | None = None
    try:
        codec = MsgspecCodec(kind)
        unknown = [c for c in _custom_classes(kind) if not _is_known(c)]
        reason = f"{unknown[0]!r} is not a type that can be read from JSON" if unknown else ""
    except TypeError as error:
        reason = str(error)
    if codec is not None and not reason:
        return codec
    if found := _pydantic_codec(kind):
        return found
    raise ConversionError(reason if _has_pydantic() else f"{reason} (pydantic, once installed, may be able to)")


def _is_known(custom: Any) -> bool:
    """Whether the hooks read a class that msgspec leaves to them."""
    return custom in {object, RawValue} or hasattr(custom, "model_validate_json")


def _custom_classes(kind: Any) -> Iterator[Any]:
    """The classes inside of a type that msgspec leaves to its hooks."""
    seen: set[int] = set()

    def walk(node: object) -> Iterator[Any]:
        if isinstance(node, tuple):
            for inner in cast(tuple[object, ...], node):
                yield from walk(inner)
        elif isinstance(node, msgspec.inspect.CustomType):
            yield node.cls
        elif isinstance(node, msgspec.inspect.Type | msgspec.inspect.Field) and id(node) not in seen:
            seen.add(id(node))
            for name in node.__struct_fields__:
                yield from walk(getattr(node, name))

    return walk(msgspec.inspect.type_info(kind))


def _parts(kind: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """A type, its arguments, its metadata, and the types of its fields."""
    seen = set() if seen is None else seen
    if id(kind) in seen or len(seen) > _DEPTH_MAX:
        return
    seen.add(id(kind))
    yield kind
    yield from getattr(kind, "__metadata__", ())
    for inner in get_args(kind):
        yield from _parts(inner, seen)
    if _is_class(kind) and (dataclasses.is_dataclass(kind) or is_typeddict(kind)):
        for inner in _field_types(kind):
            yield from _parts(inner, seen)


def _is_class(kind: object) -> TypeGuard[type[Any]]:
    return isinstance(kind, type)


def _field_types(kind: type) -> list[Any]:
    try:
        return list(get_type_hints(kind, include_extras=True).values())
    except NameError:  # a class whose fields name classes of a function: left to the reader itself
        return []


def _is_pydantic(part: Any) -> bool:
    """Whether a part of a type is pydantic's: a model, one of its dataclasses, or a constraint."""
    module: str = part.__class__.__module__
    return hasattr(part, "__pydantic_validator__") or module.partition(".")[0] in {"pydantic", "annotated_types"}


def _has_pydantic() -> bool:
    return importlib.util.find_spec("pydantic") is not None


def _pydantic_codec(kind: Any) -> PydanticCodec | None:
    """The codec of a type that pydantic makes; None where it is not installed or cannot read the type either."""
    if not _has_pydantic():
        return None
    import pydantic  # noqa: PLC0415  # an optional package, imported only for a type that needs it

    make: Callable[..., Any] = pydantic.TypeAdapter
    config = pydantic.ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    try:
        try:
            adapter = make(kind, config=config)
        except pydantic.errors.PydanticUserError:  # a model brings its own configuration
            adapter = make(kind)
        adapter.rebuild(raise_errors=True)
    except (pydantic.errors.PydanticUserError, NameError):
        return None
    return PydanticCodec(adapter, union=_is_union(kind))


def _is_union(kind: Any) -> bool:
    origin = getattr(kind, "__origin__", None)
    return type(kind).__name__ in {"UnionType", "_UnionGenericAlias", "Union"} or str(origin) == "typing.Union"
