"""Memo and search attributes as they are given: what is refused at the call, and what travels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from perdure import workflow
from tests.unit.sdk.stand_in import inside


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"a": "x", "b": 1, "c": 1.5, "d": True, "e": None}, {"a": "x", "b": 1, "c": 1.5, "d": True, "e": None}),
        ({"a": ["x", "y"]}, {"a": ["x", "y"]}),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, {"a": "2026-01-01T00:00:00Z"}),
        ({"a": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, {"a": "2025-12-31T23:00:00Z"}),
    ],
)
def test_search_attributes_are_plain_json(given: dict[str, Any], plain: dict[str, Any]) -> None:
    """Strings, numbers, booleans, datetimes and lists of strings; None removes."""
    with inside() as runtime:
        workflow.upsert_search_attributes(given)
    assert [("search attributes", plain)] == runtime.upserted


@pytest.mark.parametrize(
    ("given", "error", "reason"),
    [
        ({"a": {"b": 1}}, TypeError, "'a' is {'b': 1}"),
        ({"a": [1]}, TypeError, "list with 1 in it"),
        ({"a": b"x"}, TypeError, "lists of strings"),
        ({"a": float("nan")}, ValueError, "nan"),
        ({"a": datetime(2026, 1, 1)}, ValueError, "time zone"),  # noqa: DTZ001 - it is refused
        ({"a": "x\0"}, ValueError, "cannot be kept"),
        ({"a": ["\ud800"]}, ValueError, "cannot be kept"),
        ({"": 1}, ValueError, "empty"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(given: dict[str, Any], error: type[Exception], reason: str) -> None:
    """At the call, naming the attribute."""
    with inside() as runtime, pytest.raises(error, match=reason):
        workflow.upsert_search_attributes(given)
    assert [] == runtime.upserted


def test_a_memo_takes_any_json() -> None:
    """What msgspec writes travels as it is written."""
    with inside() as runtime:
        workflow.upsert_memo({"at": datetime(2026, 1, 1, tzinfo=UTC), "list": [{"a": (1, 2)}], "gone": None})
    assert [("memo", {"at": "2026-01-01T00:00:00Z", "list": [{"a": [1, 2]}], "gone": None})] == runtime.upserted


def test_a_memo_refuses_what_is_no_json() -> None:
    """At the call."""
    with inside(), pytest.raises(TypeError, match="object"):
        workflow.upsert_memo({"a": object()})
    with inside(), pytest.raises(ValueError, match="NUL"):
        workflow.upsert_memo({"a": ["x\0"]})


@pytest.mark.parametrize(("details", "error"), [(3, TypeError), ("x\0", ValueError), ("\ud800", ValueError)])
def test_details_are_text_that_can_be_kept(details: Any, error: type[Exception]) -> None:
    """What is not is refused at the call."""
    with inside() as runtime, pytest.raises(error):
        workflow.set_current_details(details)
    assert "" == runtime.details


@pytest.mark.parametrize("upsert", [workflow.upsert_memo, workflow.upsert_search_attributes])
def test_only_a_workflow_can_change_them(upsert: Any) -> None:
    """Outside there is no run whose they are."""
    with pytest.raises(RuntimeError, match="workflow"):
        upsert({"a": 1})
