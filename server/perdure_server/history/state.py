"""The state of one run: what its log, the rows beside it and the memory of its owner say.

`ExecutionState` is changed in place by `evolve` and by nothing else. What is marked *memory* is not in the log: it is
lost with the owner and made again by whoever comes next. A snapshot holds only what the log holds.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Raw, Struct, field

from perdure_proto.events import (
    ActivityTaskScheduled,
    AnyEvent,
    RequestCancelExternalWorkflowExecutionInitiated,
    SignalExternalWorkflowExecutionInitiated,
    StartChildWorkflowExecutionInitiated,
    WorkflowExecutionPaused,
    WorkflowExecutionStarted,
)
from perdure_proto.failures import Failure
from perdure_proto.options import ExecutionStatus, RetryPolicy
from perdure_proto.payload import NULL
from perdure_proto.tasks import UpdateDelivery

STATE_VERSION = 6
"""Version of `evolve`: a snapshot made by another one is ignored."""


ResetPending = Literal["", "attempts", "details"]


class ActivityPause(Struct, frozen=True, kw_only=True):
    """Since when an activity is paused by itself, by whom and why."""

    at: datetime
    identity: str = ""
    reason: str = ""


class ActivityState(Struct):
    """A pending activity. All but `scheduled` and `cancel_requested_event_id` is of the current attempt."""

    scheduled: ActivityTaskScheduled
    cancel_requested_event_id: int = 0
    attempt: int = 1
    attempt_scheduled_at: datetime | None = None
    started_at: datetime | None = None
    identity: str = ""
    session: str = ""
    next_attempt_at: datetime | None = None
    heartbeat_at: datetime | None = None
    heartbeat_details: Raw = NULL
    heartbeat_encoding: str = ""
    last_failure: Failure | None = None
    has_row: bool = False
    """Whether a row of `activities` keeps the attempt."""
    row_started_at: datetime | None = None
    """What that row says of the start."""
    closing: bool = False
    """Whether its closing event is in the buffer."""
    transactional: bool = False
    """Whether an attempt was allowed to begin a transaction: see `outcomes`."""

    frozen: timedelta = timedelta(0)
    """How long the run was paused since the activity was scheduled."""
    attempt_frozen: timedelta = timedelta(0)
    """How long of that since the attempt began."""
    paused: ActivityPause | None = None
    original: ActivityTaskScheduled | None = None
    """The event, where `scheduled` has other options since."""
    reset_pending: ResetPending = ""
    """The attempt that runs is to be followed by attempt 1, with or without the details of its heartbeats."""
    stamp: int = 0
    """How often it was begun anew: attempts count from 1 again, and one from before is not one from after."""

    @property
    def is_detached(self) -> bool:
        """Whether the attempt runs outside of every worker: none can be lost with it, none can give it back."""
        return self.started_at is not None and not self.session


class ActivityControl(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was done to a pending activity from outside, as its row keeps it."""

    frozen: timedelta = timedelta(0)
    attempt_frozen: timedelta = timedelta(0)
    paused: ActivityPause | None = None
    options: ActivityOptions | None = None
    reset_pending: ResetPending = ""
    stamp: int = 0


class ActivityOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The options of an activity that were changed from outside, all of them."""

    task_queue: str = ""
    schedule_to_close_timeout: timedelta | None = None
    schedule_to_start_timeout: timedelta | None = None
    start_to_close_timeout: timedelta | None = None
    heartbeat_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None


class TimerState(Struct, frozen=True):
    """A timer that has neither fired nor been cancelled."""

    timer_id: str
    started_event_id: int
    fire_at: datetime


class ChildState(Struct):
    """A child that has not closed. Once its parent is closed it stays here, for the policy of its close."""

    initiated: StartChildWorkflowExecutionInitiated
    started_event_id: int = 0
    run_id: str = ""
    """Its first run, known once it has started."""
    answered: bool = False
    """Whether its start was answered, if only in the buffer."""
    closing: bool = False
    """Whether its closing event is in the buffer."""


class MessageState(Struct):
    """A signal or a cancel request for another execution that has no answer in the log."""

    initiated: SignalExternalWorkflowExecutionInitiated | RequestCancelExternalWorkflowExecutionInitiated
    answered: bool = False
    """Whether its answer is in the buffer."""


class StartedTask(Struct, frozen=True, kw_only=True):
    """*Memory.* The workflow task in a worker's hands."""

    scheduled_event_id: int
    started_event_id: int
    started_at: datetime
    session: str = ""
    updates: tuple[str, ...] = ()


