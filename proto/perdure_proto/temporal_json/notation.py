"""How single values are noted in proto3 JSON: texts, integers, durations, instants, enumerations.

A `Notation` is a pair of functions. `write` gives None for what proto3 leaves out; `read` gives None where the field
keeps its default. Neither has to be exact: `message` carries what is not brought back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Raw, Struct


class Notation(Struct, frozen=True):
    """A value as JSON and back. Tables hold notations of many types, hence the `Any`."""

    write: Callable[[Any], object]
    read: Callable[[Raw], Any]


def write_set(value: object) -> object:
    """A value, unless it is proto3's zero of its type."""
    return value or None


def write_int64(value: int) -> str | None:
    """A 64-bit integer: text, for JavaScript cannot hold it."""
    return str(value) if value else None


_DURATION = re.compile(r"(-?)(\d+)(?:\.(\d{1,9}))?s")
_MICROSECONDS_DIGITS = 6


def write_duration(value: timedelta | None) -> str | None:
    """A duration in seconds, with as many decimals as it needs.

    >>> write_duration(timedelta(minutes=1)), write_duration(timedelta(milliseconds=-1500))
    ('60s', '-1.5s')
    """
    if value is None:
        return None
    sign = "-" if value < timedelta(0) else ""
    seconds, microseconds = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    fraction = f".{microseconds:06}".rstrip("0") if microseconds else ""
    return f"{sign}{seconds}{fraction}s"


def parse_duration(text: str) -> timedelta:
    """A duration from its text; nanoseconds are cut off.

    >>> parse_duration("1.000000001s")
    datetime.timedelta(seconds=1)
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a duration")
    sign, seconds, fraction = found.groups()
    microseconds = int((fraction or "")[:_MICROSECONDS_DIGITS].ljust(_MICROSECONDS_DIGITS, "0"))
    try:
        value = timedelta(seconds=int(seconds), microseconds=microseconds)
    except OverflowError:
        raise ValueError(f"{text!r} is too long a duration") from None
    return -value if sign else value


_text = msgspec.json.Decoder(str)


def read_duration(leaf: Raw) -> timedelta:
    """A duration; zero is a duration."""
    return parse_duration(_text.decode(leaf))


def read_optional_duration(leaf: Raw) -> timedelta | None:
    """A timeout or the like, where Temporal writes zero for none."""
    return read_duration(leaf) or None


TEXT = Notation(write_set, _text.decode)
FLAG = Notation(write_set, msgspec.json.Decoder(bool).decode)
INT32 = Notation(write_set, msgspec.json.Decoder(int, strict=False).decode)
INT64 = Notation(write_int64, msgspec.json.Decoder(int, strict=False).decode)
NUMBER = Notation(write_set, msgspec.json.Decoder(float, strict=False).decode)
TEXTS = Notation(write_set, msgspec.json.Decoder(tuple[str, ...]).decode)
OBJECT = Notation(write_set, msgspec.json.Decoder(dict[str, Any]).decode)
DURATION = Notation(write_duration, read_duration)
OPTIONAL_DURATION = Notation(write_duration, read_optional_duration)
INSTANT = Notation(write_set, msgspec.json.Decoder(datetime).decode)

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_word = msgspec.json.Decoder(str | int)


def upper_snake(name: str) -> str:
    """A name in Temporal's spelling of enums.

    >>> upper_snake("WorkflowExecutionContinuedAsNew")
    'WORKFLOW_EXECUTION_CONTINUED_AS_NEW'
    """
    return _HUMP.sub("_", name).upper()


def enumeration(
    prefix: str, words: tuple[str, ...], ours: Mapping[str, object], also: Mapping[str, object]
) -> Notation:
    """An enum. `words` are Temporal's, in the order of their numbers; `ours` says which are what here, both ways.

    `also` are words that are read as one of ours and never written. A word or a number that is not known is read as
    unspecified, as proto3 has it: a newer server may know more causes than we do.
    """
    theirs = {our: f"{prefix}_{word}" for word, our in ours.items()}
    read_as = {**also, **ours}

    def read(leaf: Raw) -> object:
        said = _word.decode(leaf)
        if isinstance(said, int):
            return read_as.get(words[said]) if 0 <= said < len(words) else None
        return read_as.get(upper_snake(said).removeprefix(f"{prefix}_"))

    return Notation(theirs.get, read)
