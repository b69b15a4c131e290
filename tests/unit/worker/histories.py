"""Histories and tasks of small workflows, as the service would hand them out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from msgspec import Raw

from perdure_proto.codec import encode_events
from perdure_proto.events import (
    ActivityTaskCompleted,
    ActivityTaskScheduled,
    ActivityTaskStarted,
    AnyEvent,
    WorkflowExecutionStarted,
    WorkflowTaskCompleted,
    WorkflowTaskScheduled,
    WorkflowTaskStarted,
)
from perdure_proto.tasks import WorkflowTask
from tests.unit.worker.wired import NOW


def first_events(workflow_type: str, input: bytes = b"[]") -> list[AnyEvent]:
    """A run up to its first turn."""
    return [
        WorkflowExecutionStarted(
            event_id=1,
            event_time=NOW,
            workflow_id="w",
            workflow_type=workflow_type,
            task_queue="default",
            input=Raw(input),
            original_execution_run_id="r",
            first_execution_run_id="r",
        ),
        WorkflowTaskScheduled(event_id=2, event_time=NOW, task_queue="default"),
        WorkflowTaskStarted(event_id=3, event_time=NOW, scheduled_event_id=2),
    ]


def after_activity(activity_type: str, result: bytes) -> list[AnyEvent]:
    """What follows the first turn when it scheduled one activity, up to the second turn."""
    return [
        WorkflowTaskCompleted(event_id=4, event_time=NOW, scheduled_event_id=2, started_event_id=3),
        ActivityTaskScheduled(
            event_id=5,
            event_time=NOW,
            activity_id="1",
            activity_type=activity_type,
            start_to_close_timeout=timedelta(seconds=10),
            workflow_task_completed_event_id=4,
        ),
        ActivityTaskStarted(event_id=6, event_time=NOW, scheduled_event_id=5),
        ActivityTaskCompleted(event_id=7, event_time=NOW, scheduled_event_id=5, started_event_id=6, result=Raw(result)),
        WorkflowTaskScheduled(event_id=8, event_time=NOW, task_queue="default"),
        WorkflowTaskStarted(event_id=9, event_time=NOW, scheduled_event_id=8),
    ]


def turn(token: str, events: Sequence[AnyEvent], **fields: Any) -> WorkflowTask:
    """A workflow task that brings these events."""
    values = {
        "token": token,
        "workflow_id": "w",
        "run_id": "r",
        "workflow_type": getattr(events[0], "workflow_type", "unknown"),
        "events": Raw(encode_events(events)),
        "history_from": events[0].event_id,
        "started_event_id": events[-1].event_id,
        **fields,
    }
    return WorkflowTask(**values)
