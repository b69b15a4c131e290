"""From the syntax tree of a filter to its conditions: names become fields, and values what their fields hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn, TypeVar, cast

from lark import Token, Tree

from perdure_proto.durations import parse_duration
from perdure_proto.errors import Code, ServiceError
from perdure_server.store.port import STATUS_NUMBERS
from perdure_server.visibility.conditions import (
    All,
    Any,
    Compared,
    Condition,
    Filter,
    Like,
    Missing,
    Not,
    OneOf,
    Sort,
    StartsWith,
    Value,
)
from perdure_server.visibility.fields import SYSTEM, Field, Kind, field_of, misspelt
from perdure_server.visibility.parse import DEPTH_MAX, TESTS_MAX, refuse

T = TypeVar("T")
NANOSECONDS: Final = 1_000
"""In a microsecond, which is the least that is kept."""

STATUSES: Final = {name.replace("_", "").lower(): number for name, number in STATUS_NUMBERS.items()}
"""`Running`, `TimedOut` as Temporal writes them, and our own `TIMED_OUT`."""

ORDERED: Final = ", ".join(field.name for field in SYSTEM.values() if field.is_ordered)
GROUPED: Final = Kind.STATUS, Kind.TEXT, Kind.ATTRIBUTE
WITH_TEXT: Final = Kind.TEXT, Kind.ATTRIBUTE


class Reading:
    """Reads one tree."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tests = 0

    def filter(self, tree: Tree[Token]) -> Filter:
        """The whole."""
        parts = {part.data: part for part in tree.children if isinstance(part, Tree)}
        return Filter(
            self._condition(parts["disjunction"], 0) if "disjunction" in parts else None,
            self._group(parts["field"]) if "field" in parts else None,
            tuple(self._sort(part) for part in tree.children if isinstance(part, Tree) and part.data == "sort"),
        )

    # ---- conditions ----------------------------------------------------------------------------------------------

    def _condition(self, tree: Tree[Token], depth: int) -> Condition:
        if depth > DEPTH_MAX:
            raise ServiceError(Code.INVALID_ARGUMENT, f"a filter is nested at most {DEPTH_MAX} deep")
        parts = [part for part in tree.children if isinstance(part, Tree)]
        match tree.data:
            case "disjunction" | "conjunction" | "negation":
                found = tuple(self._condition(part, depth + (tree.data == "negation")) for part in parts)
                if len(found) == 1:
                    return found[0]
                return Any(found) if tree.data == "disjunction" else All(found)
            case "negated":
                return Not(self._condition(parts[0], depth + 1))
            case _:
                return self._test(tree)

    def _test(self, tree: Tree[Token]) -> Condition:
        self._tests += 1
        if self._tests > TESTS_MAX:
            raise ServiceError(Code.INVALID_ARGUMENT, f"a filter has at most {TESTS_MAX} comparisons")
        name, middle, *values = tree.children
        field = self._field(cast("Tree[Token]", name))
        test = self._test_of(tree.data, field, middle, cast("list[Tree[Token]]", values))
        is_negated = isinstance(middle, Token) and middle.type == "NOT"
        return Not(test) if is_negated else test

    def _test_of(self, kind: str, field: Field, operator: object, values: list[Tree[Token]]) -> Condition:
        match kind:
            case "comparison":
                return Compared(field, "!=" if operator == "<>" else str(operator), self._value(field, values[0]))
            case "membership":
                return OneOf(field, tuple(self._value(field, value) for value in values))
            case "between":
                low, high = (self._value(field, value) for value in values)
                return All((Compared(field, ">=", low), Compared(field, "<=", high)))
            case "starts_with":
                return StartsWith(field, self._pattern(field, values[0]))
            case "like":
                return Like(field, self._pattern(field, values[0]))
            case _:
                return Missing(field)

    # ---- names and values ----------------------------------------------------------------------------------------

    def _field(self, tree: Tree[Token]) -> Field:
        token = cast("Token", tree.children[0])
        name = token[1:-1].replace("``", "`") if token.startswith("`") else str(token)
        meant = "" if token.startswith("`") else misspelt(name)
        if meant:
            self._refuse(token, f"there is no field of this name; {meant}, or a search attribute `{name}` in backticks")
        return field_of(name)

    def _group(self, tree: Tree[Token]) -> Field:
        field = self._field(tree)
        if field.kind not in GROUPED:
            self._refuse(cast("Token", tree.children[0]), "a field to group by: a text, a status or a search attribute")
        return field

    def _sort(self, tree: Tree[Token]) -> Sort:
        name, direction = cast("tuple[Tree[Token], Token | None]", tree.children)
        field = self._field(name)
        if not field.is_ordered:
            self._refuse(cast("Token", name.children[0]), f"expected one of {ORDERED}")
        return Sort(field, descending=direction is not None and direction.lower() == "desc")

    def _pattern(self, field: Field, tree: Tree[Token]) -> str:
        token = cast("Token", tree.children[0])
        if token.type != "TEXT" or field.kind not in WITH_TEXT:
            self._refuse(token, "expected a text in quotes, for a field that is a text")
        return _unquoted(token)

    def _value(self, field: Field, tree: Tree[Token]) -> Value:
        token = cast("Token", tree.children[0])
        match field.kind, token.type:
            case Kind.TEXT, "TEXT":
                return _unquoted(token)
            case Kind.NUMBER, "NUMBER":
                return _number(token)
            case Kind.STATUS, "TEXT":
                return self._read(field, token, _status)
            case Kind.TIME, "TEXT":
                return self._read(field, token, parse_time)
            case Kind.DURATION, "TEXT" | "NUMBER":
                return self._read(field, token, parse_span)
            case Kind.ATTRIBUTE, kind:
                return _LITERALS[kind](token)
            case _:
                return self._refuse(token, f"expected {_EXPECTED[field.kind]}")

    def _read(self, field: Field, token: Token, read: Callable[[str], T]) -> T:
        try:
            return read(_unquoted(token) if token.type == "TEXT" else str(token))
        except ValueError:
            self._refuse(token, f"expected {_EXPECTED[field.kind]}")

    def _refuse(self, token: Token, what: str) -> NoReturn:
        refuse(self._text, token.start_pos or 0, what)


