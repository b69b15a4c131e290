"""The variants of the one commit statement: which parts of `commit.sql` a batch needs, joined and numbered once.

An unused part costs some 0.05 ms, so a batch gets the smallest statement that holds it. Parts are static text; the
values are always bound. The module knows neither rows nor connections.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from msgspec import Struct

from perdure_server.store.queries import load_queries

PARTS = load_queries("commit.sql")
PARAMETER = re.compile(r"\$([a-z_]+)")

ROWS: tuple[tuple[str, str], ...] = (
    ("changed", "change_executions"),
    ("activities", "put_activities"),
    ("activities_gone", "delete_activities"),
    ("activities_cleared", "clear_activities"),
    ("buffered", "insert_buffered"),
    ("buffer_flushed", "flush_buffered"),
    ("wakes", "put_wakes"),
    ("wakes_gone", "delete_wakes"),
    ("parked", "insert_parked"),
    ("unparked", "delete_parked"),
    ("snapshots", "put_snapshots"),
)
"""Kinds of rows that depend on `accepted`, and the part that writes each, in lock order (`visible` before all)."""

CLAIMS = {
    (True, False): "unite_free",
    (False, True): "unite_replaced",
    (True, True): "unite_claims",
}
ACCEPTED = {
    (False, False): "accept_none",
    (True, False): "accept_continued",
    (False, True): "accept_begun",
    (True, True): "accept_both",
}


class Variant(Struct, frozen=True):
    """A commit statement, and the names of its parameters in the order of their numbers."""

    text: str
    parameters: tuple[str, ...]


@cache
def variant(kinds: frozenset[str]) -> Variant:
    """The smallest statement for these kinds of rows (see `commit_rows.rows_by_kind`)."""
    *parts, report = choose_parts(kinds)
    text = "with " + ",\n".join(PARTS[part] for part in parts) + "\n" + PARTS[report]
    return number_parameters(text)


def choose_parts(kinds: frozenset[str]) -> list[str]:
    """Names of the parts; the last is the report.

    What the report reads is written first, in this order. All else is written after it, and Postgres runs that from
    the last part to the first: so it stands here in reverse, and a test watches the order in which tables are locked.
    """
    parts = ["hold_fence"]
    if "continued" in kinds:
        parts.append("append_continued")
    if "begun" in kinds:
        parts += begin_parts(kinds)
    written = [part for kind, part in reversed(ROWS) if kind in kinds]
    if "begun" in kinds:
        written.append("insert_executions")
    appends = "continued" in kinds, "begun" in kinds
    if not any(appends) and not written:
        return [*parts, "report_fence"]
    return [*parts, ACCEPTED[appends], *written, "report_accepted"]


def begin_parts(kinds: frozenset[str]) -> Sequence[str]:
    """What begins runs: the claims of their workflow ids, their first appends."""
    parts = ["claim_free"] if "free" in kinds else []
    if "replaced" in kinds:
        parts.append("claim_replaced_gated" if "continued" in kinds else "claim_replaced")
    append = "append_begun_copied" if "begun_first" in kinds else "append_begun"
    return [*parts, CLAIMS["free" in kinds, "replaced" in kinds], append]


def number_parameters(text: str) -> Variant:
    """Every `$name` as the number of its first appearance."""
    names = tuple(dict.fromkeys(PARAMETER.findall(text)))
    numbers = {name: number for number, name in enumerate(names, 1)}
    return Variant(PARAMETER.sub(lambda match: f"${numbers[match[1]]}", text), names)
