"""Whether a command can be taken, given the state and the commands before it in the same answer. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from perdure_proto import commands as c
from perdure_proto.attributes import merged
from perdure_proto.codec import encoder
from perdure_proto.errors import Code
from perdure_proto.events import TimerFired
from perdure_proto.failures import Failure, ServerFailure
from perdure_proto.options import concurrency_refusal
from perdure_proto.waitpoints import SIGNAL_PREFIX
from perdure_server.config import Limits
from perdure_server.history.properties import wrong_attributes, wrong_memo, wrong_text
from perdure_server.history.state import ExecutionState
from perdure_server.history.ticks import refusal

_TIMER_MAX = timedelta(days=36_500)


class Overlay:
    """What the commands before this one will have changed."""

    memo: dict[str, Any] | None = None
    search_attributes: dict[str, Any] | None = None

    def __init__(self, state: ExecutionState, limits: Limits) -> None:
        self.state = state
        self.limits = limits
        self.activity_ids: set[str] = set()
        self.children = 0
        self.messages = 0
        self.timers = set(state.timers)
        self.timers.update(event.timer_id for event in state.buffer if isinstance(event, TimerFired))
        self.cancelled_timers: set[str] = set()
        self.cancelled_activities: set[int] = set()
        self.accepted: set[str] = set()
        self.settled: set[str] = set()
        self.completed: set[str] = set()

    def has_news(self) -> bool:
        """Whether anything was buffered, but for the firing of timers that these commands cancel."""
        return any(
            not (isinstance(event, TimerFired) and event.timer_id in self.cancelled_timers)
            for event in self.state.buffer
        )

    def wrong_after_close(self, command: c.AnyCommand) -> str:
        """Nothing follows a closing command."""
        return "a command follows the one that closes the workflow"

    def failure(self, message: str) -> Failure:
        """The failure that the task is recorded with."""
        return Failure(message=message, info=ServerFailure(code=Code.BAD_COMMAND, non_retryable=True))


def _size(overlay: Overlay, *values: bytes) -> str | None:
    size = sum(len(bytes(value)) for value in values)
    if size > overlay.limits.payload_bytes_max:
        return f"PAYLOAD_TOO_LARGE: {size} bytes, the limit is {overlay.limits.payload_bytes_max}"
    return None


def _header(header: dict[str, Any]) -> bytes:
    return encoder.encode(header) if header else b""


def _activity(overlay: Overlay, command: c.ScheduleActivityTask) -> str | None:
    taken = command.activity_id in overlay.state.activity_ids or command.activity_id in overlay.activity_ids
    if taken:
        return f"activity id {command.activity_id!r} is pending already"
    wrong = _name(overlay, "activity_id", command.activity_id) or _name(overlay, "activity_type", command.activity_type)
    if wrong is not None:
        return wrong
    if len(overlay.state.activities) + len(overlay.activity_ids) >= overlay.limits.pending_activities_max:
        return f"{overlay.limits.pending_activities_max} activities are pending, the most that a run may have"
    overlay.activity_ids.add(command.activity_id)
    wrong = command.retry_policy.refusal() if command.retry_policy else None
    wrong = wrong or (command.priority.refusal() if command.priority else None)
    wrong = wrong or concurrency_refusal(command.concurrency_key, command.concurrency_max)
    wrong = wrong or wrong_text("summary", command.summary, overlay.limits.summary_bytes_max)
    return wrong or _timeouts(command) or _size(overlay, command.input, command.kwargs, _header(command.header))


def _timeouts(command: c.ScheduleActivityTask) -> str | None:
    return _positive(
        schedule_to_close_timeout=command.schedule_to_close_timeout,
        schedule_to_start_timeout=command.schedule_to_start_timeout,
        start_to_close_timeout=command.start_to_close_timeout,
        heartbeat_timeout=command.heartbeat_timeout,
    )


def _start_timer(overlay: Overlay, command: c.StartTimer) -> str | None:
    if command.timer_id in overlay.timers:
        return f"timer id {command.timer_id!r} is running already"
    if not timedelta(0) <= command.start_to_fire_timeout <= _TIMER_MAX:
        return f"a timer runs from 0 to {_TIMER_MAX.days} days"
    overlay.timers.add(command.timer_id)
    return wrong_text("summary", command.summary, overlay.limits.summary_bytes_max)


def _cancel_timer(overlay: Overlay, command: c.CancelTimer) -> str | None:
    if command.timer_id not in overlay.timers:
        return f"timer {command.timer_id!r} is not running"
    overlay.timers.discard(command.timer_id)
    overlay.cancelled_timers.add(command.timer_id)
    return None


def _cancel_activity(overlay: Overlay, command: c.RequestCancelActivityTask) -> str | None:
    if command.scheduled_event_id in overlay.cancelled_activities:
        return f"the activity scheduled by event {command.scheduled_event_id} is asked to stop twice"
    overlay.cancelled_activities.add(command.scheduled_event_id)
    return None


def _child(overlay: Overlay, command: c.StartChildWorkflowExecution) -> str | None:
    overlay.children += 1
    children_max = overlay.limits.pending_children_max
    if len(overlay.state.children) + overlay.children > children_max:
        return f"{children_max} children are pending, the most that a run may have"
    wrong = command.retry_policy.refusal() if command.retry_policy else None
    wrong = wrong or (refusal(command.cron_schedule) if command.cron_schedule else None)
    wrong = wrong or (command.priority.refusal() if command.priority else None)
    return (
        _names(
            overlay,
            workflow_id=command.workflow_id,
            workflow_type=command.workflow_type,
            namespace=command.namespace or "its own",
        )
        or wrong
        or _positive(
            workflow_execution_timeout=command.workflow_execution_timeout,
            workflow_run_timeout=command.workflow_run_timeout,
            workflow_task_timeout=command.workflow_task_timeout,
        )
        or wrong_memo(command.memo, overlay.limits)
        or wrong_attributes(command.search_attributes, overlay.limits)
        or wrong_text("summary", command.summary, overlay.limits.summary_bytes_max)
        or wrong_text("static_details", command.static_details, overlay.limits.details_bytes_max)
        or _size(overlay, command.input, command.kwargs, _header(command.header))
    )


def _signal(overlay: Overlay, command: c.SignalExternalWorkflowExecution) -> str | None:
    if command.signal_name.startswith(SIGNAL_PREFIX):
        return f"signals {SIGNAL_PREFIX}… complete waitpoints: resume by token"
    return (
        _names(overlay, signal_name=command.signal_name)
        or _message(overlay, command)
        or _size(overlay, command.input, command.kwargs)
    )


def _message(
    overlay: Overlay, command: c.SignalExternalWorkflowExecution | c.RequestCancelExternalWorkflowExecution
) -> str | None:
    overlay.messages += 1
    messages_max = overlay.limits.pending_messages_max
    if len(overlay.state.messages) + overlay.messages > messages_max:
        return f"{messages_max} messages to other executions are pending, the most that a run may have"
    return _names(overlay, workflow_id=command.workflow_id, namespace=command.namespace or "its own")


def _names(overlay: Overlay, **names: str) -> str | None:
    for name, value in names.items():
        wrong = _name(overlay, name, value)
        if wrong is not None:
            return wrong
    return None


def _name(overlay: Overlay, name: str, value: str) -> str | None:
    if "\0" in value:
        return f"{name} has a NUL character"
    if not value or len(value) > overlay.limits.id_length_max:
        return f"{name} must have 1 to {overlay.limits.id_length_max} characters"
    return None


def _positive(**timeouts: timedelta | None) -> str | None:
    for name, value in timeouts.items():
        if value is not None and value <= timedelta(0):
            return f"{name} must be positive"
    return None


def _accept(overlay: Overlay, command: c.AcceptUpdate) -> str | None:
    if command.update_id not in overlay.state.admitted or command.update_id in overlay.settled:
        return f"update {command.update_id!r} is not waiting to be accepted"
    overlay.settled.add(command.update_id)
    overlay.accepted.add(command.update_id)
    return None


def _reject(overlay: Overlay, command: c.RejectUpdate) -> str | None:
    if command.update_id in overlay.settled:
        return f"update {command.update_id!r} is accepted or rejected already"
    overlay.settled.add(command.update_id)
    return None


def _complete_update(overlay: Overlay, command: c.CompleteUpdate) -> str | None:
    known = overlay.state.updates.get(command.update_id)
    is_open = known is not None and not known.completed_event_id
    if command.update_id in overlay.completed or not (is_open or command.update_id in overlay.accepted):
        return f"update {command.update_id!r} is not accepted, or completed already"
    overlay.completed.add(command.update_id)
    return _size(overlay, command.result)


def _fits(overlay: Overlay, command: Any) -> str | None:
    return None


def _result(overlay: Overlay, command: c.CompleteWorkflowExecution) -> str | None:
    return _size(overlay, command.result)


def _continue(overlay: Overlay, command: c.ContinueAsNewWorkflowExecution) -> str | None:
    wrong = command.retry_policy.refusal() if command.retry_policy else None
    if command.memo is not None:
        wrong = wrong or wrong_memo(command.memo, overlay.limits)
    if command.search_attributes is not None:
        wrong = wrong or wrong_attributes(command.search_attributes, overlay.limits)
    return wrong or _next_times(command) or _size(overlay, command.input, command.kwargs, _header(command.header))


def _next_times(command: c.ContinueAsNewWorkflowExecution) -> str | None:
    wrong = _positive(
        workflow_run_timeout=command.workflow_run_timeout, workflow_task_timeout=command.workflow_task_timeout
    )
    if wrong is not None:
        return wrong
    if not timedelta(0) <= command.backoff_start_interval <= _TIMER_MAX:
        return f"backoff_start_interval must be from 0 to {_TIMER_MAX.days} days"
    return None


def _upsert_attributes(overlay: Overlay, command: c.UpsertWorkflowSearchAttributes) -> str | None:
    current = overlay.state.search_attributes if overlay.search_attributes is None else overlay.search_attributes
    overlay.search_attributes = merged(current, command.search_attributes)
    return wrong_attributes(overlay.search_attributes, overlay.limits)


def _modify_memo(overlay: Overlay, command: c.ModifyWorkflowProperties) -> str | None:
    current = overlay.state.memo if overlay.memo is None else overlay.memo
    overlay.memo = merged(current, command.upserted_memo)
    return wrong_memo(overlay.memo, overlay.limits)


def _marker(overlay: Overlay, command: c.RecordMarker) -> str | None:
    return _size(overlay, command.details)


CHECKS: dict[type[c.Command], Callable[[Overlay, Any], str | None]] = {
    c.ScheduleActivityTask: _activity,
    c.RequestCancelActivityTask: _cancel_activity,
    c.StartTimer: _start_timer,
    c.CancelTimer: _cancel_timer,
    c.RecordMarker: _marker,
    c.CompleteWorkflowExecution: _result,
    c.FailWorkflowExecution: _fits,
    c.CancelWorkflowExecution: _fits,
    c.ContinueAsNewWorkflowExecution: _continue,
    c.AcceptUpdate: _accept,
    c.RejectUpdate: _reject,
    c.CompleteUpdate: _complete_update,
    c.StartChildWorkflowExecution: _child,
    c.SignalExternalWorkflowExecution: _signal,
    c.RequestCancelExternalWorkflowExecution: _message,
    c.UpsertWorkflowSearchAttributes: _upsert_attributes,
    c.ModifyWorkflowProperties: _modify_memo,
}
"""What each command must satisfy."""
