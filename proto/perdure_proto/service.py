"""Requests and answers between clients and the service.

Paths stand in the OpenAPI document; these are the bodies. Ids that stand in the path are not repeated in the body.
Times are RFC 3339, durations ISO 8601 (`PT10S`), values plain JSON.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Raw, Struct

from perdure_proto.events import AnyEvent, Initiator
from perdure_proto.failures import Failure
from perdure_proto.options import (
    ExecutionStatus,
    IdConflictPolicy,
    IdReusePolicy,
    ParentClosePolicy,
    Priority,
    RetryPolicy,
)
from perdure_proto.payload import EMPTY_LIST, NULL
from perdure_proto.tasks import WorkflowTask

UpdateStage = Literal["ADMITTED", "ACCEPTED", "COMPLETED"]


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What every request and answer is."""


class EagerStart(Message, frozen=True, kw_only=True):
    """Who would take the first workflow task with the answer to a start: a session of a worker in the same process.

    `sequence` is the number of a request of that session, set aside for this; the task is acknowledged by it.
    """

    session: str
    sequence: int


class StartSignal(Message, frozen=True, kw_only=True):
    """A signal that goes with a start: the first thing that a new run gets, or one more for a run that is open."""

    name: str
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    header: dict[str, Any] = {}


class StartWorkflowRequest(Message, frozen=True, kw_only=True):
    """`POST …/workflows/{workflow_id}`. A repeat with the same `request_id` gets the first answer.

    With `start_signal` a running execution gets the signal instead of a refusal: `id_conflict_policy` `fail` is then
    as `use_existing`.
    """

    workflow_type: str
    task_queue: str = "default"
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    request_id: str = ""
    identity: str = ""
    workflow_execution_timeout: timedelta | None = None
    workflow_run_timeout: timedelta | None = None
    workflow_task_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    id_reuse_policy: IdReusePolicy = "allow_duplicate"
    id_conflict_policy: IdConflictPolicy = "fail"
    cron_schedule: str = ""
    start_delay: timedelta | None = None
    memo: dict[str, Any] = {}
    search_attributes: dict[str, Any] = {}
    header: dict[str, Any] = {}
    priority: Priority | None = None
    static_summary: str = ""
    static_details: str = ""
    eager: EagerStart | None = None
    start_signal: StartSignal | None = None


class StartWorkflowAnswer(Message, frozen=True, kw_only=True):
    """`started` is false when an existing execution was used or the request was a repeat.

    `task` is there where the start was eager and could be; it is then delivered to that session as any other.
    """

    workflow_id: str
    run_id: str
    started: bool = True
    task: WorkflowTask | None = None


class StartActivityRequest(Message, frozen=True, kw_only=True):
    """`POST …/activities/{activity_id}`: an activity without a workflow. Give one of the two close timeouts."""

    activity_type: str
    task_queue: str = "default"
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    request_id: str = ""
    identity: str = ""
    schedule_to_close_timeout: timedelta | None = None
    schedule_to_start_timeout: timedelta | None = None
    start_to_close_timeout: timedelta | None = None
    heartbeat_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    id_reuse_policy: IdReusePolicy = "allow_duplicate"
    id_conflict_policy: IdConflictPolicy = "fail"
    memo: dict[str, Any] = {}
    search_attributes: dict[str, Any] = {}
    header: dict[str, Any] = {}
    priority: Priority | None = None
    concurrency_key: str = ""
    concurrency_max: int | None = None
    static_summary: str = ""
    static_details: str = ""


class StartActivityAnswer(Message, frozen=True, kw_only=True):
    """`started` is false when an existing activity was used or the request was a repeat."""

    activity_id: str
    run_id: str
    started: bool = True


class SignalWorkflowRequest(Message, frozen=True, kw_only=True):
    """`POST …/workflows/{workflow_id}/signal/{name}`."""

    run_id: str = ""
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    request_id: str = ""
    identity: str = ""
    header: dict[str, Any] = {}


class CancelWorkflowRequest(Message, frozen=True, kw_only=True):
    """`POST …/workflows/{workflow_id}/cancel`."""

    run_id: str = ""
    reason: str = ""
    request_id: str = ""
    identity: str = ""


class TerminateWorkflowRequest(Message, frozen=True, kw_only=True):
    """`POST …/workflows/{workflow_id}/terminate`."""

    run_id: str = ""
    reason: str = ""
    details: Raw = NULL
    identity: str = ""


