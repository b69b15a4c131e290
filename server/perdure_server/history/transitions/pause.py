"""Pausing a run: nothing of it is handed out and its clocks stand still, until it is unpaused.

Law: what comes meanwhile is recorded, and what a task in flight answers too; nothing is lost, everything waits. Asking
again for what holds already changes nothing.
"""

from __future__ import annotations

from perdure_proto import events as ev
from perdure_proto.errors import Code
from perdure_server.history import requests as req
from perdure_server.history.decision import NOTHING, Decision, Draft, Moment, refuse
from perdure_server.history.state import ExecutionState
from perdure_server.history.transitions.arrival import buffer, resume


def pause(state: ExecutionState, request: req.PauseExecution, moment: Moment) -> Decision:
    """Pauses the run at once; while a task is started the event waits for its end, the effect does not."""
    if request.request_id and request.request_id in state.request_ids:
        return NOTHING
    if not state.is_open:
        return _closed(state)
    if _will_be_paused(state):
        return NOTHING
    draft = Draft(state, moment)
    _write(draft, ev.WorkflowExecutionPaused, request)
    return draft.decision()


def unpause(state: ExecutionState, request: req.UnpauseExecution, moment: Moment) -> Decision:
    """Lets the run go on; while a task is started, when that ends."""
    if request.request_id and request.request_id in state.request_ids:
        return NOTHING
    if not state.is_open:
        return _closed(state)
    if state.paused is None or not _will_be_paused(state):
        return NOTHING
    draft = Draft(state, moment)
    paused_for = max(draft.now, state.last_event_time) - state.paused.event_time
    _write(draft, ev.WorkflowExecutionUnpaused, request, paused_for=paused_for)
    if draft.events:
        resume(draft)
    return draft.decision()


def _write(
    draft: Draft, kind: type[ev.Event], request: req.PauseExecution | req.UnpauseExecution, **more: object
) -> None:
    attributes = {"reason": request.reason, "identity": request.identity, "request_id": request.request_id, **more}
    if draft.state.is_buffering:
        buffer(draft, kind, **attributes)
    else:
        draft.add(kind, **attributes)


def _will_be_paused(state: ExecutionState) -> bool:
    """Whether the run is paused once what is in the buffer is written."""
    for event in reversed(state.buffer):
        if isinstance(event, ev.WorkflowExecutionPaused | ev.WorkflowExecutionUnpaused):
            return isinstance(event, ev.WorkflowExecutionPaused)
    return state.is_paused


def _closed(state: ExecutionState) -> Decision:
    return refuse(Code.WORKFLOW_CLOSED, f"the run {state.run_id} is closed ({state.status})", status=state.status)
