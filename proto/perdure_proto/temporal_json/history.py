"""Whole histories: the file, its events, and what is refused.

A history that cannot be read is refused as a whole, with the event and the field that are wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from perdure_proto.codec import decode_request, encoder
from perdure_proto.errors import Code, ServiceError
from perdure_proto.events import EVENT_TYPES, AnyEvent, Event
from perdure_proto.temporal_json.message import Message, find, read_object
from perdure_proto.temporal_json.notation import upper_snake
from perdure_proto.temporal_json.table import ENVELOPE, EVENTS

PREFIX: Final = "EVENT_TYPE_"


class Kind(Struct, frozen=True):
    """An event type as the file spells it."""

    spelling: str
    attributes: str
    message: Message[Any]


def _kind(type_: type[Event]) -> Kind:
    name = type_.__name__
    return Kind(PREFIX + upper_snake(name), name[0].lower() + name[1:] + "EventAttributes", EVENTS[type_])


KINDS: Final[Mapping[type[Event], Kind]] = {type_: _kind(type_) for type_ in EVENT_TYPES.values()}

_BY_NAME: Final[Mapping[str | int, Kind]] = {
    **{kind.spelling: kind for kind in KINDS.values()},
    **{type_.__name__: kind for type_, kind in KINDS.items()},
    **{type_.type_id: kind for type_, kind in KINDS.items()},
}

_history = msgspec.json.Decoder(dict[str, Raw] | list[Raw])
_list = msgspec.json.Decoder(list[Raw])


class Head(Struct, frozen=True, rename="camel"):
    """What of an event says how to read the rest."""

    event_type: str | int = ""
    event_id: str | int = 0


_head = msgspec.json.Decoder(Head)


def history_to_json(events: Sequence[Event]) -> bytes:
    """Events as Temporal exports a history.

    >>> from datetime import UTC, datetime
    >>> from perdure_proto.events import TimerFired
    >>> fired = TimerFired(event_id=7, event_time=datetime(2026, 1, 1, tzinfo=UTC), timer_id="1", started_event_id=5)
    >>> history_from_json(history_to_json([fired])) == [fired]
    True
    """
    return encoder.encode({"events": [_write_event(event) for event in events]})


def history_from_json(data: bytes) -> list[AnyEvent]:
    """The events of a history that Temporal or perdure exported: an object with `events`, or their bare list.

    Raises `ServiceError`: `MALFORMED_JSON` when it is no JSON, `INVALID_ARGUMENT` when it is no history, when a field
    does not fit, or when it holds event types that perdure does not have; these are all named.
    """
    document = decode_request(_history, data)
    listed = decode_request(_list, bytes(document.get("events", b"[]"))) if isinstance(document, dict) else document
    heads = [decode_request(_head, bytes(event)) for event in listed]
    unknown = sorted({str(head.event_type) for head in heads if head.event_type not in _BY_NAME})
    if unknown:
        raise ServiceError(
            Code.INVALID_ARGUMENT,
            f"the history holds event types that perdure does not have: {', '.join(unknown)}",
            event_types=unknown,
        )
    return [_read_event(head, event) for head, event in zip(heads, listed, strict=True)]


def _write_event(event: Event) -> dict[str, object]:
    kind = KINDS[type(event)]
    document = kind.message.write(event)
    envelope = {name: document.pop(name) for name in ENVELOPE if name in document}
    return {**envelope, "eventType": kind.spelling, kind.attributes: document}


def _read_event(head: Head, event: Raw) -> AnyEvent:
    kind = _BY_NAME[head.event_type]
    try:
        document = read_object(event)
        attributes = read_object(find(document, (kind.attributes,)) or Raw(b"{}"))
        envelope = {name: document[name] for name in ENVELOPE if name in document}
        read: AnyEvent = kind.message.read({**attributes, **envelope})
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        where = f"event {head.event_id} ({kind.spelling})"
        raise ServiceError(Code.INVALID_ARGUMENT, f"the history cannot be read at {where}: {error}") from None
    return read
