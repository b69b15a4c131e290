"""What requests put behind the path: the query, and how long a long poll waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

LONG_POLL_SECONDS: Final = 20.0
"""How long one request waits for a result, an update or new events."""
LIST_PAGE_MAX: Final = 100
"""Rows that a list fetches at a time."""


def query_of(given: Mapping[str, str | float]) -> str:
    """The query part of a path, without what is empty."""
    found = {name: value for name, value in given.items() if value not in ("", 0)}
    return f"?{urlencode(found)}" if found else ""
