"""Workflow tasks: the turns in which a worker runs the workflow."""

# msgspec copies an empty default for each instance.
# ruff: noqa: RUF012

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Literal

from msgspec import Raw

from perdure_proto.events.event import Event
from perdure_proto.failures import Failure
from perdure_proto.payload import NULL

WorkflowTaskFailedCause = Literal[
    "UNHANDLED_COMMAND",
    "BAD_COMMAND",
    "NON_DETERMINISTIC_ERROR",
    "WORKFLOW_WORKER_UNHANDLED_FAILURE",
    "RESET_WORKFLOW",
    "WORKER_LOST",
    "PAYLOADS_TOO_LARGE",
    "UNSPECIFIED",
]


class WorkflowTaskScheduled(Event, frozen=True, kw_only=True):
    """There is something for the workflow to do."""

    type_id: ClassVar[int] = 5
    task_queue: str
    sticky: bool = False
    start_to_close_timeout: timedelta = timedelta(seconds=10)
    attempt: int = 1


class WorkflowTaskStarted(Event, frozen=True, kw_only=True):
    """A worker took the task."""

    type_id: ClassVar[int] = 6
    scheduled_event_id: int
    identity: str = ""
    request_id: str = ""
    suggest_continue_as_new: bool = False
    history_size_bytes: int = 0
    build_id: str = ""


class WorkflowTaskCompleted(Event, frozen=True, kw_only=True):
    """A worker answered with commands. `current_details` is what the workflow says of itself since, if it changed."""

    type_id: ClassVar[int] = 7
    scheduled_event_id: int
    started_event_id: int
    identity: str = ""
    build_id: str = ""
    sdk_metadata: dict[str, Any] = {}
    current_details: str | None = None


class WorkflowTaskTimedOut(Event, frozen=True, kw_only=True):
    """The worker did not answer in time."""

    type_id: ClassVar[int] = 8
    scheduled_event_id: int
    started_event_id: int = 0
    timeout_type: Literal["START_TO_CLOSE", "SCHEDULE_TO_START"] = "START_TO_CLOSE"


class WorkflowTaskFailed(Event, frozen=True, kw_only=True):
    """The worker could not do the task, or its answer was refused. A reset gives up a task of `base_run_id`, goes on as
    `new_run_id` and takes the place of `replaced_run_id`.
    """

    type_id: ClassVar[int] = 9
    scheduled_event_id: int
    started_event_id: int
    cause: WorkflowTaskFailedCause = "UNSPECIFIED"
    failure: Failure | None = None
    identity: str = ""
    build_id: str = ""
    base_run_id: str = ""
    new_run_id: str = ""
    fork_event_version: int = 0
    replaced_run_id: str = ""


class MarkerRecorded(Event, frozen=True, kw_only=True):
    """A fact kept by the workflow: a patch, or the result of a local activity."""

    type_id: ClassVar[int] = 25
    marker_name: str
    details: Raw = NULL
    encoding: str = ""
    failure: Failure | None = None
    header: dict[str, Any] = {}
    workflow_task_completed_event_id: int
