"""Cutting a history into activations."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure_proto import events as ev
from perdure_proto.events import AnyEvent
from perdure_worker.replay import Activation, HistoryGapError, HistoryReader

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
STARTED = (ev.WorkflowExecutionStarted, dict.fromkeys(("original_execution_run_id", "first_execution_run_id"), "r"))
SIGNALED = (ev.WorkflowExecutionSignaled, {"signal_name": "s"})
TIMER = (
    ev.TimerStarted,
    {"timer_id": "1", "start_to_fire_timeout": timedelta(1), "workflow_task_completed_event_id": 0},
)
SCHEDULED = (ev.WorkflowTaskScheduled, {"task_queue": "q"})
TASK = (ev.WorkflowTaskStarted, {"scheduled_event_id": 2})
COMPLETED = (ev.WorkflowTaskCompleted, {"scheduled_event_id": 2, "started_event_id": 3})
FAILED = (ev.WorkflowTaskFailed, {"scheduled_event_id": 2, "started_event_id": 3})
RESET = (ev.WorkflowTaskFailed, {**FAILED[1], "cause": "RESET_WORKFLOW", "new_run_id": "new"})


def history(*kinds: tuple[Any, dict[str, Any]], first: int = 1) -> list[AnyEvent]:
    extra = {"workflow_type": "w", "task_queue": "q"}
    return [
        kind(
            event_id=number,
            event_time=EPOCH + timedelta(seconds=number),
            **fields,
            **(extra if kind is ev.WorkflowExecutionStarted else {}),
        )
        for number, (kind, fields) in enumerate(kinds, first)
    ]


def ids(events: list[AnyEvent] | None) -> list[int] | None:
    return None if events is None else [event.event_id for event in events]


def turns(reader: HistoryReader, events: list[AnyEvent], *, live: bool) -> list[Any]:
    return [
        (step.started_event_id, ids(step.news), ids(step.recorded)) if isinstance(step, Activation) else ids(step)
        for step in reader.read(events, live=live)
    ]


def test_a_whole_history_is_replayed_and_then_goes_live() -> None:
    """Completed tasks bring what their commands became; the last one is new."""
    events = history(STARTED, SCHEDULED, TASK, COMPLETED, TIMER, SIGNALED, SCHEDULED, TASK)
    assert [(3, [1], [5]), (8, [6], None)] == turns(HistoryReader(), events, live=True)


def test_the_events_of_the_last_commands_come_first_when_only_news_are_fed() -> None:
    """A cached run is told what its commands became, an empty list included."""
    reader = HistoryReader()
    assert [(3, [1], None)] == turns(reader, history(STARTED, SCHEDULED, TASK), live=True)
    assert [[5], (7, [], None)] == turns(reader, history(COMPLETED, TIMER, SCHEDULED, TASK, first=4), live=True)
    assert [[], (11, [9], None)] == turns(reader, history(COMPLETED, SIGNALED, SCHEDULED, TASK, first=8), live=True)


@pytest.mark.parametrize("failed", [FAILED, (ev.WorkflowTaskTimedOut, {"scheduled_event_id": 2})])
def test_a_task_that_failed_is_no_activation(failed: tuple[Any, dict[str, Any]]) -> None:
    """What it brought belongs to the next, together with what came since."""
    events = history(STARTED, SCHEDULED, TASK, failed, SIGNALED, SCHEDULED, TASK, COMPLETED)
    assert [(7, [1, 5], [])] == turns(HistoryReader(), events, live=False)


def test_a_reset_seeds_chance_anew() -> None:
    """The activation after a reset carries the id of the new run."""
    (turn,) = HistoryReader().read(history(STARTED, SCHEDULED, TASK, RESET, SCHEDULED, TASK), live=True)
    assert isinstance(turn, Activation)
    assert "new" == turn.reseed


def test_without_a_live_task_the_rest_is_left_unread() -> None:
    """A query sees the last completed task; what came since is read with the next one."""
    reader = HistoryReader()
    events = history(STARTED, SCHEDULED, TASK, COMPLETED, TIMER, SIGNALED, SCHEDULED)
    assert [(3, [1], [5])] == turns(reader, events, live=False)
    assert 6 == reader.next_event_id
    assert [(8, [6], None)] == turns(reader, [*events, *history(TASK, first=8)][3:], live=True)


def test_a_live_task_that_is_not_in_the_log_can_be_put_back() -> None:
    """Its ids are used again by the next."""
    reader = HistoryReader()
    turns(reader, history(STARTED, SCHEDULED, TASK), live=True)
    steps = list(reader.read(history(COMPLETED, SCHEDULED, (TASK[0], {"scheduled_event_id": 5}), first=4), live=True))
    assert isinstance(steps[1], Activation)
    reader.unread(steps[1])
    again = history(COMPLETED, SIGNALED, SCHEDULED, TASK, first=4)
    assert [(7, [5], None)] == turns(reader, again, live=True)


def test_a_missing_event_is_refused() -> None:
    """Whoever left it out has to begin anew."""
    with pytest.raises(HistoryGapError, match="event 1 is missing: the next one is 2"):
        turns(HistoryReader(), history(SCHEDULED, TASK, first=2), live=True)
