"""Conditions on search attributes as SQL/JSON paths (`jsonpath`): Postgres compares only values of one type, looks into
lists, and finds equal ones by an index.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from perdure_server.visibility.conditions import Compared, Like, OneOf, StartsWith, Value

_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{6})?Z")
"""A point in time as search attributes keep it."""


def path_of(condition: Compared | OneOf | StartsWith | Like) -> str:
    """The path that finds something in the attributes of a row that fits; `!=` is that of `=`.

    >>> path_of(Compared(field_of("Amount"), ">", 100))
    '$."Amount" ? (@ > 100)'
    """
    return f"$.{_json(condition.field.name)} ? ({_test(condition)})"


def _test(condition: Compared | OneOf | StartsWith | Like) -> str:
    match condition:
        case Compared(operator="=" | "!=", value=value):
            return f"@ == {_json(value)}"
        case Compared(operator=operator, value=str(value)) if found := _TIME.fullmatch(value):
            return _moment(operator, found[1], found[2] or "")
        case Compared(operator=operator, value=value):
            return f"@ {operator} {_json(value)}"
        case OneOf(values=values):
            return " || ".join(f"@ == {_json(value)}" for value in values)
        case StartsWith(prefix=prefix):
            return f"@ starts with {_json(prefix)}"
        case Like(pattern=pattern):
            return f'@ like_regex {_json(regex_of(pattern))} flag "s"'


def _moment(operator: str, second: str, fraction: str) -> str:
    """Times are texts whose fraction of a second is left out when it is zero, and Z comes after the dot."""
    bare, same = second + fraction, f"@ == {_json(second + fraction + 'Z')}"
    whole = f"@ == {_json(second + 'Z')}" if fraction else same
    before = f"(@ < {_json(bare)}" + (f" || {whole})" if fraction else ")")
    after = f"(@ > {_json(bare)} && !({same}) && !({whole}))"
    return {"<": before, "<=": f"({before} || {same})", ">": after, ">=": f"({after} || {same})"}[operator]


def in_order(found: object, value: object) -> tuple[Any, Any]:
    """What to compare instead of these two, so that texts which are points in time compare as such.

    >>> in_order("2026-11-20T10:00:00.500000Z", "2026-11-20T10:00:00Z")
    ('2026-11-20T10:00:00.500000', '2026-11-20T10:00:00.000000')
    """
    first, second = _moment_text(found), _moment_text(value)
    return (first, second) if first and second else (found, value)


def _moment_text(value: object) -> str:
    moment = _TIME.fullmatch(value) if isinstance(value, str) else None
    return moment[1] + (moment[2] or ".000000") if moment else ""


def regex_of(pattern: str) -> str:
    r"""The regular expression of a LIKE pattern, in what Postgres and Python have in common.

    >>> regex_of(r"50\%_%")
    '^50%..*$'
    """
    parts = re.findall(r"\\(?:.|$)|%|_|[^\\%_]+", pattern, re.DOTALL)
    return "^" + "".join({"%": ".*", "_": "."}.get(part) or _quoted(part.removeprefix("\\")) for part in parts) + "$"


def _quoted(text: str) -> str:
    return re.sub(r"([.^$*+?()\[\]{}|\\])", r"\\\1", text)


def _json(value: Value) -> str:
    return msgspec.json.encode(value).decode()
