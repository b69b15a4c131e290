"""Memo and search attributes: small maps of JSON values beside a run, changed key by key; `null` removes a key.

What a search attribute may hold is decided here, once for those who set it and those who keep it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

ALLOWED: Final = "strings, finite numbers, booleans, datetimes and lists of strings"


def merged(current: Mapping[str, Any], upserted: Mapping[str, Any]) -> dict[str, Any]:
    """The map after a change; neither argument is changed.

    >>> merged({"a": 1, "b": 2}, {"b": None, "c": 3})
    {'a': 1, 'c': 3}
    """
    return {name: value for name, value in {**current, **upserted}.items() if value is not None}


def wrong_attribute(name: str, value: object) -> str | None:
    r"""Why a search attribute cannot be kept, or None; `value` is JSON, or None.

    Postgres finds nothing by a text that holds NUL or a lone surrogate, and refuses it.

    >>> wrong_attribute("city", "Graz"), wrong_attribute("tags", ["new"])
    (None, None)
    >>> wrong_attribute("city", "\0")
    "search attribute 'city' holds a character that cannot be kept: '\\x00'"
    """
    if not name or not name.isprintable():
        return f"the name {name!r} of a search attribute is empty or cannot be printed"
    texts = value if isinstance(value, list) else [value] if isinstance(value, str) else ()
    for text in texts:
        if not isinstance(text, str):
            return f"search attribute {name!r} is a list with {text!r} in it: {ALLOWED} can be kept"
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            return f"search attribute {name!r} holds a character that cannot be kept: {text!r}"
    if isinstance(value, str | list | bool | int | None):
        return None
    if isinstance(value, float) and math.isfinite(value):
        return None
    return f"search attribute {name!r} is {value!r}: {ALLOWED} can be kept"