class PauseActivityRequest(Message, frozen=True, kw_only=True):
    """`POST …/workflows/{workflow_id}/activities/{activity_id}/pause`: a pending activity is handed out no more."""

    run_id: str = ""
    reason: str = ""
    identity: str = ""


class UnpauseActivityRequest(Message, frozen=True, kw_only=True):
    """`POST …/activities/{activity_id}/unpause`. It goes on after a random part of `jitter`."""

    run_id: str = ""
    reset_attempts: bool = False
    reset_heartbeat: bool = False
    jitter: timedelta = timedelta(0)


class ResetActivityRequest(Message, frozen=True, kw_only=True):
    """`POST …/activities/{activity_id}/reset`: attempt 1 and the whole time again. It ends a pause."""

    run_id: str = ""
    keep_paused: bool = False
    reset_heartbeat: bool = False
    restore_options: bool = False
    jitter: timedelta = timedelta(0)


class UpdateActivityOptionsRequest(Message, frozen=True, kw_only=True):
    """`POST …/activities/{activity_id}/update-options`: what is given changes; or all is as it was scheduled."""

    run_id: str = ""
    task_queue: str = ""
    schedule_to_close_timeout: timedelta | None = None
    schedule_to_start_timeout: timedelta | None = None
    start_to_close_timeout: timedelta | None = None
    heartbeat_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    restore_original: bool = False


class PauseInfo(Message, frozen=True, kw_only=True):
    """Since when something is paused, by whom and why."""

    paused_at: datetime
    identity: str = ""
    reason: str = ""


class PauseWorkflowRequest(Message, frozen=True, kw_only=True):
    """`POST …/workflows/{workflow_id}/pause`. A run that is paused already stays so, and nothing is written."""

    run_id: str = ""
    reason: str = ""
    request_id: str = ""
    identity: str = ""


class UnpauseWorkflowRequest(Message, frozen=True, kw_only=True):
    """`POST …/workflows/{workflow_id}/unpause`. Nothing happens to a run that is not paused."""

    run_id: str = ""
    reason: str = ""
    request_id: str = ""
    identity: str = ""


class ResetWorkflowRequest(Message, frozen=True, kw_only=True):
    """`POST …/workflows/{workflow_id}/reset`. Exactly one of `event_id` (of a WorkflowTaskCompleted), `point` and
    `activity_id` says where to; `reapply_exclude` says which later messages are not told again.
    """

    run_id: str = ""
    event_id: int = 0
    point: Literal["", "first", "last"] = ""
    activity_id: str = ""
    reapply_exclude: tuple[Literal["signal", "update"], ...] = ()
    reason: str = ""
    request_id: str = ""
    identity: str = ""


class ResetWorkflowAnswer(Message, frozen=True, kw_only=True):
    """The run that goes on. `reset` is false when the request was a repeat."""

    run_id: str
    reset: bool = True


class ReopenWorkflowRequest(Message, frozen=True, kw_only=True):
    """`POST …/workflows/{workflow_id}/reopen`. `dry_run` only says what would be done."""

    run_id: str = ""
    reason: str = ""
    dry_run: bool = False
    request_id: str = ""
    identity: str = ""


class ReopenWorkflowAnswer(Message, frozen=True, kw_only=True):
    """`RESET`: it goes on in the run named; `RETRY`: its failing task is due now. `notes` say what is not undone."""

    run_id: str
    action: Literal["RESET", "RETRY"]
    notes: tuple[str, ...] = ()


class Acknowledged(Message, frozen=True, kw_only=True):
    """Done, and durable."""

    run_id: str = ""


class QueryWorkflowRequest(Message, frozen=True, kw_only=True):
    """`POST …/workflows/{workflow_id}/query/{name}`."""

    run_id: str = ""
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    header: dict[str, Any] = {}
    timeout: timedelta = timedelta(seconds=10)


class QueryWorkflowAnswer(Message, frozen=True, kw_only=True):
    """What the query handler returned."""

    result: Raw = NULL
    encoding: str = ""


class UpdateWorkflowRequest(Message, frozen=True, kw_only=True):
    """`POST …/workflows/{workflow_id}/update/{name}`. `wait` bounds how long the answer may take; less may come.

    A repeat with the same `update_id` gets the first answer; without one the update cannot be repeated.
    """

    update_id: str = ""
    run_id: str = ""
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    identity: str = ""
    header: dict[str, Any] = {}
    wait_for_stage: UpdateStage = "COMPLETED"
    wait: timedelta = timedelta(seconds=20)


