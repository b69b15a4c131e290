"""Between executions, as the source sees it: what it asks of others is Initiated, and each gets one answer.

Law: an answer that comes twice, late, or out of order changes nothing. The news that a child closed may come before the
answer to its start: it then brings both events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure_proto import commands as c
from perdure_proto import events as ev
from perdure_proto.options import merged_priority
from perdure_server.history import requests as req
from perdure_server.history.decision import NOTHING, Decision, Deliver, Draft, Moment, TakeLeave
from perdure_server.history.state import ChildState, ExecutionState
from perdure_server.history.transitions.arrival import arrive

Add = Callable[..., ev.Event]


def initiate_child(draft: Draft, add: Add, command: c.StartChildWorkflowExecution) -> None:
    """Writes that a child is wanted. What the command leaves open is the parent's."""
    started = draft.state.started
    event = add(
        ev.StartChildWorkflowExecutionInitiated,
        namespace=command.namespace,
        workflow_id=command.workflow_id,
        workflow_type=command.workflow_type,
        task_queue=command.task_queue or started.task_queue,
        input=command.input,
        kwargs=command.kwargs,
        encoding=command.encoding,
        workflow_execution_timeout=command.workflow_execution_timeout,
        workflow_run_timeout=command.workflow_run_timeout,
        workflow_task_timeout=command.workflow_task_timeout,
        parent_close_policy=command.parent_close_policy,
        workflow_id_reuse_policy=command.workflow_id_reuse_policy,
        retry_policy=command.retry_policy,
        cron_schedule=command.cron_schedule,
        header=command.header,
        memo=command.memo,
        search_attributes=command.search_attributes,
        priority=merged_priority(command.priority, started.priority),
        summary=command.summary,
        static_details=command.static_details,
    )
    draft.deliver(event.event_id)


def initiate_signal(draft: Draft, add: Add, command: c.SignalExternalWorkflowExecution) -> None:
    """Writes that another execution is to be signalled."""
    event = add(
        ev.SignalExternalWorkflowExecutionInitiated,
        namespace=command.namespace,
        workflow_id=command.workflow_id,
        run_id=command.run_id,
        signal_name=command.signal_name,
        input=command.input,
        kwargs=command.kwargs,
        encoding=command.encoding,
        child_workflow_only=command.child_workflow_only,
        header=command.header,
    )
    draft.deliver(event.event_id)


def initiate_cancel(draft: Draft, add: Add, command: c.RequestCancelExternalWorkflowExecution) -> None:
    """Writes that another execution is to be asked to stop."""
    event = add(
        ev.RequestCancelExternalWorkflowExecutionInitiated,
        namespace=command.namespace,
        workflow_id=command.workflow_id,
        run_id=command.run_id,
        child_workflow_only=command.child_workflow_only,
        reason=command.reason,
    )
    draft.deliver(event.event_id)


def child_started(state: ExecutionState, request: req.RecordChildStarted, moment: Moment) -> Decision:
    """The child runs."""
    child = _open_child(state, request.initiated_event_id)
    if child is None or child.answered:
        return NOTHING
    draft = Draft(state, moment)
    _write_started(draft, child, request.run_id)
    return draft.decision()


def child_start_failed(state: ExecutionState, request: req.RecordChildStartFailed, moment: Moment) -> Decision:
    """The child cannot be started."""
    child = _open_child(state, request.initiated_event_id)
    if child is None or child.answered:
        return NOTHING
    draft = Draft(state, moment)
    initiated = child.initiated
    arrive(
        draft,
        ev.StartChildWorkflowExecutionFailed,
        namespace=initiated.namespace,
        workflow_id=initiated.workflow_id,
        workflow_type=initiated.workflow_type,
        cause=request.cause,
        initiated_event_id=initiated.event_id,
        workflow_task_completed_event_id=initiated.workflow_task_completed_event_id,
    )
    return draft.decision()


def child_closed(state: ExecutionState, request: req.RecordChildClosed, moment: Moment) -> Decision:
    """The last run of the child ended."""
    child = _open_child(state, request.initiated_event_id)
    if child is None or child.closing or child.run_id != (request.first_run_id if child.answered else ""):
        return NOTHING  # it closed before, never started, or is another of that id
    draft = Draft(state, moment)
    write_closed(draft, child, request)
    return draft.decision()


