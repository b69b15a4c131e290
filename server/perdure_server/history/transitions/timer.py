"""Timers: fired by the clock, never early; once."""

from __future__ import annotations

from perdure_proto import events as ev
from perdure_server.history import requests as req
from perdure_server.history.decision import NOTHING, Decision, Draft, Moment
from perdure_server.history.state import ExecutionState
from perdure_server.history.transitions.arrival import arrive


def fire(state: ExecutionState, request: req.FireTimer, moment: Moment) -> Decision:
    """Fires a timer that is still there and whose time has come."""
    timer = state.timers.get(request.timer_id)
    if timer is None or timer.started_event_id != request.started_event_id or moment.now < timer.fire_at:
        return NOTHING
    if state.is_paused:
        return NOTHING
    draft = Draft(state, moment)
    arrive(draft, ev.TimerFired, timer_id=timer.timer_id, started_event_id=timer.started_event_id)
    return draft.decision()