class UpdateWorkflowAnswer(Message, frozen=True, kw_only=True):
    """The stage reached, and the outcome once completed. A rejected update is completed with a failure."""

    update_id: str
    run_id: str
    stage: UpdateStage
    result: Raw = NULL
    encoding: str = ""
    failure: Failure | None = None


class UpdateWithStartRequest(Message, frozen=True, kw_only=True):
    """`POST …/workflows/{workflow_id}/update-with-start/{name}`: starts the workflow as its id policies say, or takes
    the one that runs, and sends the update. A repeat with the same `request_id` and `update_id` gets the first answer.
    """

    start: StartWorkflowRequest
    update: UpdateWorkflowRequest


class UpdateWithStartAnswer(Message, frozen=True, kw_only=True):
    """Which run took the update, and the stage that the update reached."""

    start: StartWorkflowAnswer
    update: UpdateWorkflowAnswer


class WorkflowResultAnswer(Message, frozen=True, kw_only=True):
    """`GET …/workflows/{workflow_id}/result`: how a run ended; status `RUNNING` when the wait was over first.

    The caller follows `new_run_id` where the chain went on (continue-as-new, retry, cron).
    """

    run_id: str
    status: ExecutionStatus
    workflow_type: str = ""
    result: Raw = NULL
    encoding: str = ""
    failure: Failure | None = None
    new_run_id: str = ""


class PendingActivity(Message, frozen=True, kw_only=True):
    """An activity that has not closed. `transactional`: an attempt has begun a transaction that completes it."""

    activity_id: str
    activity_type: str
    state: Literal["SCHEDULED", "STARTED", "BACKING_OFF", "CANCEL_REQUESTED", "PAUSED"]
    attempt: int = 1
    maximum_attempts: int = 0
    scheduled_event_id: int = 0
    scheduled_time: datetime | None = None
    last_started_time: datetime | None = None
    last_heartbeat_time: datetime | None = None
    next_attempt_time: datetime | None = None
    expiration_time: datetime | None = None
    heartbeat_details: Raw = NULL
    last_failure: Failure | None = None
    last_worker_identity: str = ""
    task_queue: str = ""
    note: str = ""
    pause: PauseInfo | None = None
    transactional: bool = False


class PendingWorkflowTask(Message, frozen=True, kw_only=True):
    """The workflow task that waits or runs. `note` says what is missing, or what a first one waits for."""

    state: Literal["SCHEDULED", "STARTED", "BACKING_OFF"]
    attempt: int = 1
    scheduled_time: datetime | None = None
    started_time: datetime | None = None
    next_attempt_time: datetime | None = None
    last_failure: Failure | None = None
    last_failure_cause: str = ""
    note: str = ""


class PendingChild(Message, frozen=True, kw_only=True):
    """A child workflow that has not closed, or whose start is under way."""

    workflow_id: str
    run_id: str = ""
    workflow_type: str
    namespace: str = ""
    initiated_event_id: int = 0
    parent_close_policy: ParentClosePolicy = "terminate"


class WorkflowExecutionInfo(Message, frozen=True, kw_only=True):
    """One row of a list, and the head of a description."""

    workflow_id: str
    run_id: str
    workflow_type: str
    task_queue: str
    status: ExecutionStatus
    start_time: datetime
    close_time: datetime | None = None
    history_length: int = 0
    memo: dict[str, Any] = {}
    search_attributes: dict[str, Any] = {}


class DescribeWorkflowAnswer(Message, frozen=True, kw_only=True):
    """`GET …/workflows/{workflow_id}`.

    `execution_time` is when the first task of the run was or is due: later than the start after a start delay, the
    backoff of a retry, or for a tick of `cron_schedule`. `last_failure` is that of the run before this one.
    `cancel_reason` is what the first cancel request said.
    """

    execution: WorkflowExecutionInfo
    first_execution_run_id: str = ""
    continued_run_id: str = ""
    new_run_id: str = ""
    execution_time: datetime | None = None
    execution_expiration_time: datetime | None = None
    run_expiration_time: datetime | None = None
    initiator: Initiator = ""
    cron_schedule: str = ""
    last_failure: Failure | None = None
    reset_run_id: str = ""
    workflow_execution_timeout: timedelta | None = None
    workflow_run_timeout: timedelta | None = None
    workflow_task_timeout: timedelta = timedelta(seconds=10)
    retry_policy: RetryPolicy | None = None
    attempt: int = 1
    cancel_requested: bool = False
    cancel_reason: str = ""
    pause: PauseInfo | None = None
    pending_workflow_task: PendingWorkflowTask | None = None
    pending_activities: tuple[PendingActivity, ...] = ()
    pending_children: tuple[PendingChild, ...] = ()
    pending_messages: int = 0
    pending_timers: int = 0
    updates_in_flight: int = 0
    sticky_worker: str = ""
    static_summary: str = ""
    static_details: str = ""
    parent_namespace: str = ""
    parent_workflow_id: str = ""
    parent_run_id: str = ""
    current_details: str = ""


