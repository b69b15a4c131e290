"""A filter that was read and checked: a tree of conditions, with values of the types that their fields have."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeAlias

from msgspec import Struct

from perdure_server.visibility.fields import Field

Value: TypeAlias = str | int | float | bool | datetime | timedelta


class Compared(Struct, frozen=True):
    """`operator` is one of = != < <= > >=."""

    field: Field
    operator: str
    value: Value


class OneOf(Struct, frozen=True):
    field: Field
    values: tuple[Value, ...]


class StartsWith(Struct, frozen=True):
    field: Field
    prefix: str


class Like(Struct, frozen=True):
    """`pattern` as SQL has it: % for any text, _ for any character, a backslash before one that means itself."""

    field: Field
    pattern: str


class Missing(Struct, frozen=True):
    field: Field


class Not(Struct, frozen=True):
    condition: Condition


class All(Struct, frozen=True):
    conditions: tuple[Condition, ...]


class Any(Struct, frozen=True):
    conditions: tuple[Condition, ...]


Condition: TypeAlias = Compared | OneOf | StartsWith | Like | Missing | Not | All | Any


class Sort(Struct, frozen=True):
    field: Field
    descending: bool = False


class Filter(Struct, frozen=True):
    """What a text asked for. Without a condition all fit."""

    condition: Condition | None = None
    group_by: Field | None = None
    order_by: tuple[Sort, ...] = ()
