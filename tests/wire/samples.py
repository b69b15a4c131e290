"""One value of each type that crosses the wire, made from the types themselves, so that no new field is forgotten."""

from __future__ import annotations

import types
import zlib
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Raw, Struct

from perdure_proto import (
    async_activities,
    channel,
    commands,
    errors,
    failures,
    namespaces,
    options,
    service,
    tasks,
    waitpoint_secret,
)
from perdure_proto import events as events_package
from perdure_proto.commands import AnyCommand
from perdure_proto.events import AnyEvent, activity, child, execution, external, timer, update, workflow_task
from perdure_proto.failures import AnyFailureInfo
from perdure_proto.tasks import AnyCompletion, AnyPush, AnyTask

MODULES = (
    *(activity, child, execution, external, timer, update, workflow_task),
    *(async_activities, channel, commands, errors, failures, namespaces, options, service, tasks, waitpoint_secret),
)
UNIONS = (AnyEvent, AnyCommand, AnyFailureInfo, AnyTask, AnyPush, AnyCompletion)
EVENTS = events_package.EVENT_TYPES

DEPTH_MAX = 3
INSTANT = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
DURATION = timedelta(minutes=1, milliseconds=500)
OPAQUE = "binary/encrypted"
LISTS = ("input", "details", "last_heartbeat_details", "heartbeat_details")
JSON_TEXTS: dict[str, bytes] = {
    "kwargs": b'{"key":"dmFsdWU="}',
    "events": b'[{"event_type":"TimerFired"}]',
    "commands": b"[]",
    **dict.fromkeys(LISTS, b'["dmFsdWU=",null]'),
}
PLAIN_TEXTS: dict[str, bytes] = {
    "kwargs": b'{"key":"valu\xc3\xa9"}',
    **dict.fromkeys(LISTS, b'["valu\xc3\xa9",1.5,null]'),
}

SCALARS: dict[Any, Any] = {
    bool: True,
    float: 1.5,
    datetime: INSTANT,
    timedelta: DURATION,
    dict[str, Any]: {"key": ["value", 1, None]},
}


def wire_types() -> list[type[Struct]]:
    """Every Struct of proto that is not just the stem of others, by module and name."""
    found = {
        made
        for module in MODULES
        for made in vars(module).values()
        if isinstance(made, type) and issubclass(made, Struct) and made is not Struct
    }
    return sorted(
        (one for one in found if found.isdisjoint(one.__subclasses__())), key=lambda one: (one.__module__, one.__name__)
    )


def decoded_as(type_: type[Struct]) -> Any:
    """The union that a type is read as part of, or the type."""
    return next((union for union in UNIONS if type_ in get_args(union)), type_)


def full(type_: type[Struct], depth: int = 0) -> Struct:
    """A value with every field set."""
    hints = get_type_hints(type_)
    return type_(**{info.name: value_of(hints[info.name], info.name, depth) for info in msgspec.structs.fields(type_)})


def plain(type_: type[Struct]) -> Struct:
    """A full value whose payloads are no codec's."""
    hints = get_type_hints(type_)
    payloads = [name for name in type_.__struct_fields__ if hints[name] is Raw]
    texts = {name: Raw(PLAIN_TEXTS.get(name, b'{"valu\xc3\xa9":[1.5,null]}')) for name in payloads}
    return msgspec.structs.replace(full(type_), encoding="", **texts)


def least(type_: type[Struct]) -> Struct:
    """A value with nothing but what is required."""
    hints = get_type_hints(type_)
    required = [info.name for info in msgspec.structs.fields(type_) if info.required]
    return type_(**{name: value_of(hints[name], name, DEPTH_MAX) for name in required})


def value_of(hint: Any, name: str, depth: int) -> Any:
    if hint in SCALARS:
        return SCALARS[hint]
    if hint is str:
        return OPAQUE if name == "encoding" else name
    if hint is int:
        return zlib.crc32(name.encode()) % 1000 + 1
    if hint is Raw:
        return Raw(JSON_TEXTS.get(name, b'"dmFsdWU="'))
    return composed(hint, name, depth)


def composed(hint: Any, name: str, depth: int) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return arguments[-1]
    if origin is dict:
        return {"key": value_of(arguments[1], name, depth)}
    if origin is tuple:
        return tuple(value_of(member, name, depth) for member in members(arguments[0]))
    if origin in {types.UnionType, Union}:
        deep = depth >= DEPTH_MAX and type(None) in arguments
        return None if deep else value_of(members(hint)[0], name, depth)
    if issubclass(hint, Enum):
        return list(hint)[-1]
    return full(hint, depth + 1)


def members(hint: Any) -> tuple[Any, ...]:
    """The members of a union, without None; a type is its own."""
    union = get_origin(hint) in {types.UnionType, Union}
    return tuple(one for one in get_args(hint) if one is not type(None)) if union else (hint,)
