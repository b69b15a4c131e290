"""Whether a family of executions has come to rest, read from their histories alone.

It is at rest when nothing is left to happen but long timers and messages from outside. What is not at rest is named by
the run whose next event will tell more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from msgspec import Struct

from perdure_proto import events as ev
from perdure_proto.events import AnyEvent
from tests.differential.plans import LONG_SECONDS

LONG: Final = timedelta(seconds=LONG_SECONDS)

TASK_ENDS: Final = (ev.WorkflowTaskCompleted, ev.WorkflowTaskFailed, ev.WorkflowTaskTimedOut)
ACTIVITY_ENDS: Final = (
    ev.ActivityTaskCompleted,
    ev.ActivityTaskFailed,
    ev.ActivityTaskTimedOut,
    ev.ActivityTaskCanceled,
)
TIMER_ENDS: Final = (ev.TimerFired, ev.TimerCanceled)
CHILD_ENDS: Final = (
    ev.ChildWorkflowExecutionCompleted,
    ev.ChildWorkflowExecutionFailed,
    ev.ChildWorkflowExecutionCanceled,
    ev.ChildWorkflowExecutionTimedOut,
    ev.ChildWorkflowExecutionTerminated,
)
EXTERNAL_BEGINS: Final = (
    ev.SignalExternalWorkflowExecutionInitiated,
    ev.RequestCancelExternalWorkflowExecutionInitiated,
)
EXTERNAL_ENDS: Final = (
    ev.ExternalWorkflowExecutionSignaled,
    ev.SignalExternalWorkflowExecutionFailed,
    ev.ExternalWorkflowExecutionCancelRequested,
    ev.RequestCancelExternalWorkflowExecutionFailed,
)


class Run(Struct, kw_only=True):
    """One run as far as it was read."""

    workflow_id: str
    run_id: str
    events: list[AnyEvent] = []

    @property
    def is_closed(self) -> bool:
        return bool(self.events) and isinstance(self.events[-1], ev.CLOSING_EVENTS)

    @property
    def next_run_id(self) -> str:
        """The next of its chain, if it has one."""
        return getattr(self.events[-1], "new_execution_run_id", "") if self.is_closed else ""


class Awaited(Struct, frozen=True):
    """A run whose next event is to come, and why."""

    run: Run
    why: str


def awaited(runs: Sequence[Run]) -> Iterator[Awaited]:
    """All that is not at rest."""
    by_id = {run.run_id: run for run in runs}
    for run in runs:
        if run.is_closed:
            yield from _of_children_left(run, by_id)
        else:
            yield from (Awaited(run, why) for why in _of_open(run, by_id))


def _of_open(run: Run, by_id: dict[str, Run]) -> Iterator[str]:
    if not run.events:
        yield "its first events"
    pausing = [one for one in run.events if isinstance(one, ev.WorkflowExecutionPaused | ev.WorkflowExecutionUnpaused)]
    if not (pausing and isinstance(pausing[-1], ev.WorkflowExecutionPaused)):
        yield from _of_work(run)
    messages = _open(run, EXTERNAL_BEGINS, EXTERNAL_ENDS, "initiated_event_id")
    yield from (f"the answer to message {event_id}" for event_id in messages)
    answered = {one.initiated_event_id for one in _children(run)}
    failed = _open(run, (ev.StartChildWorkflowExecutionInitiated,), (ev.StartChildWorkflowExecutionFailed,))
    yield from (f"the start of child {event_id}" for event_id in failed if event_id not in answered)
    for child in _children_open(run):
        if end_of(child.run_id, by_id).is_closed:
            yield f"the news of child {child.workflow_id}"


def _of_work(run: Run) -> Iterator[str]:
    """What a paused one does not do."""
    tasks = _open(run, (ev.WorkflowTaskScheduled,), TASK_ENDS, "scheduled_event_id")
    yield from (f"workflow task {event_id}" for event_id in tasks)
    activities = _open(run, (ev.ActivityTaskScheduled,), ACTIVITY_ENDS, "scheduled_event_id")
    yield from (f"activity {event_id}" for event_id in activities)
    for event_id in _open(run, (ev.TimerStarted,), TIMER_ENDS, "started_event_id"):
        timer = run.events[event_id - 1]
        assert isinstance(timer, ev.TimerStarted)
        if timer.start_to_fire_timeout < LONG:
            yield f"timer {event_id}"


def _of_children_left(run: Run, by_id: dict[str, Run]) -> Iterator[Awaited]:
    """A closed parent's children end, or are asked to, as their policy says."""
    closed = run.events[-1]
    kept = closed.reset_event_id if isinstance(closed, ev.WorkflowExecutionTerminated) and closed.reset_run_id else 0
    for child in _children_open(run):
        initiated = run.events[child.initiated_event_id - 1]
        assert isinstance(initiated, ev.StartChildWorkflowExecutionInitiated)
        last = end_of(child.run_id, by_id)
        is_asked = any(isinstance(one, ev.WorkflowExecutionCancelRequested) for one in last.events)
        policy = "abandon" if initiated.event_id <= kept else initiated.parent_close_policy
        if not last.is_closed and (policy == "terminate" or (policy == "request_cancel" and not is_asked)):
            yield Awaited(last, f"its end, since {run.workflow_id} is closed")


def end_of(run_id: str, by_id: dict[str, Run]) -> Run:
    """The last run of a chain that is known."""
    run = by_id.get(run_id) or Run(workflow_id="", run_id=run_id)
    while run.next_run_id in by_id:
        run = by_id[run.next_run_id]
    return run


def _children(run: Run) -> list[ev.ChildWorkflowExecutionStarted]:
    return [one for one in run.events if isinstance(one, ev.ChildWorkflowExecutionStarted)]


def _children_open(run: Run) -> list[ev.ChildWorkflowExecutionStarted]:
    """Those whose end the run has not been told."""
    ended = {one.initiated_event_id for one in run.events if isinstance(one, CHILD_ENDS)}
    return [one for one in _children(run) if one.initiated_event_id not in ended]


def _open(run: Run, begins: tuple[type, ...], ends: tuple[type, ...], by: str = "initiated_event_id") -> list[int]:
    """Ids of events of some kinds that no event of other kinds answers."""
    ended = {getattr(one, by) for one in run.events if isinstance(one, ends)}
    return [one.event_id for one in run.events if isinstance(one, begins) and one.event_id not in ended]
