"""What comes from outside a workflow task: written at once, or buffered while a task is started.

Law: while a workflow task is started nothing else is written, so that the ids of its events stay true; on the flush,
events that close an activity or a child go after the others.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from perdure_proto import events as ev
from perdure_server.history import records as rec
from perdure_server.history.decision import Draft, OfferWorkflowTask
from perdure_server.history.kinds import CLOSES_ACTIVITY, CLOSES_CHILD


def arrive(draft: Draft, kind: type[ev.Event], **attributes: Any) -> None:
    """Records something that the workflow must hear of, and makes a workflow task due."""
    if draft.state.is_buffering:
        buffer(draft, kind, **attributes)
        return
    draft.add(kind, **attributes)
    need_task(draft)


def buffer(draft: Draft, kind: type[ev.Event], **attributes: Any) -> None:
    """Keeps an event for the end of the started task; it gets its id and time then."""
    attributes.pop("at", None)
    event: Any = kind(event_id=0, event_time=draft.now, **attributes)
    draft.records.append(rec.EventBuffered(event=event))


def need_task(draft: Draft) -> None:
    """Schedules a workflow task where none is due; one that was only speculative gets its event.

    While the first task waits for its backoff nothing brings it forward, as in Temporal.
    """
    task = draft.state.workflow_task
    if task is None and not draft.state.previous_started_event_id:
        return
    speculative = task is not None and task.kind == "speculative" and task.started is None
    if draft.has_task and not speculative:
        return
    schedule_task(draft)


def schedule_task(draft: Draft, attempt: int = 1) -> None:
    """Writes WorkflowTaskScheduled and offers the task."""
    started = draft.state.started
    draft.add(
        ev.WorkflowTaskScheduled,
        task_queue=started.task_queue,
        start_to_close_timeout=started.workflow_task_timeout,
        attempt=attempt,
    )
    draft.has_task = True
    draft.effects.append(OfferWorkflowTask())


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
        if isinstance(event, (ev.ActivityTaskStarted, *CLOSES_ACTIVITY, *CLOSES_CHILD)):
            late.append(event)
        elif isinstance(event, ev.ChildWorkflowExecutionStarted):
            started[event.initiated_event_id] = draft.place(event).event_id
        elif not (isinstance(event, ev.TimerFired) and event.timer_id in cancelled_timers):
            draft.place(event)
    _place_closings(draft, late, started)
    draft.records.append(rec.BufferFlushed())
    return len(draft.events) > placed_before


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
