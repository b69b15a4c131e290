"""The order of a list, and cursors: the place where a page ended, as text that means nothing to others."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec

from perdure_proto.errors import Code, ServiceError
from perdure_server.store.port import STATUS_NUMBERS, ExecutionRow
from perdure_server.visibility.conditions import Filter, Sort
from perdure_server.visibility.fields import SYSTEM, Field, Kind
from perdure_server.visibility.parse import parse_filter

Place: TypeAlias = tuple[object, ...]
"""The values of the sort columns where a page ended, and the run id."""

STATUS_NAMES: Final = {number: name for name, number in STATUS_NUMBERS.items()}
_PYTHON: Final = {Kind.TEXT: str, Kind.TIME: datetime}


def list_filter(query: str) -> Filter:
    """The filter of a list. Raises `ServiceError` with `INVALID_ARGUMENT`."""
    wanted = parse_filter(query)
    if wanted.group_by is not None:
        raise ServiceError(Code.INVALID_ARGUMENT, "a list has no GROUP BY: count with it")
    return wanted


def count_filter(query: str) -> Filter:
    """The filter of a count. Raises `ServiceError` with `INVALID_ARGUMENT`."""
    wanted = parse_filter(query)
    if wanted.order_by:
        raise ServiceError(Code.INVALID_ARGUMENT, "a count has no ORDER BY: its groups come with the largest first")
    return wanted


def group_name(field: Field, value: object) -> str:
    """What a group has in common, as answers say it: a status by its name, an attribute that is no text as JSON."""
    if field.kind is Kind.STATUS and isinstance(value, int):
        return STATUS_NAMES[value]
    if field.kind is Kind.ATTRIBUTE and isinstance(value, str):
        found = msgspec.json.decode(value)
        return found if isinstance(found, str) else value
    return "null" if value is None else str(value)


def sorts_of(wanted: Filter) -> tuple[Sort, ...]:
    """The whole order: what was asked for, then the newest start first."""
    is_by_start = any(sort.field.column == "start_time" for sort in wanted.order_by)
    return wanted.order_by if is_by_start else (*wanted.order_by, Sort(SYSTEM["StartTime"], descending=True))


def with_run_id(sorts: tuple[Sort, ...]) -> tuple[Sort, ...]:
    """The same order, in which no two rows have the same place."""
    return (*sorts, Sort(SYSTEM["RunId"], sorts[-1].descending))


def place_of(sorts: tuple[Sort, ...], row: ExecutionRow) -> Place:
    """Where a row stands."""
    return tuple(getattr(row, sort.field.column) for sort in with_run_id(sorts))


def is_behind(sorts: tuple[Sort, ...], place: Place, row: ExecutionRow) -> bool:
    """Whether a row comes after a place."""
    here: Any
    there: Any
    for sort, here, there in zip(with_run_id(sorts), place_of(sorts, row), place, strict=True):
        if here != there:
            return bool(here < there) == sort.descending
    return False


def write_cursor(sorts: tuple[Sort, ...], row: ExecutionRow) -> str:
    """The place of a row."""
    return urlsafe_b64encode(msgspec.json.encode(place_of(sorts, row))).decode()


def read_cursor(sorts: tuple[Sort, ...], cursor: str) -> Place | None:
    """The place that a cursor names. Raises `ServiceError` when no list of this order returned it."""
    if not cursor:
        return None
    kind: Any = tuple[(*(_PYTHON[sort.field.kind] for sort in sorts), UUID)]  # type: ignore[misc]
    try:
        *values, run_id = msgspec.json.decode(urlsafe_b64decode(cursor), type=kind)
    except ValueError as error:  # also what msgspec and base64 raise
        raise ServiceError(Code.INVALID_ARGUMENT, "the cursor is not one that a list of this order returned") from error
    return (*values, str(run_id))
