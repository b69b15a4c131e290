"""What must hold for every history, as a list of named violations; and whether two states say the same.

One table of checks. Each reads a whole history and knows nothing of how it came about, so that simulation, tests and an
operator can ask it of any run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import Struct

from perdure_proto import events as ev
from perdure_proto.codec import encoder
from perdure_server.history.kinds import ANSWERS_MESSAGE, CLOSES_ACTIVITY, CLOSES_CHILD
from perdure_server.history.state import ActivityOptions, ActivityState, ExecutionState

History = Sequence[ev.AnyEvent]

_ASKS = (ev.SignalExternalWorkflowExecutionInitiated, ev.RequestCancelExternalWorkflowExecutionInitiated)
_ENDS_TASK = (ev.WorkflowTaskCompleted, ev.WorkflowTaskFailed, ev.WorkflowTaskTimedOut)


class Violation(Struct, frozen=True):
    """A law that a history breaks, at an event."""

    law: str
    event_id: int
    message: str


def violations(history: History) -> list[Violation]:
    """All laws that a history breaks; none for a good one."""
    found: list[Violation] = []
    for law, check in CHECKS.items():
        found.extend(Violation(law, event_id, message) for event_id, message in check(history))
    return found


Found = Iterator[tuple[int, str]]


def _ids(history: History) -> Found:
    for expected, event in enumerate(history, 1):
        if event.event_id != expected:
            yield event.event_id, f"expected event {expected}"
            return


def _times(history: History) -> Found:
    for before, event in pairwise(history):
        if event.event_time < before.event_time:
            yield event.event_id, f"{event.event_time} is before {before.event_time}"


def _begin(history: History) -> Found:
    for event in history[:1]:
        if not isinstance(event, ev.WorkflowExecutionStarted):
            yield event.event_id, f"a history begins with {event.event_type}"
    for event in history[1:]:
        if isinstance(event, ev.WorkflowExecutionStarted):
            yield event.event_id, "a run begins twice"


def _end(history: History) -> Found:
    for event in history[:-1]:
        if isinstance(event, ev.CLOSING_EVENTS):
            yield event.event_id, f"something follows {event.event_type}"


def _workflow_tasks(history: History) -> Found:
    """Scheduled, Started, end: one at a time, and nothing between Started and its end."""
    scheduled = started = 0
    for event in history:
        if started and not isinstance(event, _ENDS_TASK):
            yield event.event_id, f"{event.event_type} came while the task started by event {started} had not ended"
            started = 0
        if isinstance(event, ev.WorkflowTaskScheduled):
            if scheduled:
                yield event.event_id, f"the task scheduled by event {scheduled} has not ended"
            scheduled = event.event_id
        elif isinstance(event, ev.WorkflowTaskStarted):
            if event.scheduled_event_id != scheduled:
                yield event.event_id, f"starts {event.scheduled_event_id}, the open task is {scheduled}"
            started = event.event_id
        elif isinstance(event, _ENDS_TASK):
            if (event.scheduled_event_id, event.started_event_id) != (scheduled, started):
                yield event.event_id, f"ends {event.scheduled_event_id}, the open task is {scheduled}"
            scheduled = started = 0


def _activities(history: History) -> Found:
    pending: dict[int, str] = {}
    started: dict[int, int] = {}
    for event in history:
        if isinstance(event, ev.ActivityTaskScheduled):
            if event.activity_id in pending.values():
                yield event.event_id, f"activity id {event.activity_id!r} is pending already"
            pending[event.event_id] = event.activity_id
        elif isinstance(event, ev.ActivityTaskStarted | ev.ActivityTaskCancelRequested):
            if event.scheduled_event_id not in pending:
                yield event.event_id, f"activity {event.scheduled_event_id} is not pending"
            if isinstance(event, ev.ActivityTaskStarted):
                started[event.scheduled_event_id] = event.event_id
        elif isinstance(event, CLOSES_ACTIVITY):
            if pending.pop(event.scheduled_event_id, None) is None:
                yield event.event_id, f"activity {event.scheduled_event_id} is not pending"
            began = started.pop(event.scheduled_event_id, 0)
            must_have_begun = isinstance(event, ev.ActivityTaskCompleted | ev.ActivityTaskFailed)
            if event.started_event_id != began or (must_have_begun and not began):
                yield event.event_id, f"says it was started by event {event.started_event_id}, the log says {began}"


def _timers(history: History) -> Found:
    running: dict[str, tuple[int, datetime]] = {}
    for event in history:
        if isinstance(event, ev.TimerStarted):
            if event.timer_id in running:
                yield event.event_id, f"timer {event.timer_id!r} is running already"
            running[event.timer_id] = event.event_id, event.event_time + event.start_to_fire_timeout
        elif isinstance(event, ev.TimerFired | ev.TimerCanceled):
            started, fire_at = running.pop(event.timer_id, (0, event.event_time))
            if not started or started != event.started_event_id:
                yield event.event_id, f"timer {event.timer_id!r} of event {event.started_event_id} is not running"
            if isinstance(event, ev.TimerFired) and event.event_time < fire_at:
                yield event.event_id, f"timer {event.timer_id!r} fired before {fire_at}"


def _children(history: History) -> Found:
    """A child is started once or not at all, and closes once, after it was started."""
    wanted: dict[int, int] = {}
    for event in history:
        if isinstance(event, ev.StartChildWorkflowExecutionInitiated):
            wanted[event.event_id] = 0
        elif isinstance(event, ev.ChildWorkflowExecutionStarted):
            if wanted.get(event.initiated_event_id) != 0:
                yield event.event_id, f"child {event.initiated_event_id} is not waiting to start"
            wanted[event.initiated_event_id] = event.event_id
        elif isinstance(event, ev.StartChildWorkflowExecutionFailed):
            if wanted.pop(event.initiated_event_id, -1) != 0:
                yield event.event_id, f"child {event.initiated_event_id} is not waiting to start"
        elif isinstance(event, CLOSES_CHILD):
            began = wanted.pop(event.initiated_event_id, 0)
            if not began or event.started_event_id != began:
                yield event.event_id, f"says it was started by event {event.started_event_id}, the log says {began}"


def _messages(history: History) -> Found:
    """A message to another execution has one answer."""
    open_: set[int] = set()
    for event in history:
        if isinstance(event, _ASKS):
            open_.add(event.event_id)
        elif isinstance(event, ANSWERS_MESSAGE):
            if event.initiated_event_id not in open_:
                yield event.event_id, f"message {event.initiated_event_id} is not waiting for an answer"
            open_.discard(event.initiated_event_id)


def _updates(history: History) -> Found:
    accepted: dict[str, int] = {}
    completed: set[str] = set()
    for event in history:
        if isinstance(event, ev.WorkflowExecutionUpdateAccepted):
            if event.update_id in accepted:
                yield event.event_id, f"update {event.update_id!r} is accepted twice"
            accepted[event.update_id] = event.event_id
        elif isinstance(event, ev.WorkflowExecutionUpdateCompleted):
            if accepted.get(event.update_id) != event.accepted_event_id:
                yield event.event_id, f"update {event.update_id!r} was not accepted by event {event.accepted_event_id}"
            if event.update_id in completed:
                yield event.event_id, f"update {event.update_id!r} is completed twice"
            completed.add(event.update_id)


CAUSES: dict[str, tuple[type[ev.Event], ...]] = {
    "workflow_task_completed_event_id": (ev.WorkflowTaskCompleted,),
    "initiated_event_id": (
        ev.StartChildWorkflowExecutionInitiated,
        ev.SignalExternalWorkflowExecutionInitiated,
        ev.RequestCancelExternalWorkflowExecutionInitiated,
    ),
    "accepted_event_id": (ev.WorkflowExecutionUpdateAccepted,),
    "latest_cancel_requested_event_id": (ev.ActivityTaskCancelRequested,),
    "scheduled_event_id": (ev.WorkflowTaskScheduled, ev.ActivityTaskScheduled),
    "started_event_id": (
        ev.WorkflowTaskStarted,
        ev.ActivityTaskStarted,
        ev.TimerStarted,
        ev.ChildWorkflowExecutionStarted,
    ),
}
"""The types of event that each causal attribute may name."""


def _causes(history: History) -> Found:
    kinds = {event.event_id: type(event) for event in history}
    for event in history:
        for attribute, types in CAUSES.items():
            cause = getattr(event, attribute, 0)
            if cause and (cause >= event.event_id or kinds.get(cause) not in types):
                yield event.event_id, f"{attribute} names event {cause}, which is no {types[0].__name__} before it"


def _requests(history: History) -> Found:
    """A request is answered once: its id stands at one event only."""
    messages = (ev.WorkflowExecutionSignaled, ev.WorkflowExecutionCancelRequested)
    counted = Counter(event.request_id for event in history if isinstance(event, messages) and event.request_id)
    for request_id, times in counted.items():
        if times > 1:
            yield 0, f"request {request_id!r} is recorded {times} times"


def _cancels(history: History) -> Found:
    asked = [event.event_id for event in history if isinstance(event, ev.WorkflowExecutionCancelRequested)]
    for event_id in asked[1:]:
        yield event_id, "a cancel request is recorded twice"


CHECKS: dict[str, Callable[[History], Found]] = {
    "ids are 1, 2, 3": _ids,
    "times never go backwards": _times,
    "a run begins once, first": _begin,
    "nothing follows the close": _end,
    "one workflow task at a time": _workflow_tasks,
    "an activity closes once, after it was scheduled": _activities,
    "a timer ends once and never early": _timers,
    "a child starts and closes once": _children,
    "a message to another execution is answered once": _messages,
    "an update is accepted, then completed, once": _updates,
    "causes are earlier events of the right type": _causes,
    "a request is recorded once": _requests,
    "the workflow hears of one cancel request": _cancels,
}
"""Each law and what finds its violations."""


def same_state(left: ExecutionState, right: ExecutionState) -> list[str]:
    """The fields in which two states differ, but for what only memory knows. Changes neither."""
    differing = [
        name
        for name in left.__struct_fields__
        if name not in _MEMORY and not _alike(getattr(left, name), getattr(right, name))
    ]
    if _lasting_activities(left) != _lasting_activities(right):
        differing.append("activities")
    if _lasting_task(left) != _lasting_task(right):
        differing.append("workflow_task")
    return differing


_MEMORY = frozenset({"admitted", "refusals", "activities", "workflow_task"})
"""Fields of memory alone, and those of which a part is."""


def _alike(one: object, other: object) -> bool:
    """Whether two values say the same once written. Most are the same to the byte; others may differ in their order."""
    written, rewritten = encoder.encode(one), encoder.encode(other)
    return written == rewritten or bool(msgspec.json.decode(written) == msgspec.json.decode(rewritten))


def _lasting_activities(state: ExecutionState) -> dict[int, dict[str, Any]]:
    """What the log and the rows beside it say of activities too, in a form that can be compared."""
    return {event_id: _lasting_activity(each) for event_id, each in state.activities.items()}


def _lasting_activity(activity: ActivityState) -> dict[str, Any]:
    """A start counts once its row is written, and the end of a backoff never: it comes from the clock."""
    is_kept = activity.started_at is not None and activity.row_started_at == activity.started_at
    return {
        "scheduled_event_id": activity.scheduled.event_id,
        "cancel_requested_event_id": activity.cancel_requested_event_id,
        "closing": activity.closing,
        "transactional": activity.transactional,
        "frozen": activity.frozen,
        "paused": activity.paused,
        "options": [getattr(activity.scheduled, name) for name in ActivityOptions.__struct_fields__],
        "reset_pending": activity.reset_pending,
        "attempt_frozen": activity.attempt_frozen if is_kept else None,
        "attempt": activity.attempt,
        "attempt_scheduled_at": activity.attempt_scheduled_at,
        "started_at": activity.started_at if is_kept else None,
        "session": activity.session if is_kept else "",
        "heartbeat_at": activity.heartbeat_at if is_kept else None,
        "heartbeat_details": bytes(activity.heartbeat_details),
        "heartbeat_encoding": activity.heartbeat_encoding,
        "last_failure": activity.last_failure,
    }


def _lasting_task(state: ExecutionState) -> dict[str, Any] | None:
    """A speculative task is nowhere but in memory, and of a transient one only its first failure is recorded."""
    task = state.workflow_task
    if task is None or task.kind == "speculative":
        return None
    is_logged = task.kind == "logged"
    return {
        "kind": task.kind,
        "scheduled_event_id": task.scheduled_event_id,
        "attempt": task.attempt if is_logged else 0,
        "scheduled_at": task.scheduled_at,
    }
