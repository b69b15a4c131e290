"""A history that is full: the last events are reserved for the workflow to close with.

Law: a full run takes no news. Signals and updates are refused, and results stay owed: whoever brings one keeps it, for
the run has room again when its server begins anew with a higher limit. It can be asked to stop, terminated and reset,
and an answer of its workflow is taken if it closes the run.
"""

from __future__ import annotations

from perdure_proto.errors import Code
from perdure_server.config import Limits
from perdure_server.history import requests as req
from perdure_server.history.decision import Decision, refuse
from perdure_server.history.state import ExecutionState

BRINGS_RESULTS: frozenset[type[req.Request]] = frozenset(
    {
        req.StartActivity,
        req.CompleteActivity,
        req.FailActivity,
        req.AcknowledgeCancel,
        req.ReturnActivity,
        req.TimeOutActivity,
        req.FireTimer,
        req.RecordChildStarted,
        req.RecordChildStartFailed,
        req.RecordChildClosed,
        req.RecordMessageAnswered,
    }
)
"""Requests that are owed to a full run. An attempt is not begun either: what it would bring could not be kept."""


def events_left(state: ExecutionState, limits: Limits) -> int:
    """How many events more there is room for, before those that are reserved; what is buffered has its room."""
    return limits.history_events_max - limits.history_events_reserved - state.last_event_id - len(state.buffer)


def is_full(state: ExecutionState, limits: Limits) -> bool:
    """Whether the history takes no more than what closes it."""
    return events_left(state, limits) <= 0 or state.history_bytes >= limits.history_bytes_max


def refuse_news(state: ExecutionState, limits: Limits) -> Decision | None:
    """The refusal of what a full run does not take."""
    if not is_full(state, limits):
        return None
    return refuse(
        Code.HISTORY_LIMIT,
        f"the history is full ({state.last_event_id} events, {state.history_bytes} bytes):"
        " the run must continue as new",
    )


def hold_results(state: ExecutionState, request: req.Request, decision: Decision, limits: Limits) -> Decision:
    """What becomes of a decision in a run that may be full: what would change it is owed."""
    if type(request) not in BRINGS_RESULTS or not state.is_open or not is_full(state, limits):
        return decision
    changes = decision.events or decision.records or decision.effects
    return (refuse_news(state, limits) if changes else None) or decision