def parse_time(text: str) -> datetime:
    """A point in time as ISO 8601 writes it; without a zone it is UTC, without a time of day its start.

    >>> parse_time("2026-11-20"), parse_time("2026-11-20T10:00:00+01:00")
    (datetime.datetime(2026, 11, 20, 0, 0, tzinfo=datetime.timezone.utc), \
datetime.datetime(2026, 11, 20, 9, 0, tzinfo=datetime.timezone.utc))
    """
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def parse_span(text: str) -> timedelta:
    """A duration with its units, or a number of nanoseconds as Temporal has it.

    >>> parse_span("1h30m"), parse_span("1500000000")
    (datetime.timedelta(seconds=5400), datetime.timedelta(seconds=1, microseconds=500000))
    """
    try:
        return timedelta(microseconds=int(text) // NANOSECONDS)
    except (ValueError, OverflowError):
        return parse_duration(text)


def _status(name: str) -> int:
    try:
        return STATUSES[name.replace("_", "").lower()]
    except KeyError:
        raise ValueError(f"{name!r} is not a status") from None


def _unquoted(token: Token) -> str:
    return token[1:-1].replace(token[0] * 2, token[0])


def _number(token: Token) -> int | float:
    return int(token) if token.lstrip("-").isdigit() else float(token)


_LITERALS: Final[dict[str, Callable[[Token], Value]]] = {
    "TEXT": _unquoted,
    "NUMBER": _number,
    "TRUTH": lambda token: token.lower() == "true",
}
_EXPECTED: Final = {
    Kind.TEXT: "a text in quotes",
    Kind.NUMBER: "a number",
    Kind.STATUS: f"one of {', '.join(STATUS_NUMBERS)}, in quotes",
    Kind.TIME: "a time in quotes, such as '2026-11-20T12:00:00Z'",
    Kind.DURATION: "a duration such as '1h30m', or nanoseconds",
}
