"""Transactional activities: which decisions would close one while a transaction of it may still commit.

Law: such a decision is not applied. The shell first seals the activity in the store, so that no attempt can commit any
more, or finds the outcome of one that has; then the request is decided again. It is asked of each decision, whatever
led to it, so that no way of closing an activity can forget it.
"""

from __future__ import annotations

from collections.abc import Iterator

from perdure_proto import events as ev
from perdure_server.history import records as rec
from perdure_server.history import requests as req
from perdure_server.history.decision import Decision
from perdure_server.history.kinds import CLOSES_ACTIVITY
from perdure_server.history.state import ExecutionState


def closes_otherwise(state: ExecutionState, request: req.Request, decision: Decision) -> list[int]:
    """The activities (by scheduled event) that were allowed a transaction and would be closed otherwise."""
    if isinstance(request, req.CompleteActivity) and request.recorded:
        return []
    closed = [each for each in dict.fromkeys(_closed(state, decision)) if each in state.activities]
    return [each for each in closed if state.activities[each].transactional and not state.activities[each].closing]


def _closed(state: ExecutionState, decision: Decision) -> Iterator[int]:
    for event in decision.events:
        if isinstance(event, CLOSES_ACTIVITY):
            yield event.scheduled_event_id
        elif isinstance(event, ev.CLOSING_EVENTS):
            yield from state.activities
    for fact in decision.records:
        if isinstance(fact, rec.EventBuffered) and isinstance(fact.event, CLOSES_ACTIVITY):
            yield fact.event.scheduled_event_id
