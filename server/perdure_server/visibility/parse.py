"""From the text of a filter to its conditions. A bad one is refused with the place and what was expected there."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, NoReturn

from perdure_proto.errors import Code, ServiceError
from perdure_server.visibility.conditions import Filter

if TYPE_CHECKING:
    from lark import Lark

FILTER_LENGTH_MAX: Final = 4_096
TESTS_MAX: Final = 100
DEPTH_MAX: Final = 50

_WORDS: Final = {
    "NAME": "a field",
    "TEXT": "a text in quotes",
    "NUMBER": "a number",
    "TRUTH": "true or false",
    "OPERATOR": "a comparison",
    "LPAR": "(",
    "RPAR": ")",
    "COMMA": "a comma",
    "DIRECTION": "ASC or DESC",
    "$END": "the end",
}
"""What error messages call the parts of the grammar; others are keywords."""


def parse_filter(text: str) -> Filter:
    """What a filter asks for. Raises `ServiceError` with `INVALID_ARGUMENT`, saying where and what.

    >>> parse_filter("WorkflowType = 'Order' AND Amount > 100").condition.conditions[1].value
    100
    """
    from lark.exceptions import UnexpectedInput, UnexpectedToken  # noqa: PLC0415 - it takes 0.1 s to load

    from perdure_server.visibility.reading import Reading  # noqa: PLC0415 - as above

    if len(text) > FILTER_LENGTH_MAX:
        raise ServiceError(Code.INVALID_ARGUMENT, f"a filter has at most {FILTER_LENGTH_MAX:,} characters")
    if not text.strip():
        return Filter()
    try:
        tree = _grammar().parse(text)
    except UnexpectedInput as error:
        at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
        expected: Iterable[str] = error.accepts if isinstance(error, UnexpectedToken) else getattr(error, "allowed", ())
        refuse(
            text, len(text) if at_end else getattr(error, "pos_in_stream", None) or 0, f"expected {_named(expected)}"
        )
    return Reading(text).filter(tree)


def refuse(text: str, position: int, what: str) -> NoReturn:
    """The error, at a place of the text."""
    rest = text[position:].split()
    found = f"found {rest[0]!r}" if rest else "the filter ends"
    place = position + 1
    raise ServiceError(Code.INVALID_ARGUMENT, f"filter, character {place}: {what}, {found}", position=place)


def _named(expected: Iterable[str]) -> str:
    words = sorted(_WORDS.get(one, one) for one in expected)
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else "".join(words)


@cache
def _grammar() -> Lark:
    from lark import Lark  # noqa: PLC0415 - as above

    text = files("perdure_server.visibility").joinpath("filter.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", propagate_positions=True)
