"""Requests and answers between workers and the service: polls, deliveries, completions.

A worker session numbers its requests. `acknowledged` lists the requests whose answers it has received: what was
delivered in an answer that is not acknowledged is delivered again, and never counts as started. A repeated request
(same session, same sequence) gets the same answer.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec import Raw, Struct

from perdure_proto.errors import Code
from perdure_proto.events import WorkflowTaskFailedCause
from perdure_proto.failures import Failure
from perdure_proto.options import Priority, RetryPolicy
from perdure_proto.payload import EMPTY_LIST, NULL


class WorkerMessage(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What every message between worker and service is."""


class WorkerInfo(WorkerMessage, frozen=True, kw_only=True):
    """Who the worker is; sent with the first request of a session to a server that does not know it.

    `held` are the tokens of the tasks that it is working on, so that a new owner knows what runs where.
    `dynamic_workflows` and `dynamic_activities` mean that it takes types it has no name for.
    `max_task_queue_activities_per_second`, where it is above 0, is from now on the rate of the queue.
    """

    identity: str
    build_id: str = ""
    sdk_version: str = ""
    protocol_version: int = 1
    workflow_types: tuple[str, ...] = ()
    activity_types: tuple[str, ...] = ()
    dynamic_workflows: bool = False
    dynamic_activities: bool = False
    held: tuple[str, ...] = ()
    max_task_queue_activities_per_second: float = 0.0


class PollRequest(WorkerMessage, frozen=True, kw_only=True):
    """`POST …/task-queues/{queue}/poll`: asks for up to so many tasks of each kind, waiting up to `wait`.

    A poll with no slots stays for pushes alone.
    """

    session: str
    sequence: int
    acknowledged: tuple[int, ...] = ()
    workflow_slots: int = 0
    activity_slots: int = 0
    wait: timedelta = timedelta(seconds=60)
    worker: WorkerInfo | None = None
    held: tuple[str, ...] | None = None
    """The tokens of the tasks that the worker works on, after the server has asked for them (`ListHeld`)."""


class UpdateDelivery(WorkerMessage, frozen=True, kw_only=True):
    """An admitted update that the workflow has to accept or reject."""

    update_id: str
    update_name: str
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    header: dict[str, Any] = {}


class QueryDelivery(WorkerMessage, frozen=True, kw_only=True):
    """A query to answer against the workflow as it is."""

    query_id: str
    query_name: str
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    header: dict[str, Any] = {}


class Task(Struct, frozen=True, kw_only=True, tag_field="task_type", tag=True, omit_defaults=True, gc=False):
    """One piece of work for a worker. `token` names it in the completion."""

    token: str
    workflow_id: str
    run_id: str
    workflow_type: str


class WorkflowTask(Task, frozen=True, kw_only=True):
    """A turn of a workflow.

    `events` (a JSON array of events) ends with WorkflowTaskStarted. It begins at event 1, or, where the worker has
    the execution cached, right after `previous_started_event_id`. `history_from` says the id of its first event.
    """

    events: Raw
    history_from: int = 1
    previous_started_event_id: int = 0
    started_event_id: int
    attempt: int = 1
    task_timeout: timedelta = timedelta(seconds=10)
    updates: tuple[UpdateDelivery, ...] = ()


class QueryTask(Task, frozen=True, kw_only=True):
    """Queries against a workflow that has no turn due: the state after its last completed task.

    `events` is the whole history, or empty where the worker has the execution cached up to `last_event_id`.
    """

    events: Raw = EMPTY_LIST
    history_from: int = 1
    last_event_id: int
    queries: tuple[QueryDelivery, ...]


class ActivityTask(Task, frozen=True, kw_only=True):
    """One attempt of an activity."""

    activity_id: str
    activity_type: str
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    attempt: int = 1
    scheduled_time: datetime
    current_attempt_scheduled_time: datetime
    started_time: datetime
    schedule_to_close_timeout: timedelta | None = None
    start_to_close_timeout: timedelta | None = None
    heartbeat_timeout: timedelta | None = None
    heartbeat_details: Raw = NULL
    heartbeat_encoding: str = ""
    retry_policy: RetryPolicy | None = None
    priority: Priority | None = None
    header: dict[str, Any] = {}


AnyTask = WorkflowTask | QueryTask | ActivityTask


class Push(Struct, frozen=True, kw_only=True, tag_field="push_type", tag=True, omit_defaults=True, gc=False):
    """Something a worker is told without asking."""


class CancelActivity(Push, frozen=True, kw_only=True):
    """Cancel a running attempt.

    `reason` is one of `CANCEL_REQUESTED`, `TIMED_OUT`, `WORKFLOW_CLOSED`, `NOT_FOUND`, `PAUSED`, `RESET`.
    """

    token: str
    reason: str = "CANCEL_REQUESTED"


class EvictWorkflow(Push, frozen=True, kw_only=True):
    """Forget a cached execution."""

    run_id: str


class ListHeld(Push, frozen=True, kw_only=True):
    """The server owns more now: the next request of the session is to bring `held`."""


AnyPush = CancelActivity | EvictWorkflow | ListHeld


class PollAnswer(WorkerMessage, frozen=True, kw_only=True):
    """Tasks and pushes; both empty when the wait was over."""

    sequence: int
    tasks: tuple[AnyTask, ...] = ()
    pushes: tuple[AnyPush, ...] = ()


class Completion(
    Struct, frozen=True, kw_only=True, tag_field="completion_type", tag=True, omit_defaults=True, gc=False
):
    """What became of a task."""

    token: str


