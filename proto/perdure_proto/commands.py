"""Commands: what a workflow task asks the server to do, in the order the workflow issued them.

Names are Temporal's. Update messages are commands too, so that one list keeps the interleaving. A command says what
is wanted; the event that records it is in `events`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from msgspec import Raw, Struct

from perdure_proto.failures import Failure
from perdure_proto.options import IdReusePolicy, ParentClosePolicy, Priority, RetryPolicy
from perdure_proto.payload import EMPTY_LIST, NULL


class Command(Struct, frozen=True, kw_only=True, tag_field="command_type", tag=True, omit_defaults=True, gc=False):
    """One thing that a workflow asks for; the tag is the class name."""


class ScheduleActivityTask(Command, frozen=True, kw_only=True):
    """Run an activity. At least one of `start_to_close_timeout` and `schedule_to_close_timeout` is set."""

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


class RequestCancelActivityTask(Command, frozen=True, kw_only=True):
    """Ask a pending activity to stop."""

    scheduled_event_id: int


class StartTimer(Command, frozen=True, kw_only=True):
    """Fire a timer after a while."""

    timer_id: str
    start_to_fire_timeout: timedelta
    summary: str = ""


class CancelTimer(Command, frozen=True, kw_only=True):
    """Forget a timer that has not fired."""

    timer_id: str


class CompleteWorkflowExecution(Command, frozen=True, kw_only=True):
    """The workflow returned."""

    result: Raw = NULL
    encoding: str = ""


class FailWorkflowExecution(Command, frozen=True, kw_only=True):
    """The workflow raised."""

    failure: Failure


class CancelWorkflowExecution(Command, frozen=True, kw_only=True):
    """The workflow ended because it was cancelled. `details` is a JSON array."""

    details: Raw = NULL
    encoding: str = ""


class ContinueAsNewWorkflowExecution(Command, frozen=True, kw_only=True):
    """Close this run and start the next of the chain.

    What is unset is taken from this run. `backoff_start_interval` is how long the next one waits. `unclaimed_signals`
    are the event ids of signals that no handler and no channel took: they are recorded again in the new run, in this
    order.
    """

    workflow_type: str = ""
    task_queue: str = ""
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    workflow_run_timeout: timedelta | None = None
    workflow_task_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    memo: dict[str, Any] | None = None
    search_attributes: dict[str, Any] | None = None
    header: dict[str, Any] = {}
    backoff_start_interval: timedelta = timedelta(0)
    unclaimed_signals: tuple[int, ...] = ()


class StartChildWorkflowExecution(Command, frozen=True, kw_only=True):
    """Start a child workflow."""

    workflow_id: str
    workflow_type: str
    namespace: str = ""
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


class SignalExternalWorkflowExecution(Command, frozen=True, kw_only=True):
    """Signal another execution."""

    workflow_id: str
    signal_name: str
    namespace: str = ""
    run_id: str = ""
    child_workflow_only: bool = False
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    header: dict[str, Any] = {}


class RequestCancelExternalWorkflowExecution(Command, frozen=True, kw_only=True):
    """Ask another execution to stop."""

    workflow_id: str
    namespace: str = ""
    run_id: str = ""
    child_workflow_only: bool = False
    reason: str = ""


class RecordMarker(Command, frozen=True, kw_only=True):
    """Keep a fact in history: a patch, or the result of a local activity.

    `details` is a JSON object whose shape belongs to `marker_name` (`patch`, `local_activity`).
    """

    marker_name: str
    details: Raw = NULL
    encoding: str = ""
    failure: Failure | None = None


class UpsertWorkflowSearchAttributes(Command, frozen=True, kw_only=True):
    """Change search attributes; a `null` removes one."""

    search_attributes: dict[str, Any]


class ModifyWorkflowProperties(Command, frozen=True, kw_only=True):
    """Change the memo; a `null` removes a key."""

    upserted_memo: dict[str, Any]


class AcceptUpdate(Command, frozen=True, kw_only=True):
    """The validator let an update pass; its handler runs from here."""

    update_id: str


class RejectUpdate(Command, frozen=True, kw_only=True):
    """The validator refused, or no handler was there: nothing is written."""

    update_id: str
    failure: Failure


class CompleteUpdate(Command, frozen=True, kw_only=True):
    """The handler of an accepted update returned, or raised (`failure`)."""

    update_id: str
    result: Raw = NULL
    encoding: str = ""
    failure: Failure | None = None


AnyCommand = (
    ScheduleActivityTask
    | RequestCancelActivityTask
    | StartTimer
    | CancelTimer
    | CompleteWorkflowExecution
    | FailWorkflowExecution
    | CancelWorkflowExecution
    | ContinueAsNewWorkflowExecution
    | StartChildWorkflowExecution
    | SignalExternalWorkflowExecution
    | RequestCancelExternalWorkflowExecution
    | RecordMarker
    | UpsertWorkflowSearchAttributes
    | ModifyWorkflowProperties
    | AcceptUpdate
    | RejectUpdate
    | CompleteUpdate
)
