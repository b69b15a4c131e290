"""Memo and search attributes changed by workflow code, live and on replay."""

from datetime import UTC, datetime
from typing import Any

import pytest

from perdure import workflow
from perdure.exceptions import NondeterminismError
from perdure_proto import commands as cmd
from perdure_worker import Replayer
from tests.replay.service import Service, names


@workflow.defn
async def notes() -> list[Any]:
    info = workflow.info
    seen: list[Any] = []
    workflow.upsert_search_attributes({"stage": "new", "due": datetime(2026, 1, 2, tzinfo=UTC), "tags": ("a", "b")})
    workflow.upsert_memo({"courier": {"name": "Ada"}})
    seen.append([dict(info().search_attributes), dict(info().memo)])
    await workflow.sleep(1)
    workflow.upsert_search_attributes({"stage": "paid", "due": None})
    workflow.upsert_memo({"courier": None})
    seen.append([dict(info().search_attributes), dict(info().memo)])
    return seen


@workflow.defn(name="notes")
async def without_memo() -> None:
    workflow.upsert_search_attributes({"stage": "other"})
    await workflow.sleep(1)


@workflow.defn(name="notes")
async def other_values() -> None:
    workflow.upsert_search_attributes({"stage": "other"})
    workflow.upsert_memo({"courier": "Bob"})
    await workflow.sleep(1)


@workflow.defn
async def asks() -> None:
    @workflow.query
    def change() -> None:
        workflow.upsert_memo({"a": 1})

    await workflow.sleep(1)


@workflow.defn
async def nothing() -> None:
    workflow.upsert_search_attributes({})
    workflow.upsert_memo({})


def test_info_shows_a_change_at_once() -> None:
    """As it travels: datetimes as text, and what is None is gone."""
    service = Service(notes)
    assert ["UpsertWorkflowSearchAttributes", "ModifyWorkflowProperties", "StartTimer"] == names(service.turn())
    service.fire_timer()
    service.turn()
    first = {"stage": "new", "due": "2026-01-02T00:00:00Z", "tags": ["a", "b"]}
    assert [
        [first, {"courier": {"name": "Ada"}}],
        [{"stage": "paid", "tags": ["a", "b"]}, {}],
    ] == service.result()
    service.check()


def test_a_replay_knows_the_changes_before() -> None:
    """A worker that has to replay shows the same."""
    service = Service(notes)
    service.turn()
    service.evict()
    service.fire_timer()
    service.turn()
    assert {"stage": "paid", "tags": ["a", "b"]} == service.result()[1][0]


def test_values_may_differ_on_replay() -> None:
    """Only the order of changes is compared, as with other commands."""
    service = Service(notes)
    service.turn()
    Replayer(workflows=[other_values]).replay(service.events)


def test_a_change_that_is_missing_is_found() -> None:
    """Code that no longer changes the memo does not fit the history."""
    service = Service(notes)
    service.turn()
    with pytest.raises(NondeterminismError, match="WorkflowPropertiesModified"):
        Replayer(workflows=[without_memo]).replay(service.events)


def test_a_query_changes_nothing() -> None:
    """It only looks."""
    service = Service(asks)
    service.turn()
    with pytest.raises(AssertionError, match="upsert_memo"):
        service.query("change")


def test_an_empty_change_leaves_no_trace() -> None:
    """No command is given for nothing."""
    assert [cmd.CompleteWorkflowExecution()] == Service(nothing).turn()
