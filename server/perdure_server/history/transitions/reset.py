"""Going back: a run that begins as a copy of another's history goes on from there.

Law: the task at which the copy ends is given up with the cause RESET_WORKFLOW, which gives chance another course; then
come the messages that are told again, then a new task. Activities that were pending are scheduled anew.
"""

from __future__ import annotations

from msgspec import structs

from perdure_proto import events as ev
from perdure_proto.errors import Code
from perdure_proto.failures import Failure, ServerFailure
from perdure_server.history import requests as req
from perdure_server.history.decision import Decision, Draft, Moment, OfferActivity, refuse
from perdure_server.history.kinds import ANSWERS_MESSAGE, CLOSES_CHILD
from perdure_server.history.state import ExecutionState
from perdure_server.history.transitions.across import write_closed
from perdure_server.history.transitions.arrival import schedule_task


def reset(state: ExecutionState, request: req.ResetExecution, moment: Moment) -> Decision:
    """The events with which the new run goes on; the state is that of the copy, which ends with a started task."""
    task = state.workflow_task
    if task is None or not task.scheduled_event_id or not state.is_open:
        return refuse(Code.INVALID_ARGUMENT, "a run goes on from a workflow task: choose the end of one")
    refused = _too_many(state, request, moment)
    if refused is not None:
        return refused
    draft = Draft(state, moment)
    draft.add(
        ev.WorkflowTaskFailed,
        scheduled_event_id=task.scheduled_event_id,
        started_event_id=state.last_event_id,
        cause="RESET_WORKFLOW",
        failure=Failure(message=f"reset: {request.reason}", info=ServerFailure(code="RESET_WORKFLOW")),
        identity=request.identity,
        base_run_id=request.base_run_id,
        new_run_id=state.run_id,
        replaced_run_id=request.replaced_run_id,
    )
    _tell_again(draft, request)
    schedule_task(draft)
    draft.effects.extend(map(OfferActivity, state.activities))
    for event_id in sorted([*state.children, *state.messages]):
        draft.deliver(event_id)
    return draft.decision()


def _too_many(state: ExecutionState, request: req.ResetExecution, moment: Moment) -> Decision | None:
    """What is told again counts like any message."""
    limits = moment.limits
    signals = sum(isinstance(event, ev.WorkflowExecutionSignaled) for event in request.events)
    events_max = limits.history_events_max - limits.history_events_reserved
    if state.signals + signals > limits.signals_max or state.last_event_id + len(request.events) > events_max:
        return refuse(
            Code.RESOURCE_EXHAUSTED,
            f"{len(request.events)} messages came after that point, more than a run may have: exclude some",
        )
    return None


def _tell_again(draft: Draft, request: req.ResetExecution) -> None:
    """Messages, and what became of the children and the messages to others that the copy has begun."""
    children, messages = dict(draft.state.children), dict(draft.state.messages)
    started = {event_id: child.started_event_id for event_id, child in children.items()}
    for event in request.events:
        if isinstance(event, ev.ChildWorkflowExecutionStarted):
            if started.get(event.initiated_event_id) == 0:
                started[event.initiated_event_id] = draft.place(event).event_id
        elif isinstance(event, CLOSES_CHILD):
            if children.pop(event.initiated_event_id, None) is not None:
                draft.place(event, started_event_id=started[event.initiated_event_id])
        elif isinstance(event, ev.StartChildWorkflowExecutionFailed):
            if children.pop(event.initiated_event_id, None) is not None:
                draft.place(event)
        elif isinstance(event, ANSWERS_MESSAGE):
            if messages.pop(event.initiated_event_id, None) is not None:
                draft.place(event)
        elif not _is_known(draft.state, event):
            draft.place(event)
    for news in request.closed_children:
        child = children.get(news.initiated_event_id)
        if child is not None:
            began = started[news.initiated_event_id]
            write_closed(draft, structs.replace(child, started_event_id=began, answered=bool(began)), news)


def _is_known(state: ExecutionState, event: ev.AnyEvent) -> bool:
    """Whether the copy has the message already."""
    if isinstance(event, ev.WorkflowExecutionUpdateAdmitted):
        return event.update_id in state.updates
    return isinstance(event, ev.WorkflowExecutionSignaled) and event.request_id in state.request_ids
