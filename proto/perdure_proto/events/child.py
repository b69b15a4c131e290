"""Child workflows, as their parent sees them."""

# msgspec copies an empty default for each instance.
# ruff: noqa: RUF012

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from msgspec import Raw

from perdure_proto.events.event import Event
from perdure_proto.failures import Failure, RetryState
from perdure_proto.options import IdReusePolicy, ParentClosePolicy, Priority, RetryPolicy
from perdure_proto.payload import EMPTY_LIST, NULL


class StartChildWorkflowExecutionInitiated(Event, frozen=True, kw_only=True):
    """The workflow wants a child."""

    type_id: ClassVar[int] = 29
    workflow_task_completed_event_id: int
    namespace: str = ""
    workflow_id: str
    workflow_type: str
    task_queue: str = ""
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    workflow_execution_timeout: timedelta | None = None
    workflow_run_timeout: timedelta | None = None
    workflow_task_timeout: timedelta | None = None
    parent_close_policy: ParentClosePolicy = "terminate"
    workflow_id_reuse_policy: IdReusePolicy = "allow_duplicate"
    retry_policy: RetryPolicy | None = None
    cron_schedule: str = ""
    header: dict[str, Any] = {}
    memo: dict[str, Any] = {}
    search_attributes: dict[str, Any] = {}
    priority: Priority | None = None
    summary: str = ""
    static_details: str = ""


class StartChildWorkflowExecutionFailed(Event, frozen=True, kw_only=True):
    """The child could not be started."""

    type_id: ClassVar[int] = 30
    namespace: str = ""
    workflow_id: str
    workflow_type: str
    cause: str = ""
    initiated_event_id: int
    workflow_task_completed_event_id: int


class ChildWorkflowExecutionStarted(Event, frozen=True, kw_only=True):
    """The child runs."""

    type_id: ClassVar[int] = 31
    namespace: str = ""
    initiated_event_id: int
    workflow_id: str
    run_id: str
    workflow_type: str
    header: dict[str, Any] = {}


class ChildWorkflowExecutionCompleted(Event, frozen=True, kw_only=True):
    """The child returned."""

    type_id: ClassVar[int] = 32
    result: Raw = NULL
    encoding: str = ""
    namespace: str = ""
    workflow_id: str
    run_id: str = ""
    workflow_type: str = ""
    initiated_event_id: int
    started_event_id: int = 0


class ChildWorkflowExecutionFailed(Event, frozen=True, kw_only=True):
    """The child raised."""

    type_id: ClassVar[int] = 33
    failure: Failure
    namespace: str = ""
    workflow_id: str
    run_id: str = ""
    workflow_type: str = ""
    initiated_event_id: int
    started_event_id: int = 0
    retry_state: RetryState = "IN_PROGRESS"


class ChildWorkflowExecutionCanceled(Event, frozen=True, kw_only=True):
    """The child was cancelled."""

    type_id: ClassVar[int] = 34
    details: Raw = NULL
    encoding: str = ""
    namespace: str = ""
    workflow_id: str
    run_id: str = ""
    workflow_type: str = ""
    initiated_event_id: int
    started_event_id: int = 0


class ChildWorkflowExecutionTimedOut(Event, frozen=True, kw_only=True):
    """The child took too long."""

    type_id: ClassVar[int] = 35
    namespace: str = ""
    workflow_id: str
    run_id: str = ""
    workflow_type: str = ""
    initiated_event_id: int
    started_event_id: int = 0
    retry_state: RetryState = "TIMEOUT"


class ChildWorkflowExecutionTerminated(Event, frozen=True, kw_only=True):
    """The child was terminated."""

    type_id: ClassVar[int] = 36
    namespace: str = ""
    workflow_id: str
    run_id: str = ""
    workflow_type: str = ""
    initiated_event_id: int
    started_event_id: int = 0