class ActivityExecutionInfo(Message, frozen=True, kw_only=True):
    """One row of a list of standalone activities, and the head of a description."""

    activity_id: str
    run_id: str
    activity_type: str
    task_queue: str
    status: ExecutionStatus
    start_time: datetime
    close_time: datetime | None = None
    memo: dict[str, Any] = {}
    search_attributes: dict[str, Any] = {}


class DescribeActivityAnswer(Message, frozen=True, kw_only=True):
    """`GET …/activities/{activity_id}`. `pending` until it has closed."""

    execution: ActivityExecutionInfo
    pending: PendingActivity | None = None
    cancel_requested: bool = False
    cancel_reason: str = ""
    static_summary: str = ""
    static_details: str = ""


class ActivityResultAnswer(Message, frozen=True, kw_only=True):
    """`GET …/activities/{activity_id}/result?run_id=&wait=`: `RUNNING` when the wait was over first."""

    run_id: str
    status: ExecutionStatus
    activity_type: str = ""
    result: Raw = NULL
    encoding: str = ""
    failure: Failure | None = None


class ListActivitiesAnswer(Message, frozen=True, kw_only=True):
    """`GET …/activities?query=&limit=&cursor=`, newest first. An empty cursor: that was all."""

    executions: tuple[ActivityExecutionInfo, ...] = ()
    next_cursor: str = ""


class CountActivitiesAnswer(Message, frozen=True, kw_only=True):
    """`GET …/activity-count?query=`."""

    count: int


class HistoryAnswer(Message, frozen=True, kw_only=True):
    """`GET …/workflows/{workflow_id}/history?run_id=&after=&wait=`: events after an id, and where to go on.

    `next_event_id` is 0 when the run is closed and all of it was given. `events` is a JSON array of events.
    """

    run_id: str
    events: Raw = EMPTY_LIST
    next_event_id: int = 0


class History(Message, frozen=True, kw_only=True):
    """A whole history, as decoded events."""

    events: tuple[AnyEvent, ...]


class ListWorkflowsAnswer(Message, frozen=True, kw_only=True):
    """`GET …/workflows?query=&limit=&cursor=`; `next_cursor` is empty on the last page."""

    executions: tuple[WorkflowExecutionInfo, ...]
    next_cursor: str = ""


class CountWorkflowsAnswer(Message, frozen=True, kw_only=True):
    """`GET …/workflow-count?query=`."""

    count: int
    groups: dict[str, int] = {}


class PollerInfo(Message, frozen=True, kw_only=True):
    """A worker session that polls a queue. A dynamic one takes types that it does not name, too."""

    session: str
    identity: str
    build_id: str = ""
    last_seen: datetime | None = None
    workflow_types: tuple[str, ...] = ()
    activity_types: tuple[str, ...] = ()
    dynamic_workflows: bool = False
    dynamic_activities: bool = False
    workflow_slots: int = 0
    activity_slots: int = 0


class DescribeTaskQueueAnswer(Message, frozen=True, kw_only=True):
    """`GET …/task-queues/{name}`: of all servers together.

    `activities_per_second` is the queue's rate, 0 where no worker has named one. `servers` have answered; of those that
    are `silent` nothing is in here, though they live.
    """

    name: str
    pollers: tuple[PollerInfo, ...] = ()
    workflow_backlog: int = 0
    activity_backlog: int = 0
    activities_per_second: float = 0.0
    servers: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


class WaitpointSettings(Message, frozen=True, kw_only=True):
    """`GET …/waitpoints`: what a worker makes the tokens of its waitpoints with; `key` is hexadecimal, and a secret.

    `url` is the public address of the service; empty where it has none of its own.
    """

    key: str
    namespace_id: int
    shards: int
    url: str = ""


class VersionAnswer(Message, frozen=True, kw_only=True):
    """`GET /api/v1/version`: what a client checks when it connects."""

    server_version: str
    protocol_version: int
    protocol_version_min: int
    server_id: str
