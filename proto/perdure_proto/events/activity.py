"""Activities, scheduled to closed. Attempts write no events; the closing one carries the last."""

# msgspec copies an empty default for each instance.
# ruff: noqa: RUF012

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from msgspec import Raw

from perdure_proto.events.event import Event
from perdure_proto.failures import Failure, RetryState
from perdure_proto.options import Priority, RetryPolicy
from perdure_proto.payload import EMPTY_LIST, NULL


class ActivityTaskScheduled(Event, frozen=True, kw_only=True):
    """An activity is to run."""

    type_id: ClassVar[int] = 10
    activity_id: str
    activity_type: str
    task_queue: str = ""
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    schedule_to_close_timeout: timedelta | None = None
    schedule_to_start_timeout: timedelta | None = None
    start_to_close_timeout: timedelta | None = None
    heartbeat_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    priority: Priority | None = None
    concurrency_key: str = ""
    concurrency_max: int | None = None
    header: dict[str, Any] = {}
    summary: str = ""
    workflow_task_completed_event_id: int


class ActivityTaskStarted(Event, frozen=True, kw_only=True):
    """The attempt that closed the activity began; written together with its close."""

    type_id: ClassVar[int] = 11
    scheduled_event_id: int
    identity: str = ""
    request_id: str = ""
    attempt: int = 1
    last_failure: Failure | None = None
    started_at: datetime | None = None
    build_id: str = ""


class ActivityTaskCompleted(Event, frozen=True, kw_only=True):
    """The activity returned."""

    type_id: ClassVar[int] = 12
    scheduled_event_id: int
    started_event_id: int
    identity: str = ""
    result: Raw = NULL
    encoding: str = ""


class ActivityTaskFailed(Event, frozen=True, kw_only=True):
    """The activity raised and is not tried again."""

    type_id: ClassVar[int] = 13
    scheduled_event_id: int
    started_event_id: int
    identity: str = ""
    failure: Failure
    retry_state: RetryState = "IN_PROGRESS"


class ActivityTaskTimedOut(Event, frozen=True, kw_only=True):
    """A deadline of the activity passed and it is not tried again."""

    type_id: ClassVar[int] = 14
    scheduled_event_id: int
    started_event_id: int = 0
    failure: Failure
    retry_state: RetryState = "TIMEOUT"


class ActivityTaskCancelRequested(Event, frozen=True, kw_only=True):
    """The workflow asked the activity to stop."""

    type_id: ClassVar[int] = 15
    scheduled_event_id: int
    workflow_task_completed_event_id: int


class ActivityTaskCanceled(Event, frozen=True, kw_only=True):
    """The activity stopped because it was asked to."""

    type_id: ClassVar[int] = 16
    scheduled_event_id: int
    started_event_id: int = 0
    latest_cancel_requested_event_id: int = 0
    identity: str = ""
    details: Raw = NULL
    encoding: str = ""
