"""The clock of a run: it stands still while the run is paused, and then all that is timed comes so much later.

Law: what is timed while the clock stands is timed from the pause, so that one shift by the time paused is right for
all. Workflow tasks and deliveries to others have the clock of the world.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import structs

from perdure_proto.events import WorkflowExecutionPaused
from perdure_server.history.state import ActivityState, ExecutionState


def clock(state: ExecutionState, at: datetime) -> datetime:
    """An instant as the run's clock shows it. A pause that still waits in the buffer has not stopped it yet."""
    paused = state.paused
    return at if paused is None or not paused.event_id else min(at, paused.event_time)


def set_clocks(state: ExecutionState) -> None:
    """The deadlines of a run that begins."""
    started = state.started
    begins_at = started.event_time
    if started.first_workflow_task_backoff:
        begins_at = state.first_task_at = begins_at + started.first_workflow_task_backoff
    if started.workflow_run_timeout is not None:
        state.run_expires_at = begins_at + started.workflow_run_timeout
    state.execution_expires_at = started.workflow_execution_expiration_time


def restart_clocks(state: ExecutionState, at: datetime) -> None:
    """After a reset timeouts are counted anew, as in Temporal; a timer keeps its time."""
    started = state.started
    state.reset_at = at
    if started.workflow_run_timeout is not None:
        state.run_expires_at = at + started.workflow_run_timeout
    if started.workflow_execution_timeout is not None:
        state.execution_expires_at = at + started.workflow_execution_timeout
    for activity in state.activities.values():
        activity.attempt_scheduled_at = at
        activity.frozen = at - activity.scheduled.event_time


def freeze(state: ExecutionState, event: WorkflowExecutionPaused) -> None:
    """The run is paused."""
    state.paused = event
    state.status = "PAUSED"


def thaw(state: ExecutionState, paused_for: timedelta) -> None:
    """The run goes on: everything that is timed is put off by the time paused."""
    state.paused = None
    state.status = "RUNNING"
    state.first_task_at = _later(state.first_task_at, paused_for)
    state.run_expires_at = _later(state.run_expires_at, paused_for)
    state.execution_expires_at = _later(state.execution_expires_at, paused_for)
    for timer_id, timer in state.timers.items():
        state.timers[timer_id] = structs.replace(timer, fire_at=timer.fire_at + paused_for)
    for activity in state.activities.values():
        _put_off(activity, paused_for)


def _put_off(activity: ActivityState, paused_for: timedelta) -> None:
    activity.frozen += paused_for
    activity.attempt_frozen += paused_for
    activity.attempt_scheduled_at = _later(activity.attempt_scheduled_at, paused_for)
    activity.next_attempt_at = _later(activity.next_attempt_at, paused_for)
    activity.heartbeat_at = _later(activity.heartbeat_at, paused_for)


def _later(at: datetime | None, paused_for: timedelta) -> datetime | None:
    return None if at is None else at + paused_for