def write_closed(draft: Draft, child: ChildState, request: req.RecordChildClosed) -> None:
    """Writes the end of a child, and its start where that was not known."""
    started_event_id = child.started_event_id
    if not child.answered:
        started_event_id = _write_started(draft, child, request.first_run_id)
    kind, attributes = _closing(request.closed)
    arrive(
        draft,
        kind,
        namespace=child.initiated.namespace,
        workflow_id=child.initiated.workflow_id,
        workflow_type=child.initiated.workflow_type,
        run_id=request.run_id,
        initiated_event_id=request.initiated_event_id,
        started_event_id=started_event_id,
        **attributes,
    )


def message_answered(state: ExecutionState, request: req.RecordMessageAnswered, moment: Moment) -> Decision:
    """The other execution has the message, or cannot have it (`cause`)."""
    message = state.messages.get(request.initiated_event_id) if state.is_open else None
    if message is None or message.answered:
        return NOTHING
    initiated = message.initiated
    attributes: dict[str, Any] = {
        "namespace": initiated.namespace,
        "workflow_id": initiated.workflow_id,
        "run_id": request.run_id or initiated.run_id,
        "initiated_event_id": initiated.event_id,
    }
    done, failed = _ANSWERS[type(initiated)]
    draft = Draft(state, moment)
    if request.cause:
        attributes["cause"] = request.cause
        attributes["workflow_task_completed_event_id"] = initiated.workflow_task_completed_event_id
    arrive(draft, failed if request.cause else done, **attributes)
    return draft.decision()


def take_leave(draft: Draft) -> None:
    """Whoever closes still owes: messages, its children their end, its parent the news."""
    state = draft.state
    if state.children or state.messages or state.started.parent_workflow_id or draft.initiated:
        draft.effects = [effect for effect in draft.effects if not isinstance(effect, Deliver)]
        draft.effects.append(TakeLeave())


def _open_child(state: ExecutionState, initiated_event_id: int) -> ChildState | None:
    return state.children.get(initiated_event_id) if state.is_open else None


def _write_started(draft: Draft, child: ChildState, run_id: str) -> int:
    """Returns the event's id; 0 where it is buffered, for it has none yet."""
    event_id = 0 if draft.state.is_buffering else draft.next_id
    arrive(
        draft,
        ev.ChildWorkflowExecutionStarted,
        namespace=child.initiated.namespace,
        initiated_event_id=child.initiated.event_id,
        workflow_id=child.initiated.workflow_id,
        run_id=run_id,
        workflow_type=child.initiated.workflow_type,
        header=child.initiated.header,
    )
    return event_id


def _closing(closed: ev.AnyEvent) -> tuple[type[ev.Event], dict[str, Any]]:
    kind, names = _NEWS_OF[type(closed)]
    return kind, {name: getattr(closed, name) for name in names}


_NEWS_OF: dict[type[ev.Event], tuple[type[ev.Event], tuple[str, ...]]] = {
    ev.WorkflowExecutionCompleted: (ev.ChildWorkflowExecutionCompleted, ("result", "encoding")),
    ev.WorkflowExecutionFailed: (ev.ChildWorkflowExecutionFailed, ("failure", "retry_state")),
    ev.WorkflowExecutionCanceled: (ev.ChildWorkflowExecutionCanceled, ("details", "encoding")),
    ev.WorkflowExecutionTimedOut: (ev.ChildWorkflowExecutionTimedOut, ("retry_state",)),
    ev.WorkflowExecutionTerminated: (ev.ChildWorkflowExecutionTerminated, ()),
}
"""How a parent records the close of a child. A run that continued as new has not closed, for its parent."""

_ANSWERS: dict[type[ev.Event], tuple[type[ev.Event], type[ev.Event]]] = {
    ev.SignalExternalWorkflowExecutionInitiated: (
        ev.ExternalWorkflowExecutionSignaled,
        ev.SignalExternalWorkflowExecutionFailed,
    ),
    ev.RequestCancelExternalWorkflowExecutionInitiated: (
        ev.ExternalWorkflowExecutionCancelRequested,
        ev.RequestCancelExternalWorkflowExecutionFailed,
    ),
}
"""The answers to a message: done, and failed."""
