"""What a workflow tells of itself, checked at the call: memo and search attributes as plain JSON, current details.

What `workflow.info()` shows after a change is what travels, so that it is the same in the next run: a datetime is text
in RFC 3339 there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from perdure._handlers import runtime_for
from perdure_proto.attributes import wrong_attribute
from perdure_proto.codec import encoder
from perdure_proto.payload import is_unstorable


def upsert_search_attributes(attributes: Mapping[str, Any]) -> None:
    """Changes what lists filter by; `workflow.info().search_attributes` shows it at once.

    Args:
        attributes: values by name: strings, numbers, booleans, datetimes with a time zone, lists of strings. What is
            not named stays; None removes.

    Raises `TypeError` for a value of another type, `ValueError` for a number that is not finite, a datetime without a
    zone, or text that cannot be kept, and `RuntimeError` outside a workflow. The server refuses more than 100
    attributes, 2 KB a value and 40 KB in all.

    Example:
        ``workflow.upsert_search_attributes({"stage": "paid", "coupon": None})``
    """
    runtime = runtime_for("workflow.upsert_search_attributes()")
    plain = plain_attributes(attributes)
    if plain:
        runtime.upsert_search_attributes(plain)


def upsert_memo(updates: Mapping[str, Any]) -> None:
    """Changes the notes that lists and descriptions show; `workflow.info().memo` shows it at once.

    Args:
        updates: JSON values by name. What is not named stays; None removes.

    Raises `TypeError` for a value that is no JSON, `ValueError` for text with NUL in it, and `RuntimeError` outside a
    workflow. The server refuses a memo of more than 2 MB.

    Example:
        ``workflow.upsert_memo({"courier": {"name": "Ada"}, "draft": None})``
    """
    runtime = runtime_for("workflow.upsert_memo()")
    plain = plain_memo(updates)
    if plain:
        runtime.upsert_memo(plain)


def set_current_details(details: str) -> None:
    """Says, in Markdown, what the workflow does now: `perdure workflow describe` shows it, of closed runs too.

    Args:
        details: replaces what was said before. The server refuses more than 20 KB.

    It belongs to this run: the next of the chain begins with nothing. Every change is kept in the history, so say where
    the workflow stands, not each step of a loop. Raises `TypeError` for what is no text, `ValueError` for text that
    cannot be kept, and `RuntimeError` outside a workflow.

    Example:
        ``workflow.set_current_details("Waits for **Ada** to approve")``
    """
    runtime = runtime_for("workflow.set_current_details()")
    if not isinstance(details, str):  # pyright: ignore[reportUnnecessaryIsInstance] - not everybody checks types
        raise TypeError(f"details are text, not {details!r}")
    if "\0" in details:
        raise ValueError("details hold a character that cannot be kept: NUL")
    details.encode()  # a lone surrogate is refused here
    runtime.set_current_details(details)


def get_current_details() -> str:
    """What the workflow said of itself last in this run; empty before. Raises `RuntimeError` outside a workflow."""
    return runtime_for("workflow.get_current_details()").current_details()


def plain_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Search attributes as they travel. Raises `TypeError` and `ValueError` as `upsert_search_attributes` does."""
    plain = {name: _plain_attribute(name, value) for name, value in attributes.items()}
    for name, value in plain.items():
        wrong = wrong_attribute(name, value)
        if wrong is not None:
            raise (TypeError if _is_of_another_type(value) else ValueError)(wrong)
    return plain


def plain_memo(memo: Mapping[str, Any]) -> dict[str, Any]:
    """A memo as it travels. Raises `TypeError` for a value that is no JSON, `ValueError` for text with NUL in it."""
    encoded = encoder.encode(dict(memo))
    if is_unstorable(encoded):
        raise ValueError("the memo holds a character that cannot be kept: NUL")
    return msgspec.json.decode(encoded, type=dict[str, Any])


def _plain_attribute(name: str, value: object) -> object:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"search attribute {name!r} is a datetime without a time zone: {value!r}")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return list(cast(tuple[object, ...], value)) if isinstance(value, tuple) else value


def _is_of_another_type(value: object) -> bool:
    if isinstance(value, list):
        return any(not isinstance(text, str) for text in cast(list[object], value))
    return not isinstance(value, str | int | float)
