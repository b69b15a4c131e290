"""A standalone activity: a run with one activity and no workflow, so that it is kept, listed, awaited like any other.

Law: its run closes in the append that closes the activity. It has no workflow task, ever.
"""

from __future__ import annotations

from typing import Any

from msgspec import structs

from perdure_proto import events as ev
from perdure_server.history.decision import Draft

SCHEDULED_EVENT_ID = 2
"""The activity of a standalone run is scheduled right after its start."""


def opening(started: ev.WorkflowExecutionStarted, activity: ev.ActivityTaskScheduled) -> list[ev.AnyEvent]:
    """The events that open a run of this activity."""
    return [started, structs.replace(activity, event_id=SCHEDULED_EVENT_ID, event_time=started.event_time)]


def close_with(draft: Draft, closed: ev.Event) -> None:
    """Writes the end of the run whose only activity ended so."""
    kind, names = _ENDS[type(closed)]
    attributes: dict[str, Any] = {name: getattr(closed, name) for name in names}
    if kind is not ev.WorkflowExecutionTimedOut:
        attributes["workflow_task_completed_event_id"] = 0
    draft.add(kind, **attributes)


_ENDS: dict[type[ev.Event], tuple[type[ev.Event], tuple[str, ...]]] = {
    ev.ActivityTaskCompleted: (ev.WorkflowExecutionCompleted, ("result", "encoding")),
    ev.ActivityTaskFailed: (ev.WorkflowExecutionFailed, ("failure", "retry_state")),
    ev.ActivityTaskTimedOut: (ev.WorkflowExecutionTimedOut, ("failure", "retry_state")),
    ev.ActivityTaskCanceled: (ev.WorkflowExecutionCanceled, ("details", "encoding")),
}
"""How a run ends with its activity."""
