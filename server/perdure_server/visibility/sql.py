"""The one place where SQL is composed. Only columns and operators of our own tables ever become text of a statement;
every value, every name of a search attribute and every path is bound.
"""

from __future__ import annotations

from typing import Final

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
)
from perdure_server.visibility.fields import SYSTEM, Field, Kind
from perdure_server.visibility.pages import Place, sorts_of
from perdure_server.visibility.paths import path_of

TYPES: Final = {
    Kind.TEXT: "text",
    Kind.STATUS: "smallint",
    Kind.TIME: "timestamptz",
    Kind.NUMBER: "float8",
    Kind.DURATION: "interval",
}
COLUMNS: Final = {
    **{name: f"x.{field.column}" for name, field in SYSTEM.items()},
    "RunId": "x.run_id::text",
    "FirstRunId": "x.first_run_id::text",
    "ExecutionDuration": "(x.close_time - x.start_time)",
}
RUNNING: Final = STATUS_NUMBERS["RUNNING"]
GROUPS_MAX: Final = 1_000
ATTRIBUTES: Final = "x.search_attributes"


class Statement:
    """A statement that grows, with what it binds."""

    def __init__(self, namespace_id: int) -> None:
        self.bound: list[object] = [namespace_id]

    def bind(self, value: object, kind: str = "") -> str:
        """The place of a value."""
        self.bound.append(value)
        return f"${len(self.bound)}{kind and '::' + kind}"

    def where(self, condition: Condition | None) -> str:
        """Of the namespace, those that fit."""
        return "where x.namespace_id = $1" + (f" and {self.test(condition)}" if condition is not None else "")

    def test(self, condition: Condition) -> str:
        match condition:
            case All(conditions=several):
                return "(" + " and ".join(map(self.test, several)) + ")"
            case Any(conditions=several):
                return "(" + " or ".join(map(self.test, several)) + ")"
            case Not(condition=inner):
                return f"({self.test(inner)}) is not true"
            case Missing(field=Field(kind=Kind.ATTRIBUTE, name=name)):
                return f"({ATTRIBUTES} ? {self.bind(name)}) is not true"
            case Missing(field=field):
                return f"{COLUMNS[field.name]} is null"
            case _ if condition.field.kind is Kind.ATTRIBUTE:
                return self._of_attribute(condition)
            case _:
                return self._of_column(condition)

    def _of_attribute(self, condition: Compared | OneOf | StartsWith | Like) -> str:
        found = f"{ATTRIBUTES} @? {self.bind(path_of(condition), 'jsonpath')}"
        if isinstance(condition, Compared) and condition.operator == "!=":
            return f"({ATTRIBUTES} ? {self.bind(condition.field.name)} and not {found})"
        return found

    def _of_column(self, condition: Compared | OneOf | StartsWith | Like) -> str:
        column, kind = COLUMNS[condition.field.name], TYPES[condition.field.kind]
        match condition:
            case Compared(operator="=", value=value) if value == RUNNING and kind == "smallint":
                return f"x.status = {RUNNING}"  # the partial index of running executions is only found by its own words
            case Compared(operator=operator, value=value):
                value = float(value) if kind == "float8" and isinstance(value, int) else value
                return f"{column} {operator} {self.bind(value, kind)}"
            case OneOf(values=values):
                numbers = [float(value) if kind == "float8" and isinstance(value, int) else value for value in values]
                return f"{column} = any({self.bind(numbers, kind + '[]')})"
            case StartsWith(prefix=prefix):
                return f"{column} ^@ {self.bind(prefix, 'text')}"
            case Like(pattern=pattern):
                return f"{column} like {self.bind(pattern, 'text')}"


def list_statement(namespace_id: int, wanted: Filter, place: Place | None, limit: int) -> tuple[str, list[object]]:
    """A page of executions in the order that is wanted, after a place in it."""
    statement = Statement(namespace_id)
    sorts = sorts_of(wanted)
    text = f"select x.* from executions as x {statement.where(wanted.condition)}"  # noqa: S608 - see the top
    if any(sort.field.name == "CloseTime" for sort in sorts):
        text += " and x.close_time is not null"
    if place is not None:
        text += f" and {_behind(statement, sorts, place)}"
    terms = [f"{COLUMNS[sort.field.name]} {_direction(sort)}" for sort in sorts]
    text += f" order by {', '.join(terms)}, x.run_id {_direction(sorts[-1])} limit {statement.bind(limit)}"
    return text, statement.bound


def count_statement(namespace_id: int, wanted: Filter) -> tuple[str, list[object]]:
    """How many fit: one row, or with groups one for each (`value`, `count`), the largest first; `total` in all."""
    statement = Statement(namespace_id)
    field = wanted.group_by
    value, by = "null", ""
    if field is not None:
        is_attribute = field.kind is Kind.ATTRIBUTE
        value = f"{ATTRIBUTES} -> {statement.bind(field.name, 'text')}" if is_attribute else COLUMNS[field.name]
        by = f" group by 1 order by 2 desc, 1 limit {GROUPS_MAX}"
    where = statement.where(wanted.condition)
    columns = f"{value} as value, count(*) as count, sum(count(*)) over () as total"
    return f"select {columns} from executions as x {where}{by}", statement.bound  # noqa: S608


def _behind(statement: Statement, sorts: tuple[Sort, ...], place: Place) -> str:
    """After a place: compared from the first column on, each in its own direction."""
    columns = [*(COLUMNS[sort.field.name] for sort in sorts), "x.run_id"]
    kinds = [*(TYPES[sort.field.kind] for sort in sorts), "uuid"]
    bound = [statement.bind(value, kind) for value, kind in zip(place, kinds, strict=True)]
    signs = ["<" if sort.descending else ">" for sort in (*sorts, sorts[-1])]
    if len(set(signs)) == 1:  # an index is read from there on
        return f"({', '.join(columns)}) {signs[0]} ({', '.join(bound)})"
    text = f"{columns[-1]} {signs[-1]} {bound[-1]}"
    for column, sign, value in reversed(list(zip(columns[:-1], signs[:-1], bound[:-1], strict=True))):
        text = f"{column} {sign}= {value} and ({column} {sign} {value} or {text})"
    return text


def _direction(sort: Sort) -> str:
    return "desc" if sort.descending else "asc"
