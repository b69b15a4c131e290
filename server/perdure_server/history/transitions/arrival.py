"""What comes from outside a workflow task: written at once, or buffered while a task is started.

Law: while a workflow task is started nothing else is written, so that the ids of its events stay true; on the flush,
events that close an activity or a child go after the others.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from perdure_proto import events as ev
from perdure_server.history import records as rec
from perdure_server.history.decision import Draft, OfferActivity, OfferWorkflowTask
from perdure_server.history.kinds import CLOSES_ACTIVITY, CLOSES_CHILD
from perdure_server.history.state import ExecutionState

_CLOSE_LATE = frozenset({ev.ActivityTaskStarted, *CLOSES_ACTIVITY, *CLOSES_CHILD})
_NO_NEWS = (ev.WorkflowExecutionPaused, ev.WorkflowExecutionUnpaused)
"""What a workflow is not told of."""


def arrive(draft: Draft, kind: type[ev.Event], **attributes: Any) -> None:
    """Records something that the workflow must hear of, and makes a workflow task due."""
    if draft.state.is_buffering:
        buffer(draft, kind, **attributes)
        return
    draft.add(kind, **attributes)
    need_task(draft, ends_wait=kind is ev.WorkflowExecutionCancelRequested)


def buffer(draft: Draft, kind: type[ev.Event], **attributes: Any) -> None:
    """Keeps an event for the end of the started task; it gets its id and time then."""
    attributes.pop("at", None)
    event: Any = kind(event_id=0, event_time=draft.now, **attributes)
    draft.records.append(rec.EventBuffered(event=event))


def need_task(draft: Draft, *, ends_wait: bool = False) -> None:
    """Schedules a workflow task where none is due; one that was only speculative gets its event.

    Law: what comes ends a start delay. The waits of retries, of cron and of continue-as-new only a cancel request
    ends (`ends_wait`): the rest is for the run when its time has come, as in Temporal.
    """
    task = draft.state.workflow_task
    if not had_task(draft.state) and not (is_delayed(draft.state) or (ends_wait and is_waiting(draft.state))):
        return
    speculative = task is not None and task.kind == "speculative" and task.started is None and not draft.has_scheduled
    if draft.has_task and not speculative:
        return
    schedule_task(draft)


def had_task(state: ExecutionState) -> bool:
    """Whether a workflow task is due or was; a run that waits has none yet, a standalone activity never gets one."""
    return state.workflow_task is not None or bool(state.previous_started_event_id)


def is_waiting(state: ExecutionState) -> bool:
    """Whether the first workflow task is to come when a wait is over."""
    return bool(state.started.first_workflow_task_backoff) and not had_task(state)


def is_delayed(state: ExecutionState) -> bool:
    """Whether the first workflow task is still to come because the start asked for a delay."""
    return is_waiting(state) and not state.started.initiator


def is_asked_to_stop(state: ExecutionState) -> bool:
    """Whether a cancel request has come, be it written yet or not."""
    return cancel_reason(state) is not None


def cancel_reason(state: ExecutionState) -> str | None:
    """What the cancel request says, be it written yet or not; None where none has come."""
    if state.cancel_requested:
        return state.cancel_reason
    waiting = (event.cause for event in state.buffer if isinstance(event, ev.WorkflowExecutionCancelRequested))
    return next(waiting, None)


def schedule_task(draft: Draft, attempt: int = 1) -> None:
    """Writes WorkflowTaskScheduled and offers the task."""
    started = draft.state.started
    draft.add(
        ev.WorkflowTaskScheduled,
        task_queue=started.task_queue,
        start_to_close_timeout=started.workflow_task_timeout,
        attempt=attempt,
    )
    draft.has_task = draft.has_scheduled = True
    draft.effects.append(OfferWorkflowTask())


def resume(draft: Draft) -> None:
    """Offers what was held back by a pause. What is not due, or not there any more, is left out at the offer."""
    draft.effects.append(OfferWorkflowTask())
    draft.effects.extend(map(OfferActivity, draft.state.activities))


def flush(draft: Draft, cancelled_timers: Collection[str] = ()) -> bool:
    """Writes what was buffered, in order of arrival, what closes activities and children last. Says whether that was
    news.
    """
    waiting = draft.state.buffer
    if not waiting:
        return False
    late: list[ev.AnyEvent] = []
    started: dict[int, int] = {}
    placed_before = len(draft.events)
    for event in waiting:
        if isinstance(event, ev.WorkflowExecutionUnpaused):
            resume(draft)
        if type(event) in _CLOSE_LATE:
            late.append(event)
        elif isinstance(event, ev.ChildWorkflowExecutionStarted):
            started[event.initiated_event_id] = draft.place(event).event_id
        elif not (isinstance(event, ev.TimerFired) and event.timer_id in cancelled_timers):
            draft.place(event)
    _place_closings(draft, late, started)
    draft.records.append(rec.BufferFlushed())
    return any(not isinstance(event, _NO_NEWS) for event in draft.events[placed_before:])


def _place_closings(draft: Draft, late: list[ev.AnyEvent], started: dict[int, int]) -> None:
    """`started` has the ids that Started events got in this flush, by what scheduled or initiated them."""
    for event in late:
        if isinstance(event, ev.ActivityTaskStarted):
            started[event.scheduled_event_id] = draft.place(event).event_id
        elif isinstance(event, CLOSES_ACTIVITY):
            draft.place(event, started_event_id=started.get(event.scheduled_event_id, 0))
        elif isinstance(event, CLOSES_CHILD):
            started_event_id = event.started_event_id or started[event.initiated_event_id]
            draft.place(event, started_event_id=started_event_id)