class WorkflowTaskState(Struct, kw_only=True):
    """The workflow task that is due or started.

    `kind` `logged` has a WorkflowTaskScheduled event; `transient` repeats a failed one and `speculative` carries
    updates only: those two are written when they bring something.
    """

    kind: Literal["logged", "transient", "speculative"]
    scheduled_event_id: int = 0
    attempt: int = 1
    scheduled_at: datetime
    not_before: datetime | None = None
    started: StartedTask | None = None
    last_failure: Failure | None = None
    last_failure_cause: str = ""


class AdmittedUpdate(Struct):
    """*Memory.* An update that the workflow has neither accepted nor rejected."""

    delivery: UpdateDelivery
    identity: str = ""
    delivered: bool = False
    logged: bool = False
    """Whether its admission is an event, as after a reset."""


class UpdateState(Struct):
    """An update in the log: accepted, and perhaps completed."""

    accepted_event_id: int
    completed_event_id: int = 0


def update_key(update_id: str) -> str:
    """An update among the request ids that go on with the chain, where it must not be taken for a signal's."""
    return f"update {update_id}"


class ExecutionState(Struct, kw_only=True):
    """One run."""

    run_id: str
    started: WorkflowExecutionStarted
    status: ExecutionStatus = "RUNNING"
    last_event_id: int = 0
    last_event_time: datetime
    history_bytes: int = 0
    closed: AnyEvent | None = None
    activities: dict[int, ActivityState] = field(default_factory=dict)
    activity_ids: dict[str, int] = field(default_factory=dict)
    timers: dict[str, TimerState] = field(default_factory=dict)
    children: dict[int, ChildState] = field(default_factory=dict)
    messages: dict[int, MessageState] = field(default_factory=dict)
    """To other executions, by their Initiated event."""
    workflow_task: WorkflowTaskState | None = None
    paused: WorkflowExecutionPaused | None = None
    """The pause that holds; its id is 0 while it waits in the buffer."""
    first_task_at: datetime | None = None
    """When the first workflow task is due that waits for a backoff."""
    origins: list[tuple[int, str]] = field(default_factory=list)
    """After a reset: from which event on the log was written by which run, beside the one that began it."""
    reset_at: datetime | None = None
    """When the run began as a copy of another, if it did."""
    replaced_run_id: str = ""
    """Until the first task after a reset has ended: the run whose place was taken, and whose leave comes first."""
    run_expires_at: datetime | None = None
    execution_expires_at: datetime | None = None
    previous_started_event_id: int = 0
    cancel_requested: bool = False
    cancel_reason: str = ""
    memo: dict[str, Any] = field(default_factory=dict)
    search_attributes: dict[str, Any] = field(default_factory=dict)
    """These two are replaced by what an upsert makes of them, never changed: the first event shares its own."""
    current_details: str = ""
    signals: int = 0
    request_ids: dict[str, datetime] = field(default_factory=dict)
    updates: dict[str, UpdateState] = field(default_factory=dict)
    updates_open: int = 0
    admitted: dict[str, AdmittedUpdate] = field(default_factory=dict)
    """*Memory.* In order of arrival."""
    buffer: list[AnyEvent] = field(default_factory=list)
    """Events that wait for the end of the started workflow task; their ids are 0."""
    refusals: int = 0
    """*Memory.* Closing commands refused in a row because news had come."""

    @property
    def is_open(self) -> bool:
        """Whether anything can still happen to this run."""
        return self.closed is None

    @property
    def is_paused(self) -> bool:
        """Whether nothing of this run may be handed out, and its clocks stand still."""
        return self.paused is not None

    @property
    def is_buffering(self) -> bool:
        """Whether what comes from outside must wait for the end of a started workflow task."""
        return self.workflow_task is not None and self.workflow_task.started is not None
