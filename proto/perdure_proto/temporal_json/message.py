"""Messages: a Struct as a JSON object with Temporal's names, one entry a field or a group of fields.

The rule that makes it lossless: after writing, each field is read back from what was written; one that does not come
back equal is carried beside it as `perdureFieldName`, in perdure's own encoding, and that wins on reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from datetime import timedelta
from functools import cache
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec
from msgspec import NODEFAULT, Raw, Struct

from perdure_proto.codec import encoder
from perdure_proto.failures import AnyFailureInfo, ApplicationFailure, Failure, TimeoutType

BLANKS: Mapping[Any, Any] = {
    str: "",
    int: 0,
    timedelta: timedelta(0),
    dict[str, Any]: {},
    AnyFailureInfo: ApplicationFailure(),
    Failure: Failure(info=ApplicationFailure()),
    TimeoutType: "START_TO_CLOSE",
}
"""What a required field is when proto3 has left it out, by its type."""

NULL = b"null"

_object = msgspec.json.Decoder(dict[str, Raw])


class Entry(Struct, frozen=True, kw_only=True):
    """Where fields stand and how. `write` gives None for nothing; `read` gives the fields it found.

    `exact` says that reading back need not be tried: a nested message carries its own losses.
    """

    fields: tuple[str, ...]
    place: tuple[str, ...]
    write: Callable[[Any], object]
    read: Callable[[Raw], Mapping[str, Any]]
    exact: bool = False


class Field(Struct, frozen=True):
    """A field of a Struct: what it is when nothing is written, and under which name it is carried."""

    name: str
    carried: str
    type: Any
    required: bool
    default: Any

    def blank(self) -> Any:  # noqa: ANN401 - fields have every type
        """The value when nothing is written; `NODEFAULT` where there is none."""
        return BLANKS.get(self.type, NODEFAULT) if self.required else self.default


@cache
def fields_of(type_: type[Struct]) -> tuple[Field, ...]:
    """The fields of a Struct, asked once."""
    hints = get_type_hints(type_)
    return tuple(
        Field(
            name=info.name,
            carried="perdure" + "".join(part.capitalize() for part in info.name.split("_")),
            type=hints[info.name],
            required=info.required,
            default=info.default_factory() if info.default is NODEFAULT and not info.required else info.default,
        )
        for info in msgspec.structs.fields(type_)
    )


T = TypeVar("T", bound=Struct)


class Message(Generic[T]):
    """A Struct's table."""

    def __init__(self, type_: type[T], *entries: Entry | Iterable[Entry]) -> None:
        self.type = type_
        self.entries = [one for entry in entries for one in ([entry] if isinstance(entry, Entry) else entry)]

    def write(self, value: T) -> dict[str, object]:
        """The JSON object of a value."""
        document: dict[str, object] = {}
        back: dict[str, Any] = {}
        for entry in self.entries:
            leaf = entry.write(value)
            if leaf is not None:
                place(document, entry.place, leaf)
                back.update(
                    {name: getattr(value, name) for name in entry.fields}
                    if entry.exact
                    else entry.read(Raw(encoder.encode(leaf)))
                )
        for field in fields_of(self.type):
            ours = getattr(value, field.name)
            if back.get(field.name, field.blank()) != ours:
                document[field.carried] = ours
        return document

    def read(self, document: Mapping[str, Raw]) -> T:
        """The value of a JSON object. Names that are not in the table are ignored."""
        found: dict[str, Any] = {}
        for entry in self.entries:
            try:
                leaf = find(document, entry.place)
                if leaf is not None:
                    found.update(entry.read(leaf))
            except (msgspec.DecodeError, ValueError) as error:
                raise ValueError(f"{'.'.join(entry.place)}: {error}") from None
        for field in fields_of(self.type):
            if field.carried in document:
                found[field.name] = msgspec.json.decode(document[field.carried], type=field.type)
            elif field.required and field.name not in found:
                found[field.name] = copy(field.blank())
        if missing := [name for name, value in found.items() if value is NODEFAULT]:
            raise ValueError(f"{missing[0]} is missing")
        return self.type(**found)


def place(document: dict[str, Any], path: tuple[str, ...], leaf: object) -> None:
    """Puts a leaf where it belongs, making the objects on the way."""
    for name in path[:-1]:
        document = document.setdefault(name, {})
    document[path[-1]] = leaf


def find(document: Mapping[str, Raw], path: tuple[str, ...]) -> Raw | None:
    """The leaf at a place, or None where it or anything on the way is missing or null."""
    leaf = document.get(path[0])
    if leaf is None or bytes(leaf) == NULL:
        return None
    return leaf if len(path) == 1 else find(_object.decode(leaf), path[1:])


def read_object(leaf: Raw) -> dict[str, Raw]:
    """A JSON object, its values undecoded."""
    return _object.decode(leaf)