class WorkflowTaskCompletion(Completion, frozen=True, kw_only=True):
    """The commands of a turn (a JSON array of commands).

    `force_new_task` asks for another turn at once, to keep a long local activity alive. `cached` says that the
    worker keeps the execution, so that its next turn comes to it. `current_details` is Markdown, where it changed.
    """

    commands: Raw = EMPTY_LIST
    force_new_task: bool = False
    cached: bool = True
    sdk_metadata: dict[str, Any] = {}
    current_details: str | None = None


class WorkflowTaskFailure(Completion, frozen=True, kw_only=True):
    """The turn could not be done: the workflow is parked and tried again later."""

    cause: WorkflowTaskFailedCause = "WORKFLOW_WORKER_UNHANDLED_FAILURE"
    failure: Failure


class QueryResult(WorkerMessage, frozen=True, kw_only=True):
    """The answer to one query: a value, or the failure the handler raised."""

    query_id: str
    result: Raw = NULL
    encoding: str = ""
    failure: Failure | None = None


class QueryTaskCompletion(Completion, frozen=True, kw_only=True):
    """Answers to the queries of a task."""

    results: tuple[QueryResult, ...]


class EagerTurn(WorkerMessage, frozen=True, kw_only=True):
    """The workflow task to which the end of an activity leads, done already by the worker that has the run cached.

    It is taken if the history ended with `last_event_id` before the activity did, so that nothing else can be news.
    The other fields are what the workflow was told in it, and what its WorkflowTaskStarted says.
    """

    last_event_id: int
    started_at: datetime
    history_size_bytes: int
    suggest_continue_as_new: bool = False
    commands: Raw = EMPTY_LIST
    current_details: str | None = None


class ActivityTaskCompletion(Completion, frozen=True, kw_only=True):
    """The activity returned. With `turn`, what the workflow does then is in the same commit.

    `recorded`: the result has committed in `outcomes`, in the attempt's own transaction.
    """

    result: Raw = NULL
    encoding: str = ""
    recorded: bool = False
    turn: EagerTurn | None = None


class ActivityTaskFailure(Completion, frozen=True, kw_only=True):
    """The attempt raised."""

    failure: Failure


class ActivityTaskCancellation(Completion, frozen=True, kw_only=True):
    """The attempt ended because it was asked to."""

    details: Raw = NULL
    encoding: str = ""


class ActivityTaskDetached(Completion, frozen=True, kw_only=True):
    """The attempt goes on without the worker: whoever has its token, or its ids, tells how it ends."""


class ActivityHeartbeat(Completion, frozen=True, kw_only=True):
    """The attempt goes on."""

    details: Raw = NULL
    encoding: str = ""


class ActivityTransaction(Completion, frozen=True, kw_only=True):
    """The attempt is about to begin a transaction in which it records its result itself.

    The answer's `place` says where. No transaction may begin before it: from then on the service closes the activity
    only with what was recorded, or behind a seal that keeps every attempt from committing.
    """


class TaskReturned(Completion, frozen=True, kw_only=True):
    """The worker hands a task back: it stops, or took more than it can run. No attempt is counted."""


AnyCompletion = (
    WorkflowTaskCompletion
    | WorkflowTaskFailure
    | QueryTaskCompletion
    | ActivityTaskCompletion
    | ActivityTaskFailure
    | ActivityTaskCancellation
    | ActivityTaskDetached
    | ActivityHeartbeat
    | ActivityTransaction
    | TaskReturned
)


class RespondRequest(WorkerMessage, frozen=True, kw_only=True):
    """`POST …/task-queues/{queue}/respond`: a batch of completions, and how many new tasks the answer may bring."""

    session: str
    sequence: int
    acknowledged: tuple[int, ...] = ()
    completions: tuple[AnyCompletion, ...]
    workflow_slots: int = 0
    activity_slots: int = 0
    held: tuple[str, ...] | None = None
    """As in `PollRequest`."""


class OutcomePlace(WorkerMessage, frozen=True, kw_only=True):
    """What a transactional activity gives `record_outcome` besides its result, and how large that may be."""

    group_id: int
    shard_id: int
    run_id: str
    scheduled_event_id: int
    attempt: int
    started_at: datetime
    result_bytes_max: int


class CompletionResult(WorkerMessage, frozen=True, kw_only=True):
    """What became of one completion, in the order of the request: no code means done, and durable.

    A refused workflow task (`TASK_NOT_FOUND`, `UNHANDLED_COMMAND`, `BAD_COMMAND`) makes the worker evict the run, and
    so does an eager turn that was not taken: one that was has the size of the history in `history_size_bytes`.
    `place` answers an `ActivityTransaction`. `owner` goes with `WRONG_OWNER`: the address to tell it instead.
    """

    code: Code | None = None
    message: str = ""
    cancel_requested: bool = False
    history_size_bytes: int = 0
    place: OutcomePlace | None = None
    owner: str = ""


class RespondAnswer(WorkerMessage, frozen=True, kw_only=True):
    """One result for each completion, and what else there is to do."""

    sequence: int
    results: tuple[CompletionResult, ...]
    tasks: tuple[AnyTask, ...] = ()
    pushes: tuple[AnyPush, ...] = ()


class LeaveRequest(WorkerMessage, frozen=True, kw_only=True):
    """`POST …/task-queues/{queue}/leave`: the session ends; nothing more is delivered to it."""

    session: str
