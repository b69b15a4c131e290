"""Deadlines: what must happen by when if nothing else does, as requests to the core.

A deadline may be stale when it comes (the timer was cancelled, the attempt ended): the request then changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from msgspec import Struct

from perdure_proto import events as ev
from perdure_server.history import requests as req
from perdure_server.history.state import ActivityState, ExecutionState
from perdure_server.history.transitions.activity import DEADLINES, deadline


class Deadline(Struct, frozen=True):
    """At `at`, ask this."""

    at: datetime
    request: req.Request


def deadlines_of(state: ExecutionState) -> Iterator[Deadline]:
    """All deadlines of a run, for a new owner."""
    if not state.is_open:
        return
    yield from task_deadlines(state)
    if state.is_paused:
        return  # all others stand still; the end of the pause gives them again
    yield from run_deadlines(state)
    for timer in state.timers.values():
        yield Deadline(timer.fire_at, req.FireTimer(timer_id=timer.timer_id, started_event_id=timer.started_event_id))
    for activity in state.activities.values():
        yield from activity_deadlines(activity)


def run_deadlines(state: ExecutionState) -> Iterator[Deadline]:
    """The end of the run or of the whole execution, and the first task after a backoff."""
    first = state.first_task_at
    if first is not None and not state.previous_started_event_id and state.workflow_task is None:
        yield Deadline(first, req.BeginFirstTask())
    ends = expires_at(state)
    if ends is not None:
        yield Deadline(ends, req.TimeOutExecution())


def expires_at(state: ExecutionState) -> datetime | None:
    """When the run, or the whole execution, has taken too long. Before its first task a run has its time still."""
    ends, run_ends = state.execution_expires_at, state.run_expires_at
    if ends is None or run_ends is None:
        return ends or run_ends
    return min(ends, run_ends)


def task_deadlines(state: ExecutionState) -> Iterator[Deadline]:
    """The end of a workflow task's backoff."""
    task = state.workflow_task
    if task is not None and task.not_before is not None:
        yield Deadline(task.not_before, req.RetryWorkflowTask())


def activity_deadlines(activity: ActivityState) -> Iterator[Deadline]:
    """What may end or begin the attempt as it stands."""
    scheduled_event_id, attempt = activity.scheduled.event_id, activity.attempt
    if activity.next_attempt_at is not None:
        again = req.RetryActivity(scheduled_event_id=scheduled_event_id, attempt=attempt)
        yield Deadline(activity.next_attempt_at, again)
    for kind in DEADLINES:
        at = deadline(activity, kind)
        if at is not None:
            late = req.TimeOutActivity(scheduled_event_id=scheduled_event_id, attempt=attempt, timeout_type=kind)
            yield Deadline(at, late)


def _of_timer(state: ExecutionState, event: ev.TimerStarted) -> Iterator[Deadline]:
    timer = state.timers.get(event.timer_id)
    if timer is not None:
        fire = req.FireTimer(timer_id=timer.timer_id, started_event_id=timer.started_event_id)
        yield Deadline(timer.fire_at, fire)


def _of_activity(state: ExecutionState, event: ev.ActivityTaskScheduled) -> Iterator[Deadline]:
    activity = state.activities.get(event.event_id)
    if activity is not None:
        yield from activity_deadlines(activity)


def _of_failed_task(state: ExecutionState, event: ev.WorkflowTaskFailed) -> Iterator[Deadline]:
    yield from task_deadlines(state)


def _of_unpaused(state: ExecutionState, event: ev.WorkflowExecutionUnpaused) -> Iterator[Deadline]:
    yield from deadlines_of(state)


DEADLINES_OF: dict[type[ev.Event], Callable[[ExecutionState, Any], Iterator[Deadline]]] = {
    ev.TimerStarted: _of_timer,
    ev.ActivityTaskScheduled: _of_activity,
    ev.WorkflowTaskFailed: _of_failed_task,
    ev.WorkflowExecutionUnpaused: _of_unpaused,
}
"""The deadlines that an event has brought, once it is applied; others bring none."""
