"""List filters: the little language of `list` and `count`, and the one place where SQL is composed.

Only what stands in the allow-lists below ever becomes SQL text; every value is bound. For now: nothing, or
`WorkflowId`, `WorkflowType` (`ActivityId`, `ActivityType`) or `ExecutionStatus`, each `= '…'`, joined with AND.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NoReturn

from msgspec import Struct

from perdure_proto.errors import Code, ServiceError
from perdure_server.store.port import STATUS_NUMBERS

FILTER_LENGTH_MAX = 4_096
TERMS_MAX = 20

COLUMNS = {
    "WorkflowId": "workflow_id",
    "WorkflowType": "workflow_type",
    "ActivityId": "workflow_id",
    "ActivityType": "workflow_type",
    "ExecutionStatus": "status",
}
"""Standalone activities are runs of their own: their ids and types stand in the same columns."""
STATUSES = {name.replace("_", "").lower(): number for name, number in STATUS_NUMBERS.items()}
"""`Running`, `TimedOut` as Temporal writes them, and our own `TIMED_OUT`."""

TOKEN = re.compile(r"\s*(?:(?P<word>[A-Za-z_]\w*)|(?P<text>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")|(?P<equals>=))")


class Term(Struct, frozen=True):
    """A column of the allow-list and the value it must have."""

    column: str
    value: object


class Tokens:
    """Reads the filter from left to right; an error names the place and what stands there."""

    def __init__(self, text: str) -> None:
        self.text = text.rstrip()
        self.position = 0

    @property
    def at_end(self) -> bool:
        return self.position >= len(self.text)

    def take(self, kind: str, expected: str) -> str:
        """The next token, which must be of this kind."""
        match = TOKEN.match(self.text, self.position)
        if match is None or match[kind] is None:
            self.refuse(expected)
        self.position = match.end()
        found: str = match[kind]
        return found

    def refuse(self, expected: str) -> NoReturn:
        """The error, at the next token."""
        rest = self.text[self.position :].lstrip()
        place = len(self.text) - len(rest) + 1
        found = f"found {rest.split()[0]!r}" if rest else "the filter ends"
        raise ServiceError(
            Code.INVALID_ARGUMENT, f"filter, character {place}: expected {expected}, {found}", position=place
        )


def parse_filter(text: str) -> list[Term]:
    """The terms that must all hold. Raises `ServiceError` with `INVALID_ARGUMENT`, saying where and what."""
    if len(text) > FILTER_LENGTH_MAX:
        raise ServiceError(Code.INVALID_ARGUMENT, f"a filter has at most {FILTER_LENGTH_MAX} characters")
    tokens = Tokens(text)
    terms: list[Term] = []
    while not tokens.at_end:
        if terms:
            parse_and(tokens)
        terms.append(parse_term(tokens))
        if len(terms) > TERMS_MAX:
            raise ServiceError(Code.INVALID_ARGUMENT, f"a filter has at most {TERMS_MAX} terms")
    return terms


def parse_and(tokens: Tokens) -> None:
    before = tokens.position
    if tokens.take("word", "AND").upper() != "AND":
        tokens.position = before
        tokens.refuse("AND")


def parse_term(tokens: Tokens) -> Term:
    before = tokens.position
    name = tokens.take("word", f"one of {', '.join(COLUMNS)}")
    if name not in COLUMNS:
        tokens.position = before
        tokens.refuse(f"one of {', '.join(COLUMNS)}")
    tokens.take("equals", "=")
    before = tokens.position
    quoted = tokens.take("text", "a text in quotes")
    value = quoted[1:-1].replace(quoted[0] * 2, quoted[0])
    if name != "ExecutionStatus":
        return Term(COLUMNS[name], value)
    number = STATUSES.get(value.replace("_", "").lower())
    if number is None:
        tokens.position = before
        tokens.refuse(f"one of {', '.join(STATUS_NUMBERS)}")
    return Term(COLUMNS[name], number)


def where_clause(terms: list[Term], bound: list[object]) -> str:
    """The condition for the terms; their values are added to `bound`."""
    conditions: list[str] = []
    for term in terms:
        assert term.column in COLUMNS.values(), "columns come from the allow-list"
        bound.append(term.value)
        # The partial index of running executions is only found by its own words.
        running = term.column == "status" and term.value == STATUS_NUMBERS["RUNNING"]
        conditions.append(f"x.{term.column} = ${len(bound)}" + (" and x.status = 1" if running else ""))
    return "".join(f" and {condition}" for condition in conditions)


def list_query(
    namespace_id: int, terms: list[Term], after: tuple[datetime, str] | None, limit: int
) -> tuple[str, list[object]]:
    """A page of executions, newest start first, after a place in that order."""
    bound: list[object] = [namespace_id, limit]
    text = "select x.* from executions as x where x.namespace_id = $1" + where_clause(terms, bound)  # noqa: S608 - see the top
    if after is not None:
        bound += after
        text += f" and (x.start_time, x.run_id) < (${len(bound) - 1}, ${len(bound)})"
    return text + " order by x.start_time desc, x.run_id desc limit $2", bound


def count_query(namespace_id: int, terms: list[Term]) -> tuple[str, list[object]]:
    """How many executions fit."""
    bound: list[object] = [namespace_id]
    text = "select count(*) from executions as x where x.namespace_id = $1" + where_clause(terms, bound)  # noqa: S608
    return text, bound
