"""What the core is asked: the inputs of `decide`. Each is an imperative; its answer is a `Decision` or a refusal.

Ids and signals that only the shell can know (a new run's id, the text of signals to carry on) come with the request.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec import Raw, Struct

from perdure_proto.commands import AnyCommand
from perdure_proto.events import (
    AnyEvent,
    WorkflowExecutionSignaled,
    WorkflowTaskFailedCause,
)
from perdure_proto.failures import Failure, TimeoutType
from perdure_proto.payload import EMPTY_LIST, NULL
from perdure_proto.tasks import UpdateDelivery


class Request(Struct, frozen=True, kw_only=True):
    """One input of `decide`."""


class SignalExecution(Request, frozen=True, kw_only=True):
    """Record a signal."""

    signal_name: str
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    identity: str = ""
    request_id: str = ""
    header: dict[str, Any] = {}
    external_workflow_id: str = ""
    external_run_id: str = ""


class CancelExecution(Request, frozen=True, kw_only=True):
    """Ask the workflow to stop."""

    reason: str = ""
    identity: str = ""
    request_id: str = ""
    external_initiated_event_id: int = 0
    external_workflow_id: str = ""
    external_run_id: str = ""


class TerminateExecution(Request, frozen=True, kw_only=True):
    """End the run at once. `reset_run_id` goes on in its place, with its events up to `reset_event_id`."""

    reason: str = ""
    details: Raw = NULL
    identity: str = ""
    reset_run_id: str = ""
    reset_event_id: int = 0


class PauseExecution(Request, frozen=True, kw_only=True):
    """Hand nothing more out, and stop the clocks of the run."""

    reason: str = ""
    identity: str = ""
    request_id: str = ""


class UnpauseExecution(Request, frozen=True, kw_only=True):
    """Let a paused run go on."""

    reason: str = ""
    identity: str = ""
    request_id: str = ""


class ResetExecution(Request, frozen=True, kw_only=True):
    """Go on from a copied history: its last task is given up. `events` came later, and are told again.

    `closed_children` are those of the copy of whose end no event tells, for the run that they had was closed by then.
    `replaced_run_id` was current until then.
    """

    base_run_id: str
    replaced_run_id: str = ""
    reason: str = ""
    identity: str = ""
    events: tuple[AnyEvent, ...] = ()
    closed_children: tuple[RecordChildClosed, ...] = ()


class AdmitUpdate(Request, frozen=True, kw_only=True):
    """Hold an update for the workflow to accept or reject."""

    delivery: UpdateDelivery
    identity: str = ""


class WithdrawUpdate(Request, frozen=True, kw_only=True):
    """Forget an update that was admitted and not delivered."""

    update_id: str


class BeginFirstTask(Request, frozen=True, kw_only=True):
    """The backoff before the first workflow task is over."""


class FlushBuffer(Request, frozen=True, kw_only=True):
    """A new owner found buffered events: no task of the old one is waited for."""


class OnTask(Request, frozen=True, kw_only=True):
    """Something about the workflow task that a token names."""

    scheduled_event_id: int
    started_event_id: int
    attempt: int
    started_at: datetime
    identity: str = ""
    build_id: str = ""


class StartWorkflowTask(Request, frozen=True, kw_only=True):
    """Give the workflow task to a worker."""

    session: str
    updates_max: int = 100


class ReclaimWorkflowTask(OnTask, frozen=True, kw_only=True):
    """A worker says that it holds a task which this owner does not know as started."""

    session: str


class CompleteWorkflowTask(OnTask, frozen=True, kw_only=True):
    """A worker's answer. `signals` are the events whose ids a continue-as-new names as unclaimed.

    `history_size_bytes` is what an eager turn took for the size of the history, `current_details` what the workflow
    says of itself from now on, where that changed.
    """

    commands: list[AnyCommand]
    current_details: str | None = None
    history_size_bytes: int | None = None
    force_new_task: bool = False
    new_run_id: str = ""
    signals: tuple[WorkflowExecutionSignaled, ...] = ()


class FailWorkflowTask(OnTask, frozen=True, kw_only=True):
    """A worker could not do the task, or its answer was refused."""

    cause: WorkflowTaskFailedCause
    failure: Failure | None = None


class ReturnWorkflowTask(OnTask, frozen=True, kw_only=True):
    """The task is due again: its worker is gone, or gave it back."""


class TimeOutWorkflowTask(Request, frozen=True, kw_only=True):
    """The worker did not answer in time."""

    started_event_id: int


class RetryWorkflowTask(Request, frozen=True, kw_only=True):
    """The backoff of a workflow task is over, or a worker with new code came (`forgive`)."""

    forgive: bool = False


class OnActivity(Request, frozen=True, kw_only=True):
    """Something about one attempt of an activity. `stamp`: how often that had been begun anew."""

    scheduled_event_id: int
    attempt: int
    started_at: datetime
    stamp: int = 0
    identity: str = ""
    session: str = ""


class StartActivity(OnActivity, frozen=True, kw_only=True):
    """Give the attempt to a worker, or note that one has it (`held`)."""

    held: bool = False


class CompleteActivity(OnActivity, frozen=True, kw_only=True):
    """The activity returned. `recorded`: the result is the one in `outcomes`, whichever attempt is pending."""

    result: Raw = NULL
    encoding: str = ""
    recorded: bool = False


class FailActivity(OnActivity, frozen=True, kw_only=True):
    """The attempt raised, or its worker was lost."""

    failure: Failure


class AcknowledgeCancel(OnActivity, frozen=True, kw_only=True):
    """The attempt stopped because it was asked to."""

    details: Raw = NULL
    encoding: str = ""


class DetachActivity(OnActivity, frozen=True, kw_only=True):
    """The attempt goes on without its worker, and is ended from elsewhere."""


class HeartbeatActivity(OnActivity, frozen=True, kw_only=True):
    """The attempt goes on."""

    details: Raw = NULL
    encoding: str = ""


class BeginTransaction(OnActivity, frozen=True, kw_only=True):
    """The attempt is about to begin a transaction that holds the activity's completion."""


