"""Whether a row fits a condition, in Python: for the model of the store. Postgres's rules, one by one."""

from __future__ import annotations

import operator
import re
from typing import Final

import msgspec

from perdure_server.store.port import ExecutionRow
from perdure_server.visibility.conditions import (
    All,
    Any,
    Compared,
    Condition,
    Like,
    Missing,
    Not,
    OneOf,
    StartsWith,
    Value,
)
from perdure_server.visibility.fields import Field, Kind
from perdure_server.visibility.paths import in_order, regex_of

_OPERATORS: Final = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def fits(condition: Condition, row: ExecutionRow) -> bool:
    """Whether it does; what a row does not have fits nothing but `IS NULL` and what begins with `NOT`."""
    match condition:
        case All(conditions=several):
            return all(fits(one, row) for one in several)
        case Any(conditions=several):
            return any(fits(one, row) for one in several)
        case Not(condition=inner):
            return not fits(inner, row)
        case Missing(field=field):
            return not values_of(field, row)
        case Compared(operator="!=", field=Field(kind=Kind.ATTRIBUTE) as field, value=value):
            return bool(values_of(field, row)) and not fits(Compared(field, "=", value), row)
        case _:
            return any(_test(condition, value) for value in values_of(condition.field, row))


def values_of(field: Field, row: ExecutionRow) -> list[object]:
    """What a row has in a field; several if it is a list, none if there is nothing."""
    if field.kind is Kind.ATTRIBUTE:
        attributes = msgspec.json.decode(row.search_attributes) if row.search_attributes else {}
        if field.name not in attributes:
            return []
        value = attributes[field.name]
        return value if isinstance(value, list) and value else [value]
    if field.kind is Kind.DURATION:
        return [] if row.close_time is None else [row.close_time - row.start_time]
    value = getattr(row, field.column)
    return [] if value is None else [value]


def whole_value(field: Field, row: ExecutionRow) -> object:
    """What a group is made by: a column's value, an attribute's JSON, None if there is nothing."""
    if field.kind is not Kind.ATTRIBUTE:
        return getattr(row, field.column)
    attributes = msgspec.json.decode(row.search_attributes) if row.search_attributes else {}
    return msgspec.json.encode(attributes[field.name]).decode() if field.name in attributes else None


def _test(condition: Compared | OneOf | StartsWith | Like, found: object) -> bool:
    match condition:
        case Compared(operator=sign, value=value):
            return _is_like(value, found) and _OPERATORS[sign](*in_order(found, value))
        case OneOf(values=values):
            return any(_is_like(value, found) and value == found for value in values)
        case StartsWith(prefix=prefix):
            return isinstance(found, str) and found.startswith(prefix)
        case Like(pattern=pattern):
            return isinstance(found, str) and re.fullmatch(regex_of(pattern)[1:-1], found, re.DOTALL) is not None


def _is_like(value: Value, found: object) -> bool:
    """Whether they are of types that are compared: a truth value is no number."""
    numbers = int, float
    if isinstance(value, bool) or isinstance(found, bool):
        return isinstance(value, bool) and isinstance(found, bool)
    return isinstance(found, numbers if isinstance(value, numbers) else type(value))
