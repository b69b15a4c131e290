"""What is in logs and what peers send stays readable, byte for byte."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from perdure_proto.codec import encode_events, encoder
from perdure_proto.events import EVENT_TYPES, AnyEvent
from perdure_proto.temporal_json import history_from_json
from tests.wire.golden import ENCODING, TEMPORAL, Line, encoded, exported, name_of, read, samples
from tests.wire.samples import UNIONS, decoded_as, wire_types

SAMPLES = samples()
GOLDEN = {line.name: line.text for line in read(ENCODING)}


def test_encoding_is_golden() -> None:
    """Every type encodes to the bytes that were committed."""
    assert read(ENCODING) == encoded()


def test_temporal_format_is_golden() -> None:
    """Every event is exported to the bytes that were committed."""
    assert read(TEMPORAL) == exported()


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_bytes_decode_to_the_sample(name: str) -> None:
    """What was committed is read as the value that it was made from."""
    value = SAMPLES[name]

    assert value == msgspec.json.decode(GOLDEN[name].encode(), type=decoded_as(type(value)))


@pytest.mark.parametrize("name", GOLDEN)
def test_unknown_fields_are_ignored(name: str) -> None:
    """A field of a newer peer does not keep an older one from reading."""
    value = SAMPLES[name]
    text = GOLDEN[name]
    if text.startswith("["):
        newer = text[:-1] + ',{"deep":[1]}]'
    else:
        newer = '{"zz_of_tomorrow":{"deep":[1]}' + ("" if text == "{}" else ",") + text[1:]

    assert value == msgspec.json.decode(newer.encode(), type=decoded_as(type(value)))


@pytest.mark.parametrize("line", read(TEMPORAL), ids=lambda line: line.name)
def test_golden_exports_are_read_as_the_sample(line: Line) -> None:
    """What was exported is read as the event that it was made from."""
    assert [SAMPLES[line.name]] == history_from_json(line.text.encode())


def test_every_member_of_a_union_is_golden() -> None:
    """No type that is told by its tag is without golden bytes."""
    members = {name_of(member) for union in UNIONS for member in get_args(union)}

    assert set() == {f"{name} {kind}" for name in members for kind in ("full", "least")} - GOLDEN.keys()


def test_every_type_is_golden() -> None:
    """No Struct of proto is without golden bytes."""
    assert {name_of(type_) for type_ in wire_types()} == {name.split()[0] for name in GOLDEN}


def test_the_event_registry_is_the_union() -> None:
    """The types by name are those of the union, each under its own name, with a number of its own."""
    assert set(get_args(AnyEvent)) == set(EVENT_TYPES.values())
    assert [type_.__name__ for type_ in EVENT_TYPES.values()] == list(EVENT_TYPES)
    assert 47 == len({type_.type_id for type_ in EVENT_TYPES.values()})


def test_a_row_of_the_log_is_an_array_of_flat_objects() -> None:
    """Events are written as one JSON array, the type first."""
    events = [SAMPLES["events.timer.TimerFired full"], SAMPLES["events.timer.TimerFired least"]]

    assert encode_events(events) == encoder.encode(events)  # type: ignore[arg-type] # samples are Structs
    assert encode_events(events).startswith(b'[{"event_type":"TimerFired",')  # type: ignore[arg-type] # as above
