"""Histories recorded by Temporal servers are read, and written again without what both models have being lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure_proto import events as ev
from perdure_proto.temporal_json import history_from_json, history_to_json

FOLDER = Path(__file__).parent / "histories"
RECORDED = sorted(FOLDER.glob("*.json"))

# What perdure has no field for, and fields that say nothing: proto3 leaves them out.
NOT_OURS = {"taskId", "meteringMetadata", "useWorkflowBuildId"}


def essence(found: Any) -> Any:
    """A JSON value without what is not ours and without what says nothing."""
    if isinstance(found, dict):
        kept = {key: essence(value) for key, value in found.items() if key not in NOT_OURS}
        return {key: value for key, value in kept.items() if value not in ("", "0", "0s", 0, [], {})}
    return [essence(one) for one in found] if isinstance(found, list) else found


def loaded(data: bytes) -> Any:
    return essence(json.loads(data)["events"])


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_history_is_read(path: Path) -> None:
    """Events have the ids and types of the recording, in order."""
    events = history_from_json(path.read_bytes())

    assert list(range(1, 12)) == [event.event_id for event in events]
    assert [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "ActivityTaskScheduled",
        "ActivityTaskStarted",
        "ActivityTaskCompleted",
        "WorkflowTaskScheduled",
        "WorkflowTaskStarted",
        "WorkflowTaskCompleted",
        "WorkflowExecutionCompleted",
    ] == [event.event_type for event in events]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_reading_and_writing_settles(path: Path) -> None:
    """Events that were read are the same after they were written and read again."""
    events = history_from_json(path.read_bytes())

    assert events == history_from_json(history_to_json(events))


def test_nothing_that_both_have_is_lost() -> None:
    """The export of a history that was read says what the recording said."""
    recorded = (FOLDER / "agent-hello.json").read_bytes()
    expected = loaded(recorded)
    # Where a queue is one worker's own, perdure keeps the one that all share.
    queue = expected[7]["workflowTaskScheduledEventAttributes"]["taskQueue"]
    queue["name"] = queue["normalName"]
    started = expected[0]["workflowExecutionStartedEventAttributes"]
    started["workflowExecutionExpirationTime"] = started["workflowExecutionExpirationTime"].replace("Z", "000Z")

    assert expected == loaded(history_to_json(history_from_json(recorded)))


def test_nothing_is_carried_for_a_foreign_history() -> None:
    """A history that came from Temporal goes back without a name of perdure's."""
    for path in RECORDED:
        assert b"perdure" not in history_to_json(history_from_json(path.read_bytes()))


def test_what_a_recorded_history_says() -> None:
    """Payloads, timeouts, policies and metadata are where events have them."""
    events = history_from_json((FOLDER / "agent-hello.json").read_bytes())
    started, scheduled, completed = events[0], events[4], events[-1]
    assert isinstance(started, ev.WorkflowExecutionStarted)
    assert isinstance(scheduled, ev.ActivityTaskScheduled)
    assert isinstance(completed, ev.WorkflowExecutionCompleted)

    assert b'["Tell me about recursion in programming."]' == bytes(started.input)
    assert "HelloWorldAgent" == started.workflow_type
    assert 5.0 == started.workflow_task_timeout.total_seconds()
    assert "Tell me about recursion in programming." == scheduled.summary
    assert {"model_name", "tools"} <= msgspec.json.decode(scheduled.input)[0].keys()
    assert scheduled.retry_policy is not None
    assert 2.0 == scheduled.retry_policy.backoff_coefficient
    assert b'"test"' == bytes(completed.result)
