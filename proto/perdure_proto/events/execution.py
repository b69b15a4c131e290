"""A run as a whole: how it began, what came to it from outside, how it ended."""

# msgspec copies an empty default for each instance.
# ruff: noqa: RUF012

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

from msgspec import Raw

from perdure_proto.events.event import Event
from perdure_proto.failures import Failure, RetryState
from perdure_proto.options import Priority, RetryPolicy
from perdure_proto.payload import EMPTY_LIST, NULL

Initiator = Literal["", "WORKFLOW", "RETRY", "CRON_SCHEDULE"]


class WorkflowExecutionStarted(Event, frozen=True, kw_only=True):
    """A run began. `carried_request_ids` are those that the chain answered lately, with the time of each.

    `last_completion_run_id` is the run of the chain that gave the last result, `null` perhaps.
    """

    type_id: ClassVar[int] = 1
    workflow_id: str = ""
    workflow_type: str
    task_queue: str
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    identity: str = ""
    request_id: str = ""
    carried_request_ids: dict[str, datetime] = {}
    workflow_execution_timeout: timedelta | None = None
    workflow_run_timeout: timedelta | None = None
    workflow_task_timeout: timedelta = timedelta(seconds=10)
    workflow_execution_expiration_time: datetime | None = None
    original_execution_run_id: str
    first_execution_run_id: str
    continued_execution_run_id: str = ""
    initiator: Initiator = ""
    continued_failure: Failure | None = None
    last_completion_result: Raw = NULL
    last_completion_encoding: str = ""
    last_completion_run_id: str = ""
    retry_policy: RetryPolicy | None = None
    attempt: int = 1
    cron_schedule: str = ""
    first_workflow_task_backoff: timedelta = timedelta(0)
    parent_workflow_namespace: str = ""
    parent_workflow_id: str = ""
    parent_run_id: str = ""
    parent_initiated_event_id: int = 0
    memo: dict[str, Any] = {}
    search_attributes: dict[str, Any] = {}
    header: dict[str, Any] = {}
    priority: Priority | None = None
    static_summary: str = ""
    static_details: str = ""
    standalone_activity_id: str = ""
    """Set where the run is an activity without a workflow."""


class WorkflowExecutionCompleted(Event, frozen=True, kw_only=True):
    """The workflow returned."""

    type_id: ClassVar[int] = 2
    result: Raw = NULL
    encoding: str = ""
    workflow_task_completed_event_id: int
    new_execution_run_id: str = ""


class WorkflowExecutionFailed(Event, frozen=True, kw_only=True):
    """The workflow raised."""

    type_id: ClassVar[int] = 3
    failure: Failure
    retry_state: RetryState = "IN_PROGRESS"
    workflow_task_completed_event_id: int
    new_execution_run_id: str = ""


class WorkflowExecutionTimedOut(Event, frozen=True, kw_only=True):
    """The run or the whole execution took too long."""

    type_id: ClassVar[int] = 4
    retry_state: RetryState = "TIMEOUT"
    new_execution_run_id: str = ""
    failure: Failure | None = None
    """Which timeout it was, in a standalone activity."""


class WorkflowExecutionCancelRequested(Event, frozen=True, kw_only=True):
    """Somebody asked the workflow to stop."""

    type_id: ClassVar[int] = 20
    cause: str = ""
    identity: str = ""
    request_id: str = ""
    external_initiated_event_id: int = 0
    external_workflow_id: str = ""
    external_run_id: str = ""


class WorkflowExecutionCanceled(Event, frozen=True, kw_only=True):
    """The workflow ended because it was cancelled."""

    type_id: ClassVar[int] = 21
    workflow_task_completed_event_id: int
    details: Raw = NULL
    encoding: str = ""


class WorkflowExecutionSignaled(Event, frozen=True, kw_only=True):
    """A signal came."""

    type_id: ClassVar[int] = 26
    signal_name: str
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    identity: str = ""
    request_id: str = ""
    header: dict[str, Any] = {}
    external_workflow_id: str = ""
    external_run_id: str = ""


class WorkflowExecutionTerminated(Event, frozen=True, kw_only=True):
    """Somebody ended the workflow at once. After a reset `reset_run_id` goes on, with the events up to one of these."""

    type_id: ClassVar[int] = 27
    reason: str = ""
    identity: str = ""
    details: Raw = NULL
    encoding: str = ""
    reset_run_id: str = ""
    reset_event_id: int = 0


class WorkflowExecutionContinuedAsNew(Event, frozen=True, kw_only=True):
    """The run closed and the next of the chain began."""

    type_id: ClassVar[int] = 28
    new_execution_run_id: str
    workflow_type: str
    task_queue: str
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    workflow_run_timeout: timedelta | None = None
    workflow_task_timeout: timedelta | None = None
    backoff_start_interval: timedelta = timedelta(0)
    initiator: Initiator = "WORKFLOW"
    failure: Failure | None = None
    last_completion_result: Raw = NULL
    header: dict[str, Any] = {}
    memo: dict[str, Any] = {}
    search_attributes: dict[str, Any] = {}
    workflow_task_completed_event_id: int


class UpsertWorkflowSearchAttributes(Event, frozen=True, kw_only=True):
    """The workflow changed its search attributes."""

    type_id: ClassVar[int] = 40
    workflow_task_completed_event_id: int
    search_attributes: dict[str, Any]


class WorkflowPropertiesModified(Event, frozen=True, kw_only=True):
    """The workflow changed its memo."""

    type_id: ClassVar[int] = 46
    workflow_task_completed_event_id: int
    upserted_memo: dict[str, Any]


class WorkflowExecutionOptionsUpdated(Event, frozen=True, kw_only=True):
    """Options of the execution were changed from outside."""

    type_id: ClassVar[int] = 55
    workflow_task_timeout: timedelta | None = None
    workflow_execution_expiration_time: datetime | None = None
    build_id: str = ""
    attached_request_id: str = ""
    identity: str = ""


class WorkflowExecutionPaused(Event, frozen=True, kw_only=True):
    """The execution was paused."""

    type_id: ClassVar[int] = 58
    identity: str = ""
    reason: str = ""
    request_id: str = ""


class WorkflowExecutionUnpaused(Event, frozen=True, kw_only=True):
    """The execution goes on."""

    type_id: ClassVar[int] = 59
    identity: str = ""
    reason: str = ""
    request_id: str = ""
    paused_for: timedelta = timedelta(0)
