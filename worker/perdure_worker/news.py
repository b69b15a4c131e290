"""What each kind of event that arrives does to the workflow: the table of news.

Nothing runs here: futures are settled, handlers and cancellation put into the loop's queue. What is not in the table
cannot arrive in this version. It must not know when the loop runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from perdure_proto import events as ev
from perdure_proto.events import AnyEvent, Event
from perdure_worker.replay.machines.table import IllegalTransitionError
from perdure_worker.replay.others import Answer, ChildClosed
from perdure_worker.workflow_calls import Parts


def apply(parts: Parts, event: AnyEvent) -> None:
    """Tells the workflow of one event."""
    _TABLE.get(type(event), _refuse)(parts, event)


def _signal(parts: Parts, event: ev.WorkflowExecutionSignaled) -> None:
    parts.signals.deliver(event)


def _request_cancel(parts: Parts, event: ev.WorkflowExecutionCancelRequested) -> None:
    """Delivered once, whatever is asked again."""
    run = parts.run
    if not run.cancel_requested:
        run.cancel_requested, run.cancel_reason = True, event.cause
        assert run.main is not None
        run.main.cancel()


def _fire_timer(parts: Parts, event: ev.TimerFired) -> None:
    timer = parts.run.execution.fire(event)
    if timer is not None:
        parts.timers.fire(timer)


def _close_activity(parts: Parts, event: AnyEvent) -> None:
    parts.activities.close(event)


def _begin_child(parts: Parts, event: ev.ChildWorkflowExecutionStarted) -> None:
    parts.children.begin(event)


def _refuse_child(parts: Parts, event: ev.StartChildWorkflowExecutionFailed) -> None:
    parts.children.refuse(event)


def _close_child(parts: Parts, event: ChildClosed) -> None:
    parts.children.close(event)


def _answer(parts: Parts, event: Answer) -> None:
    parts.external.answer(event)


def _refuse(_: Parts, event: AnyEvent) -> None:
    raise IllegalTransitionError(f"event {event.event_id}, {event.event_type}, is not in this version of perdure")


# Any: each function takes the one event type under which it stands.
_TABLE: Final[Mapping[type[Event], Callable[[Parts, Any], None]]] = MappingProxyType(
    {
        ev.WorkflowExecutionSignaled: _signal,
        ev.WorkflowExecutionCancelRequested: _request_cancel,
        ev.TimerFired: _fire_timer,
        ev.ActivityTaskCompleted: _close_activity,
        ev.ActivityTaskFailed: _close_activity,
        ev.ActivityTaskTimedOut: _close_activity,
        ev.ActivityTaskCanceled: _close_activity,
        ev.ChildWorkflowExecutionStarted: _begin_child,
        ev.StartChildWorkflowExecutionFailed: _refuse_child,
        ev.ChildWorkflowExecutionCompleted: _close_child,
        ev.ChildWorkflowExecutionFailed: _close_child,
        ev.ChildWorkflowExecutionCanceled: _close_child,
        ev.ChildWorkflowExecutionTimedOut: _close_child,
        ev.ChildWorkflowExecutionTerminated: _close_child,
        ev.ExternalWorkflowExecutionSignaled: _answer,
        ev.SignalExternalWorkflowExecutionFailed: _answer,
        ev.ExternalWorkflowExecutionCancelRequested: _answer,
        ev.RequestCancelExternalWorkflowExecutionFailed: _answer,
    }
)
