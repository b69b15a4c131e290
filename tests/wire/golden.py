"""The golden files: what each type is as bytes, one line a sample. `python -m tests.wire.regenerate` writes them.

A line that changes is a change of the contract with every log and every peer: old logs must still be read.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from perdure_proto.codec import encoder
from perdure_proto.events import Event
from perdure_proto.temporal_json import history_to_json
from tests.wire.samples import full, least, plain, wire_types

FOLDER = Path(__file__).parent
ENCODING = FOLDER / "golden.jsonl"
TEMPORAL = FOLDER / "golden_temporal.jsonl"


class Line(Struct, frozen=True):
    """A sample and its bytes, as text."""

    name: str
    text: str


_line = msgspec.json.Decoder(Line)


def samples() -> dict[str, Struct]:
    """Each type with every field and with the required ones, and with plain payloads where a codec's are possible."""
    made = {}
    for type_ in wire_types():
        made[f"{name_of(type_)} full"] = full(type_)
        made[f"{name_of(type_)} least"] = least(type_)
        if "encoding" in type_.__struct_fields__:
            made[f"{name_of(type_)} plain"] = plain(type_)
    return made


def name_of(type_: type[Struct]) -> str:
    """A type's name with its module: an event and a command share one."""
    return f"{type_.__module__.removeprefix('perdure_proto.')}.{type_.__name__}"


def encoded() -> list[Line]:
    return [Line(name, encoder.encode(value).decode()) for name, value in samples().items()]


def exported() -> list[Line]:
    """Events in Temporal's format."""
    events = {name: value for name, value in samples().items() if isinstance(value, Event)}
    return [Line(name, history_to_json([event]).decode()) for name, event in events.items()]


def read(path: Path) -> list[Line]:
    return [_line.decode(line) for line in path.read_text().splitlines()]


def write(path: Path, lines: list[Line]) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