class ReturnActivity(OnActivity, frozen=True, kw_only=True):
    """The attempt is due again and not counted."""


class RetryActivity(Request, frozen=True, kw_only=True):
    """The backoff of an activity is over."""

    scheduled_event_id: int
    attempt: int


class TimeOutActivity(Request, frozen=True, kw_only=True):
    """A deadline of an activity passed."""

    scheduled_event_id: int
    attempt: int
    timeout_type: TimeoutType


class PauseActivity(Request, frozen=True, kw_only=True):
    """Hand one activity out no more."""

    scheduled_event_id: int
    reason: str = ""
    identity: str = ""


class UnpauseActivity(Request, frozen=True, kw_only=True):
    """Let it go on, after a delay."""

    scheduled_event_id: int
    reset_attempts: bool = False
    reset_heartbeat: bool = False
    delay: timedelta = timedelta(0)


class ResetActivity(Request, frozen=True, kw_only=True):
    """Begin it anew with attempt 1, after a delay."""

    scheduled_event_id: int
    keep_paused: bool = False
    reset_heartbeat: bool = False
    restore_options: bool = False
    delay: timedelta = timedelta(0)


class UpdateActivityOptions(Request, frozen=True, kw_only=True):
    """Give it other options, or those back with which it was scheduled."""

    scheduled_event_id: int
    changes: dict[str, Any] = {}
    restore_original: bool = False


class FireTimer(Request, frozen=True, kw_only=True):
    """The time of a timer came."""

    timer_id: str
    started_event_id: int


class RecordChildStarted(Request, frozen=True, kw_only=True):
    """A child runs."""

    initiated_event_id: int
    run_id: str


class RecordChildStartFailed(Request, frozen=True, kw_only=True):
    """A child cannot be started; `cause` says why."""

    initiated_event_id: int
    cause: str


class RecordChildClosed(Request, frozen=True, kw_only=True):
    """The last run of a child ended with `closed`. Its first run tells it from another child of that id."""

    initiated_event_id: int
    run_id: str
    first_run_id: str
    closed: AnyEvent


class RecordMessageAnswered(Request, frozen=True, kw_only=True):
    """Another execution has a signal or cancel request of this run, or cannot have it (`cause`)."""

    initiated_event_id: int
    run_id: str = ""
    cause: str = ""


class TimeOutExecution(Request, frozen=True, kw_only=True):
    """The run, or the whole execution, took too long."""

    new_run_id: str = ""
