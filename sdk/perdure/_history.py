"""Histories as users hold them, and their description: plain data with Temporal's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct

from perdure_proto.events import AnyEvent
from perdure_proto.service import (
    DescribeWorkflowAnswer,
    PendingActivity,
    PendingChild,
    PendingWorkflowTask,
    WorkflowExecutionInfo,
)
from perdure_proto.temporal_json import history_from_json, history_to_json


class WorkflowExecutionStatus(StrEnum):
    """How a run stands."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    TERMINATED = "TERMINATED"
    CONTINUED_AS_NEW = "CONTINUED_AS_NEW"
    TIMED_OUT = "TIMED_OUT"
    PAUSED = "PAUSED"


class History(Struct, frozen=True, kw_only=True):
    """All events of a run: each has `event_id`, `event_type`, `event_time` and its own attributes.

    Example:
        ``[event.event_type for event in (await handle.fetch_history()).events]``
    """

    workflow_id: str
    events: Sequence[AnyEvent]
    run_id: str = ""

    def to_json(self) -> str:
        """The history in Temporal's JSON format, for `Replayer`, the UI or a file."""
        return history_to_json(self.events).decode()

    @classmethod
    def from_json(cls, workflow_id: str, history: str | bytes) -> History:
        """The history of a JSON text that `to_json` or Temporal wrote. Raises `ValueError` for another text."""
        data = history.encode() if isinstance(history, str) else history
        return cls(workflow_id=workflow_id, events=history_from_json(data))


class WorkflowExecution(Struct, frozen=True, kw_only=True):
    """One row of a list. Times are in UTC."""

    id: str
    run_id: str
    workflow_type: str
    task_queue: str
    status: WorkflowExecutionStatus
    start_time: datetime
    close_time: datetime | None
    history_length: int
    memo: Mapping[str, Any]
    search_attributes: Mapping[str, Any]


class WorkflowExecutionDescription(WorkflowExecution, frozen=True, kw_only=True):
    """A run in detail: what is pending, with attempts and last failures. `raw` is all that the service said."""

    pending_workflow_task: PendingWorkflowTask | None
    pending_activities: Sequence[PendingActivity]
    pending_children: Sequence[PendingChild]
    parent_id: str
    """Workflow id of the parent, where it is a child."""
    parent_run_id: str
    execution_time: datetime | None
    """When its code began or is to begin: after the start delay, the backoff or the wait for a tick."""
    first_execution_run_id: str
    """The first run of its chain."""
    cron_schedule: str
    attempt: int
    static_summary: str
    static_details: str
    current_details: str
    cancel_requested: bool
    """Whether somebody asked it to stop."""
    cancel_reason: str
    """What the first cancel request said."""
    raw: DescribeWorkflowAnswer


def execution_of(info: WorkflowExecutionInfo) -> WorkflowExecution:
    """A row of a list."""
    return WorkflowExecution(**_fields(info))


def description_of(answer: DescribeWorkflowAnswer) -> WorkflowExecutionDescription:
    """A description."""
    return WorkflowExecutionDescription(
        **_fields(answer.execution),
        pending_workflow_task=answer.pending_workflow_task,
        pending_activities=answer.pending_activities,
        pending_children=answer.pending_children,
        parent_id=answer.parent_workflow_id,
        parent_run_id=answer.parent_run_id,
        execution_time=answer.execution_time,
        first_execution_run_id=answer.first_execution_run_id,
        cron_schedule=answer.cron_schedule,
        attempt=answer.attempt,
        static_summary=answer.static_summary,
        static_details=answer.static_details,
        current_details=answer.current_details,
        cancel_requested=answer.cancel_requested,
        cancel_reason=answer.cancel_reason,
        raw=answer,
    )


def _fields(info: WorkflowExecutionInfo) -> dict[str, Any]:
    names = ("run_id", "workflow_type", "task_queue", "start_time", "close_time", "history_length", "memo")
    found = {name: getattr(info, name) for name in (*names, "search_attributes")}
    return {"id": info.workflow_id, "status": WorkflowExecutionStatus(info.status), **found}
