"""Each law of a history is found broken where it is, and a good history breaks none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec import structs

from perdure_proto import events as ev
from perdure_server.history.invariants import CHECKS, same_state, violations
from tests.runs import EPOCH, Run, started_event
from tests.transcripts.scenarios import SCENARIOS

History = list[ev.AnyEvent]


def drop(event_id: int) -> Callable[[History], History]:
    return lambda history: [event for event in history if event.event_id != event_id]


def repeat(kind: type[ev.Event]) -> Callable[[History], History]:
    """The first event of a kind stands at the end once more."""

    def change(history: History) -> History:
        found = next(event for event in history if isinstance(event, kind))
        again = structs.replace(found, event_id=len(history) + 1, event_time=history[-1].event_time)
        return [*history, again]

    return change


def early(kind: type[ev.Event]) -> Callable[[History], History]:
    return lambda history: [
        structs.replace(event, event_time=EPOCH) if isinstance(event, kind) else event for event in history
    ]


def wrong_cause(history: History) -> History:
    return [
        structs.replace(event, workflow_task_completed_event_id=1) if isinstance(event, ev.TimerStarted) else event
        for event in history
    ]


BROKEN: list[tuple[str, str, Callable[[History], History]]] = [
    ("ids are 1, 2, 3", "simple", drop(2)),
    ("times never go backwards", "simple", early(ev.WorkflowExecutionCompleted)),
    ("a run begins once, first", "simple", repeat(ev.WorkflowExecutionStarted)),
    ("nothing follows the close", "simple", repeat(ev.MarkerRecorded)),
    ("one workflow task at a time", "simple", repeat(ev.WorkflowTaskStarted)),
    ("an activity closes once, after it was scheduled", "simple", repeat(ev.ActivityTaskCompleted)),
    ("a timer ends once and never early", "timers", early(ev.TimerFired)),
    ("a timer ends once and never early", "timers", repeat(ev.TimerFired)),
    ("a child starts and closes once", "children", repeat(ev.ChildWorkflowExecutionStarted)),
    ("a child starts and closes once", "children", repeat(ev.ChildWorkflowExecutionCompleted)),
    ("a child starts and closes once", "child_not_started", repeat(ev.StartChildWorkflowExecutionFailed)),
    (
        "a message to another execution is answered once",
        "messages_to_others",
        repeat(ev.ExternalWorkflowExecutionSignaled),
    ),
    ("an update is accepted, then completed, once", "update_accepted", repeat(ev.WorkflowExecutionUpdateCompleted)),
    ("causes are earlier events of the right type", "timers", wrong_cause),
    ("a request is recorded once", "continue_as_new", repeat(ev.WorkflowExecutionSignaled)),
    ("the workflow hears of one cancel request", "buffer_in_order", repeat(ev.WorkflowExecutionCancelRequested)),
]


@pytest.mark.parametrize(("law", "name", "change"), BROKEN)
def test_a_broken_law_is_found(law: str, name: str, change: Callable[[History], History]) -> None:
    """A history that breaks a law is named with it."""
    history = SCENARIOS[name]().run.events
    assert law in {each.law for each in violations(change(history))}


def test_every_law_can_be_broken() -> None:
    """No law is there that nothing can break."""
    assert set(CHECKS) == {law for law, _, _ in BROKEN}


def test_states_that_differ_are_told_apart() -> None:
    """The names of the fields that differ are the answer."""
    other = Run([started_event(event_time=EPOCH + timedelta(seconds=1))])
    other.state.cancel_requested = True
    mine = Run([started_event(event_time=EPOCH + timedelta(seconds=1))])
    assert ["cancel_requested"] == same_state(mine.state, other.state)
