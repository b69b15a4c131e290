"""The only code that changes state: one table from a kind of event or record to what it does.

Live and on rebuild alike. `evolve` is total: an event without an entry only moves the head of the history.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from msgspec import structs

from perdure_proto import events as ev
from perdure_proto.attributes import merged
from perdure_proto.options import ExecutionStatus
from perdure_proto.tasks import UpdateDelivery
from perdure_server.history import freezing
from perdure_server.history import records as rec
from perdure_server.history.kinds import ANSWERS_CHILD_START, ANSWERS_MESSAGE, CLOSES_ACTIVITY, CLOSES_CHILD
from perdure_server.history.state import (
    ActivityState,
    AdmittedUpdate,
    ChildState,
    ExecutionState,
    MessageState,
    TimerState,
    UpdateState,
    WorkflowTaskState,
    update_key,
)

FIRST_TASK_BACKOFF = timedelta(seconds=1)
"""How long a workflow task waits after its first failure; later ones double it."""

Applier = Callable[[ExecutionState, Any], None]


def evolve(state: ExecutionState, event: ev.AnyEvent) -> None:
    """Applies one event of the log."""
    state.last_event_id = event.event_id
    state.last_event_time = event.event_time
    apply = EVENTS.get(type(event))
    if apply is not None:
        apply(state, event)


def record(state: ExecutionState, fact: rec.AnyRecord) -> None:
    """Applies one fact beside the log."""
    RECORDS[type(fact)](state, fact)


def begin(run_id: str, started: ev.WorkflowExecutionStarted) -> ExecutionState:
    """The state right after the first event."""
    state = ExecutionState(
        run_id=run_id,
        started=started,
        last_event_time=started.event_time,
        memo=started.memo,
        search_attributes=started.search_attributes,
    )
    state.last_event_id = started.event_id
    state.request_ids = dict(started.carried_request_ids)
    if started.request_id:
        state.request_ids[started.request_id] = started.event_time
    freezing.set_clocks(state)
    return state


def _task_scheduled(state: ExecutionState, event: ev.WorkflowTaskScheduled) -> None:
    state.workflow_task = WorkflowTaskState(
        kind="logged",
        scheduled_event_id=event.event_id,
        attempt=event.attempt,
        scheduled_at=event.event_time,
    )


def _task_started(state: ExecutionState, event: ev.WorkflowTaskStarted) -> None:
    """In the log a start is always followed by its end: only the end changes anything."""


def _task_completed(state: ExecutionState, event: ev.WorkflowTaskCompleted) -> None:
    state.workflow_task = None
    state.previous_started_event_id = event.started_event_id
    state.replaced_run_id = ""
    state.refusals = 0
    if event.current_details is not None:
        state.current_details = event.current_details


def _task_failed(state: ExecutionState, event: ev.WorkflowTaskFailed) -> None:
    if event.cause == "RESET_WORKFLOW":
        state.workflow_task = None
        state.origins.append((event.event_id, event.new_run_id))
        state.replaced_run_id = event.replaced_run_id
        freezing.restart_clocks(state, event.event_time)
        return
    state.replaced_run_id = ""
    state.workflow_task = WorkflowTaskState(
        kind="transient",
        attempt=2,
        scheduled_at=event.event_time,
        not_before=event.event_time + FIRST_TASK_BACKOFF,
        last_failure=event.failure,
        last_failure_cause=event.cause,
    )


def _task_timed_out(state: ExecutionState, event: ev.WorkflowTaskTimedOut) -> None:
    state.replaced_run_id = ""
    state.workflow_task = WorkflowTaskState(
        kind="transient", attempt=2, scheduled_at=event.event_time, last_failure_cause=event.timeout_type
    )


def _activity_scheduled(state: ExecutionState, event: ev.ActivityTaskScheduled) -> None:
    since = freezing.clock(state, event.event_time)
    frozen = since - event.event_time
    state.activities[event.event_id] = ActivityState(scheduled=event, attempt_scheduled_at=since, frozen=frozen)
    state.activity_ids[event.activity_id] = event.event_id


def _activity_cancel_requested(state: ExecutionState, event: ev.ActivityTaskCancelRequested) -> None:
    state.activities[event.scheduled_event_id].cancel_requested_event_id = event.event_id


def _activity_closed(state: ExecutionState, event: Any) -> None:
    activity = state.activities.pop(event.scheduled_event_id)
    state.activity_ids.pop(activity.scheduled.activity_id, None)


def _timer_started(state: ExecutionState, event: ev.TimerStarted) -> None:
    fire_at = freezing.clock(state, event.event_time) + event.start_to_fire_timeout
    state.timers[event.timer_id] = TimerState(event.timer_id, event.event_id, fire_at)


def _timer_ended(state: ExecutionState, event: ev.TimerFired | ev.TimerCanceled) -> None:
    state.timers.pop(event.timer_id, None)


def _child_initiated(state: ExecutionState, event: ev.StartChildWorkflowExecutionInitiated) -> None:
    state.children[event.event_id] = ChildState(event)


def _child_started(state: ExecutionState, event: ev.ChildWorkflowExecutionStarted) -> None:
    child = state.children[event.initiated_event_id]
    child.answered = True
    child.started_event_id = event.event_id
    child.run_id = event.run_id


def _child_ended(state: ExecutionState, event: Any) -> None:
    state.children.pop(event.initiated_event_id)


def _message_initiated(state: ExecutionState, event: Any) -> None:
    state.messages[event.event_id] = MessageState(event)


def _message_answered(state: ExecutionState, event: Any) -> None:
    state.messages.pop(event.initiated_event_id)


def _cancel_requested(state: ExecutionState, event: ev.WorkflowExecutionCancelRequested) -> None:
    state.cancel_requested, state.cancel_reason = True, event.cause
    _remember(state, event.request_id, event)


def _paused(state: ExecutionState, event: ev.WorkflowExecutionPaused) -> None:
    freezing.freeze(state, event)
    _remember(state, event.request_id, event)


def _unpaused(state: ExecutionState, event: ev.WorkflowExecutionUnpaused) -> None:
    freezing.thaw(state, event.paused_for)
    _remember(state, event.request_id, event)


def _signaled(state: ExecutionState, event: ev.WorkflowExecutionSignaled) -> None:
    state.signals += 1
    _remember(state, event.request_id, event)


def _remember(state: ExecutionState, request_id: str, event: ev.Event) -> None:
    if request_id:
        state.request_ids[request_id] = event.event_time


def _update_admitted(state: ExecutionState, event: ev.WorkflowExecutionUpdateAdmitted) -> None:
    delivery = UpdateDelivery(
        update_id=event.update_id,
        update_name=event.update_name,
        input=event.input,
        kwargs=event.kwargs,
        encoding=event.encoding,
        header=event.header,
    )
    state.admitted[event.update_id] = AdmittedUpdate(delivery, event.identity, logged=True)


def _update_accepted(state: ExecutionState, event: ev.WorkflowExecutionUpdateAccepted) -> None:
    state.admitted.pop(event.update_id, None)
    state.updates[event.update_id] = UpdateState(event.event_id)
    state.updates_open += 1
    _remember(state, update_key(event.update_id), event)


def _update_completed(state: ExecutionState, event: ev.WorkflowExecutionUpdateCompleted) -> None:
    state.updates[event.update_id].completed_event_id = event.event_id
    state.updates_open -= 1


def _attributes_upserted(state: ExecutionState, event: ev.UpsertWorkflowSearchAttributes) -> None:
    state.search_attributes = merged(state.search_attributes, event.search_attributes)


def _memo_modified(state: ExecutionState, event: ev.WorkflowPropertiesModified) -> None:
    state.memo = merged(state.memo, event.upserted_memo)


def _closes_as(status: ExecutionStatus) -> Applier:
    """Children and messages stay: what is owed to them outlasts the run."""

    def apply(state: ExecutionState, event: ev.AnyEvent) -> None:
        state.status = status
        state.closed = event
        state.workflow_task = None
        state.paused = None
        state.activities.clear()
        state.activity_ids.clear()
        state.timers.clear()
        state.admitted.clear()

    return apply


EVENTS: dict[type[ev.Event], Applier] = {
    ev.WorkflowTaskScheduled: _task_scheduled,
    ev.WorkflowTaskStarted: _task_started,
    ev.WorkflowTaskCompleted: _task_completed,
    ev.WorkflowTaskFailed: _task_failed,
    ev.WorkflowTaskTimedOut: _task_timed_out,
    ev.ActivityTaskScheduled: _activity_scheduled,
    ev.ActivityTaskCancelRequested: _activity_cancel_requested,
    ev.ActivityTaskCompleted: _activity_closed,
    ev.ActivityTaskFailed: _activity_closed,
    ev.ActivityTaskTimedOut: _activity_closed,
    ev.ActivityTaskCanceled: _activity_closed,
    ev.TimerStarted: _timer_started,
    ev.TimerFired: _timer_ended,
    ev.TimerCanceled: _timer_ended,
    ev.StartChildWorkflowExecutionInitiated: _child_initiated,
    ev.StartChildWorkflowExecutionFailed: _child_ended,
    ev.ChildWorkflowExecutionStarted: _child_started,
    ev.ChildWorkflowExecutionCompleted: _child_ended,
    ev.ChildWorkflowExecutionFailed: _child_ended,
    ev.ChildWorkflowExecutionCanceled: _child_ended,
    ev.ChildWorkflowExecutionTimedOut: _child_ended,
    ev.ChildWorkflowExecutionTerminated: _child_ended,
    ev.SignalExternalWorkflowExecutionInitiated: _message_initiated,
    ev.SignalExternalWorkflowExecutionFailed: _message_answered,
    ev.ExternalWorkflowExecutionSignaled: _message_answered,
    ev.RequestCancelExternalWorkflowExecutionInitiated: _message_initiated,
    ev.RequestCancelExternalWorkflowExecutionFailed: _message_answered,
    ev.ExternalWorkflowExecutionCancelRequested: _message_answered,
    ev.WorkflowExecutionCancelRequested: _cancel_requested,
    ev.WorkflowExecutionSignaled: _signaled,
    ev.WorkflowExecutionPaused: _paused,
    ev.WorkflowExecutionUnpaused: _unpaused,
    ev.WorkflowExecutionUpdateAdmitted: _update_admitted,
    ev.WorkflowExecutionUpdateAccepted: _update_accepted,
    ev.WorkflowExecutionUpdateCompleted: _update_completed,
    ev.UpsertWorkflowSearchAttributes: _attributes_upserted,
    ev.WorkflowPropertiesModified: _memo_modified,
    ev.WorkflowExecutionCompleted: _closes_as("COMPLETED"),
    ev.WorkflowExecutionFailed: _closes_as("FAILED"),
    ev.WorkflowExecutionTimedOut: _closes_as("TIMED_OUT"),
    ev.WorkflowExecutionCanceled: _closes_as("CANCELED"),
    ev.WorkflowExecutionTerminated: _closes_as("TERMINATED"),
    ev.WorkflowExecutionContinuedAsNew: _closes_as("CONTINUED_AS_NEW"),
}
"""What each event changes."""


def _attempt_started(state: ExecutionState, fact: rec.AttemptStarted) -> None:
    activity = state.activities[fact.scheduled_event_id]
    activity.started_at = fact.started_at
    activity.identity = fact.identity
    activity.session = fact.session
    activity.next_attempt_at = None
    activity.heartbeat_at = None
    activity.attempt_frozen = timedelta(0)


def _attempt_detached(state: ExecutionState, fact: rec.AttemptDetached) -> None:
    state.activities[fact.scheduled_event_id].session = ""


def _attempt_returned(state: ExecutionState, fact: rec.AttemptReturned) -> None:
    activity = state.activities[fact.scheduled_event_id]
    activity.started_at = None
    activity.session = ""


def _attempt_failed(state: ExecutionState, fact: rec.AttemptFailed) -> None:
    activity = state.activities[fact.scheduled_event_id]
    activity.attempt += 1
    activity.attempt_scheduled_at = fact.next_attempt_at
    activity.next_attempt_at = fact.next_attempt_at
    activity.last_failure = fact.failure
    activity.started_at = None
    activity.heartbeat_at = None
    activity.session = ""


def _attempt_due(state: ExecutionState, fact: rec.AttemptDue) -> None:
    state.activities[fact.scheduled_event_id].next_attempt_at = None


def _controlled(state: ExecutionState, fact: rec.ActivityControlled) -> None:
    state.activities[fact.scheduled_event_id] = structs.replace(fact.to)


def _attempt_heartbeat(state: ExecutionState, fact: rec.AttemptHeartbeat) -> None:
    activity = state.activities[fact.scheduled_event_id]
    activity.heartbeat_at = freezing.clock(state, fact.at)
    activity.heartbeat_details = fact.details
    activity.heartbeat_encoding = fact.encoding


def _transaction_begun(state: ExecutionState, fact: rec.TransactionBegun) -> None:
    state.activities[fact.scheduled_event_id].transactional = True


def _row_written(state: ExecutionState, fact: rec.RowWritten) -> None:
    activity = state.activities[fact.scheduled_event_id]
    activity.has_row = True
    activity.row_started_at = activity.started_at


def _memory_started(state: ExecutionState, fact: rec.TaskStarted) -> None:
    task = _task(state)
    task.started = fact.task
    task.not_before = None
    for update_id in fact.task.updates:
        state.admitted[update_id].delivered = True


def _memory_returned(state: ExecutionState, fact: rec.TaskReturned) -> None:
    _task(state).started = None
    for update in state.admitted.values():
        update.delivered = False


def _failed_again(state: ExecutionState, fact: rec.TaskFailedAgain) -> None:
    task = _task(state)
    task.started = None
    task.attempt += 1
    task.not_before = fact.not_before
    task.last_failure = fact.failure
    task.last_failure_cause = fact.cause
    for update in state.admitted.values():
        update.delivered = False


def _task_due(state: ExecutionState, fact: rec.TaskDue) -> None:
    _task(state).not_before = None


def _speculated(state: ExecutionState, fact: rec.TaskSpeculated) -> None:
    state.workflow_task = WorkflowTaskState(kind="speculative", scheduled_at=fact.at)


def _speculation_dropped(state: ExecutionState, fact: rec.SpeculationDropped) -> None:
    if state.workflow_task is not None and state.workflow_task.kind == "speculative":
        state.workflow_task = None  # unless what was buffered meanwhile has made another task due


def _admitted(state: ExecutionState, fact: rec.UpdateAdmitted) -> None:
    state.admitted[fact.delivery.update_id] = AdmittedUpdate(fact.delivery, fact.identity)


def _dropped(state: ExecutionState, fact: rec.UpdateDropped) -> None:
    state.admitted.pop(fact.update_id, None)


_REMEMBERED = (
    ev.WorkflowExecutionSignaled,
    ev.WorkflowExecutionCancelRequested,
    ev.WorkflowExecutionPaused,
    ev.WorkflowExecutionUnpaused,
)


def _buffered(state: ExecutionState, fact: rec.EventBuffered) -> None:
    event = fact.event
    state.buffer.append(event)
    if isinstance(event, CLOSES_ACTIVITY):
        state.activities[event.scheduled_event_id].closing = True
    elif isinstance(event, ev.TimerFired):
        state.timers.pop(event.timer_id, None)
    elif isinstance(event, ANSWERS_CHILD_START):
        child = state.children[event.initiated_event_id]
        child.answered = True
        child.run_id = getattr(event, "run_id", "")
    elif isinstance(event, CLOSES_CHILD):
        state.children[event.initiated_event_id].closing = True
    elif isinstance(event, ANSWERS_MESSAGE):
        state.messages[event.initiated_event_id].answered = True
    elif isinstance(event, _REMEMBERED):
        _remember(state, event.request_id, event)
    if isinstance(event, ev.WorkflowExecutionPaused) and state.paused is None:
        freezing.freeze(state, event)


def _flushed(state: ExecutionState, fact: rec.BufferFlushed) -> None:
    state.buffer.clear()


def _close_refused(state: ExecutionState, fact: rec.CloseRefused) -> None:
    state.refusals += 1


def _task(state: ExecutionState) -> WorkflowTaskState:
    assert state.workflow_task is not None, "a record of a workflow task that is not there"
    return state.workflow_task


RECORDS: dict[type[rec.Record], Applier] = {
    rec.AttemptStarted: _attempt_started,
    rec.AttemptDetached: _attempt_detached,
    rec.AttemptReturned: _attempt_returned,
    rec.AttemptFailed: _attempt_failed,
    rec.AttemptDue: _attempt_due,
    rec.ActivityControlled: _controlled,
    rec.AttemptHeartbeat: _attempt_heartbeat,
    rec.TransactionBegun: _transaction_begun,
    rec.RowWritten: _row_written,
    rec.TaskStarted: _memory_started,
    rec.TaskReturned: _memory_returned,
    rec.TaskFailedAgain: _failed_again,
    rec.TaskDue: _task_due,
    rec.TaskSpeculated: _speculated,
    rec.SpeculationDropped: _speculation_dropped,
    rec.UpdateAdmitted: _admitted,
    rec.UpdateDropped: _dropped,
    rec.EventBuffered: _buffered,
    rec.BufferFlushed: _flushed,
    rec.CloseRefused: _close_refused,
}
"""What each fact beside the log changes."""
