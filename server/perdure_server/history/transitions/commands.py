"""The commands of a workflow task: checked all together first, then written one by one from a table.

Law: an answer is taken whole or not at all. A closing command is refused when news came meanwhile, so that no signal
is ever lost to a completion.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct, structs

from perdure_proto import commands as c
from perdure_proto import events as ev
from perdure_proto.attributes import merged
from perdure_proto.errors import Code
from perdure_server.history import records as rec
from perdure_server.history import requests as req
from perdure_server.history.decision import Draft, Moment, NewRun, OfferActivity, UpdateRejected
from perdure_server.history.fullness import events_left
from perdure_server.history.properties import wrong_text
from perdure_server.history.state import ExecutionState
from perdure_server.history.transitions import activity as act
from perdure_server.history.transitions.across import initiate_cancel, initiate_child, initiate_signal
from perdure_server.history.transitions.chain import Successor, continue_as_new
from perdure_server.history.transitions.check import CHECKS, Overlay
from perdure_server.history.transitions.cron import Ending, next_run
from perdure_server.history.transitions.execution import let_go_of_all, run_after_failure

CLOSING = (
    c.CompleteWorkflowExecution,
    c.FailWorkflowExecution,
    c.CancelWorkflowExecution,
    c.ContinueAsNewWorkflowExecution,
)
_ANSWERS_UPDATE = (c.AcceptUpdate, c.RejectUpdate)


class Refusal(Struct, frozen=True):
    """Why a whole answer is refused, and how that is recorded."""

    code: Code
    cause: ev.WorkflowTaskFailedCause
    message: str
    failure: Any = None


class Turn:
    """One workflow task being written."""

    upserted: dict[str, dict[str, Any]] | None = None
    """What this answer made of memo and search attributes, by their names: the state has it only later."""

    def __init__(self, draft: Draft, request: req.CompleteWorkflowTask, completed_event_id: int) -> None:
        self.draft = draft
        self.state = draft.state
        self.request = request
        self.completed_event_id = completed_event_id
        self.timers: dict[str, int] = {}
        self.cancelled_timers: set[str] = set()
        self.accepted: dict[str, int] = {}
        self.settled_updates: dict[str, bool] = {}
        self.has_news = False
        self.closing: ev.Event | None = None
        self.new_run: NewRun | None = None

    def add(self, kind: type[ev.Event], /, **attributes: Any) -> ev.Event:
        """Writes an event that this task caused."""
        return self.draft.add(kind, workflow_task_completed_event_id=self.completed_event_id, **attributes)

    def upsert(self, name: Literal["memo", "search_attributes"], change: dict[str, Any]) -> None:
        """Memo or search attributes change; the next run of the chain begins with what they become."""
        self.upserted = upserted = self.upserted or {}
        upserted[name] = merged(upserted.get(name, getattr(self.state, name)), change)

    def next_run(self) -> NewRun | None:
        """The run that goes on where this answer closes its own."""
        new_run = self.new_run
        if new_run is None or not self.upserted:
            return new_run
        started: Any = new_run.events[0]
        return structs.replace(new_run, events=[structs.replace(started, **self.upserted), *new_run.events[1:]])


def refusal(state: ExecutionState, request: req.CompleteWorkflowTask, moment: Moment) -> Refusal | None:
    """Why the commands cannot be taken, or None."""
    overlay = Overlay(state, moment.limits)
    closing = False
    too_long = wrong_text("current_details", request.current_details or "", moment.limits.details_bytes_max)
    if too_long:
        return Refusal(Code.BAD_COMMAND, "BAD_COMMAND", too_long, overlay.failure(too_long))
    for command in request.commands:
        wrong = overlay.wrong_after_close(command) if closing else CHECKS[type(command)](overlay, command)
        if wrong is not None:
            return Refusal(
                Code.BAD_COMMAND, "BAD_COMMAND", f"{type(command).__name__}: {wrong}", overlay.failure(wrong)
            )
        closing = closing or isinstance(command, CLOSING)
    if closing and overlay.has_news():
        return Refusal(Code.UNHANDLED_COMMAND, "UNHANDLED_COMMAND", "news came while the workflow was closing")
    has_room = events_left(state, moment.limits) >= len(request.commands)
    if not closing and not (has_room and state.history_bytes <= moment.limits.history_bytes_max):
        wrong = f"HISTORY_LIMIT: {state.last_event_id} events of {state.history_bytes} bytes: continue as new"
        return Refusal(Code.HISTORY_LIMIT, "BAD_COMMAND", wrong, overlay.failure(wrong))
    return None


def names_unknown_update(state: ExecutionState, request: req.CompleteWorkflowTask) -> bool:
    """Whether an answer is about an update that this owner was never asked for."""
    answers = [each for each in request.commands if isinstance(each, _ANSWERS_UPDATE)]
    return any(answer.update_id not in state.admitted for answer in answers)


def apply(turn: Turn, command: c.AnyCommand) -> None:
    """Writes one command; what follows a closing one was refused before."""
    COMMANDS[type(command)](turn, command)


def reject_update(draft: Draft, command: c.RejectUpdate) -> None:
    """Tells the caller; the log says nothing."""
    draft.records.append(rec.UpdateDropped(update_id=command.update_id))
    draft.effects.append(UpdateRejected(command.update_id, command.failure))


def _schedule_activity(turn: Turn, command: c.ScheduleActivityTask) -> None:
    start_to_close = command.start_to_close_timeout
    if start_to_close is None and command.schedule_to_close_timeout is None:
        start_to_close = turn.draft.limits.start_to_close_default
    event = turn.add(
        ev.ActivityTaskScheduled,
        activity_id=command.activity_id,
        activity_type=command.activity_type,
        task_queue=command.task_queue,
        input=command.input,
        kwargs=command.kwargs,
        encoding=command.encoding,
        schedule_to_close_timeout=command.schedule_to_close_timeout,
        schedule_to_start_timeout=command.schedule_to_start_timeout,
        start_to_close_timeout=start_to_close,
        heartbeat_timeout=command.heartbeat_timeout,
        retry_policy=command.retry_policy,
        priority=command.priority,
        concurrency_key=command.concurrency_key,
        concurrency_max=command.concurrency_max,
        header=command.header,
        summary=command.summary,
    )
    turn.draft.effects.append(OfferActivity(event.event_id))


def _request_cancel_activity(turn: Turn, command: c.RequestCancelActivityTask) -> None:
    activity = turn.state.activities.get(command.scheduled_event_id)
    if activity is None or activity.cancel_requested_event_id:
        return
    if act.request_cancel(turn.draft, activity, turn.completed_event_id):
        turn.has_news = True


def _start_timer(turn: Turn, command: c.StartTimer) -> None:
    event = turn.add(
        ev.TimerStarted,
        timer_id=command.timer_id,
        start_to_fire_timeout=command.start_to_fire_timeout,
        summary=command.summary,
    )
    turn.timers[command.timer_id] = event.event_id


def _cancel_timer(turn: Turn, command: c.CancelTimer) -> None:
    """A timer that fired meanwhile is still in the buffer: it is cancelled, and its firing forgotten."""
    started_event_id = turn.timers.pop(command.timer_id, 0)
    timer = turn.state.timers.get(command.timer_id)
    if not started_event_id and timer is not None:
        started_event_id = timer.started_event_id
    for event in turn.state.buffer:
        if not started_event_id and isinstance(event, ev.TimerFired) and event.timer_id == command.timer_id:
            started_event_id = event.started_event_id
    turn.cancelled_timers.add(command.timer_id)
    turn.add(
        ev.TimerCanceled,
        timer_id=command.timer_id,
        started_event_id=started_event_id,
        identity=turn.request.identity,
    )


def _record_marker(turn: Turn, command: c.RecordMarker) -> None:
    turn.add(
        ev.MarkerRecorded,
        marker_name=command.marker_name,
        details=command.details,
        encoding=command.encoding,
        failure=command.failure,
    )


def _start_child(turn: Turn, command: c.StartChildWorkflowExecution) -> None:
    initiate_child(turn.draft, turn.add, command)


def _signal_external(turn: Turn, command: c.SignalExternalWorkflowExecution) -> None:
    initiate_signal(turn.draft, turn.add, command)


def _cancel_external(turn: Turn, command: c.RequestCancelExternalWorkflowExecution) -> None:
    initiate_cancel(turn.draft, turn.add, command)


def _upsert_attributes(turn: Turn, command: c.UpsertWorkflowSearchAttributes) -> None:
    turn.upsert("search_attributes", command.search_attributes)
    turn.add(ev.UpsertWorkflowSearchAttributes, search_attributes=command.search_attributes)


def _modify_memo(turn: Turn, command: c.ModifyWorkflowProperties) -> None:
    turn.upsert("memo", command.upserted_memo)
    turn.add(ev.WorkflowPropertiesModified, upserted_memo=command.upserted_memo)


def _complete(turn: Turn, command: c.CompleteWorkflowExecution) -> None:
    ending = Ending(
        now=turn.draft.now,
        new_run_id=turn.request.new_run_id,
        result=command.result,
        encoding=command.encoding,
        settled=turn.settled_updates,
    )
    turn.new_run = next_run(turn.state, ending)
    turn.closing = turn.add(
        ev.WorkflowExecutionCompleted,
        result=command.result,
        encoding=command.encoding,
        new_execution_run_id=turn.new_run.run_id if turn.new_run else "",
    )
    let_go_of_all(turn.draft)


def _fail(turn: Turn, command: c.FailWorkflowExecution) -> None:
    new_run_id = turn.request.new_run_id
    turn.new_run, retry_state = run_after_failure(
        turn.state, command.failure, turn.draft.now, new_run_id, turn.settled_updates
    )
    turn.closing = turn.add(
        ev.WorkflowExecutionFailed,
        failure=command.failure,
        retry_state=retry_state,
        new_execution_run_id=turn.new_run.run_id if turn.new_run else "",
    )
    let_go_of_all(turn.draft)


def _cancel(turn: Turn, command: c.CancelWorkflowExecution) -> None:
    turn.closing = turn.add(ev.WorkflowExecutionCanceled, details=command.details, encoding=command.encoding)
    let_go_of_all(turn.draft)


def _continue(turn: Turn, command: c.ContinueAsNewWorkflowExecution) -> None:
    request = turn.request
    successor = Successor(
        run_id=request.new_run_id,
        now=turn.draft.now,
        initiator="WORKFLOW",
        backoff=command.backoff_start_interval,
        failure=turn.state.started.continued_failure if turn.state.started.cron_schedule else None,
        signals=request.signals,
        task_timeout_max=turn.draft.limits.workflow_task_timeout_max,
        settled=turn.settled_updates,
    )
    turn.new_run = continue_as_new(turn.state, command, successor)
    for name in ("memo", "search_attributes"):
        if turn.upserted and getattr(command, name) is not None:
            turn.upserted.pop(name, None)
    started = turn.new_run.events[0]
    assert isinstance(started, ev.WorkflowExecutionStarted)
    turn.closing = turn.add(
        ev.WorkflowExecutionContinuedAsNew,
        new_execution_run_id=request.new_run_id,
        workflow_type=started.workflow_type,
        task_queue=started.task_queue,
        input=command.input,
        kwargs=command.kwargs,
        encoding=command.encoding,
        workflow_run_timeout=started.workflow_run_timeout,
        workflow_task_timeout=started.workflow_task_timeout,
        backoff_start_interval=started.first_workflow_task_backoff,
    )
    let_go_of_all(turn.draft)


def _accept_update(turn: Turn, command: c.AcceptUpdate) -> None:
    admitted = turn.state.admitted[command.update_id]
    delivery = admitted.delivery
    event = turn.draft.add(
        ev.WorkflowExecutionUpdateAccepted,
        update_id=delivery.update_id,
        update_name=delivery.update_name,
        input=delivery.input,
        kwargs=delivery.kwargs,
        encoding=delivery.encoding,
        identity=admitted.identity,
        header=delivery.header,
        accepted_request_sequencing_event_id=turn.completed_event_id - 1,
    )
    turn.accepted[command.update_id] = event.event_id
    turn.settled_updates[command.update_id] = True


def _reject_update(turn: Turn, command: c.RejectUpdate) -> None:
    reject_update(turn.draft, command)
    turn.settled_updates[command.update_id] = False


def _complete_update(turn: Turn, command: c.CompleteUpdate) -> None:
    accepted = turn.accepted.get(command.update_id) or turn.state.updates[command.update_id].accepted_event_id
    turn.draft.add(
        ev.WorkflowExecutionUpdateCompleted,
        update_id=command.update_id,
        accepted_event_id=accepted,
        result=command.result,
        encoding=command.encoding,
        failure=command.failure,
        identity=turn.request.identity,
    )


COMMANDS: dict[type[c.Command], Callable[[Turn, Any], None]] = {
    c.ScheduleActivityTask: _schedule_activity,
    c.RequestCancelActivityTask: _request_cancel_activity,
    c.StartTimer: _start_timer,
    c.CancelTimer: _cancel_timer,
    c.RecordMarker: _record_marker,
    c.StartChildWorkflowExecution: _start_child,
    c.SignalExternalWorkflowExecution: _signal_external,
    c.RequestCancelExternalWorkflowExecution: _cancel_external,
    c.UpsertWorkflowSearchAttributes: _upsert_attributes,
    c.ModifyWorkflowProperties: _modify_memo,
    c.CompleteWorkflowExecution: _complete,
    c.FailWorkflowExecution: _fail,
    c.CancelWorkflowExecution: _cancel,
    c.ContinueAsNewWorkflowExecution: _continue,
    c.AcceptUpdate: _accept_update,
    c.RejectUpdate: _reject_update,
    c.CompleteUpdate: _complete_update,
}
"""What each command writes."""
