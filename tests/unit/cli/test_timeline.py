"""A history reads as a timeline, and a failure as a traceback."""

import io
from datetime import timedelta

import pytest
from msgspec import Raw
from rich.console import Console, RenderableType

from perdure.cli.failure_text import failure_line, failure_text
from perdure.cli.timeline import Timeline, since
from perdure_proto.events import ActivityTaskScheduled, AnyEvent
from perdure_proto.failures import (
    ActivityFailure,
    AnyFailureInfo,
    ApplicationFailure,
    CanceledFailure,
    ChildWorkflowFailure,
    Failure,
    ServerFailure,
    TerminatedFailure,
    TimeoutFailure,
)
from tests.unit.cli.histories import DECLINED, at, order_history


def printed(shown: RenderableType, width: int = 300) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(shown)
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def lines(events: list[AnyEvent]) -> list[str]:
    timeline = Timeline()
    return [" ".join(printed(timeline.line(event)).split()) for event in events]


def test_a_timeline_tells_what_happened() -> None:
    """Each event has its number, the time since the start, its type, and what it is about."""
    told = lines(order_history())
    assert [
        '1 +0.000s WorkflowExecutionStarted order("Ada", **{"gift":true}) task_queue=default',
        '2 +0.010s ActivityTaskScheduled greet("Ada") start_to_close_timeout=1m30s',
        "3 +0.020s ActivityTaskStarted greet",
        '4 +0.030s ActivityTaskCompleted greet → "Hello, Ada!"',
        "5 +0.040s ActivityTaskScheduled charge()",
    ] == told[:5]
    assert [
        "7 +0.060s TimerStarted timer 1 start_to_fire_timeout=2s",
        "8 +2.060s TimerFired timer 1",
        "9 +3.000s WorkflowExecutionSignaled approve(true)",
        "10 +3.100s WorkflowExecutionCompleted → null",
    ] == told[6:]


def test_a_failure_is_shown_below_its_event() -> None:
    """A failed activity names itself and how its retries ended, and its traceback follows."""
    told = lines(order_history())[5]
    assert told.startswith("6 +0.050s ActivityTaskFailed charge retry_state=MAXIMUM_ATTEMPTS_REACHED Traceback")
    assert told.endswith("ActivityError: activity charge failed")


def test_an_opaque_value_is_only_named() -> None:
    """Arguments that a codec made opaque are not printed."""
    event = ActivityTaskScheduled(
        event_id=1,
        event_time=at(0),
        activity_id="1",
        activity_type="greet",
        input=Raw(b'"c2VjcmV0"'),
        encoding="aes",
        workflow_task_completed_event_id=1,
    )
    assert "greet(<aes>)" in lines([event])[0]


def test_columns_stand_below_each_other() -> None:
    """Lines printed one by one begin their details at the same place, wrapped ones too."""
    timeline = Timeline()
    shown = "".join(printed(timeline.line(event), width=72) for event in order_history()[:2])
    assert {52} == {len(line) - len(line[52:].lstrip()) for line in shown.splitlines() if line[52:].strip()}


@pytest.mark.parametrize(("text", "seconds"), [("+0.000s", 0), ("+99.999s", 99.999), ("+1m40s", 100), ("+3h", 10800)])
def test_times_count_from_the_start(text: str, seconds: float) -> None:
    """Short times are exact, long ones are readable."""
    assert text == since(timedelta(seconds=seconds))


def test_a_failure_is_a_traceback() -> None:
    """Causes come first, as Python prints them, with the details of the error."""
    assert (
        "Traceback (most recent call last):\n"
        '  File "shop.py", line 3, in charge\n'
        '    raise CardError("card declined")\n'
        "CardError: card declined\n"
        '  details: ["4242"]\n\n'
        "The above exception was the direct cause of the following exception:\n\n"
        "ActivityError: activity charge failed"
    ) == failure_text(DECLINED)


def test_a_traceback_that_is_whole_is_left_as_it_is() -> None:
    """A stack trace that ends with the exception's line does not get another."""
    trace = "Traceback (most recent call last):\n  File x\nValueError: no"
    assert trace == failure_text(Failure(message="no", info=ApplicationFailure(type="ValueError"), stack_trace=trace))


def test_a_failure_is_one_line() -> None:
    """The chain reads from the outermost to its root."""
    assert "ActivityError: activity charge failed ← CardError: card declined" == failure_line(DECLINED)


@pytest.mark.parametrize(
    ("name", "info"),
    [
        ("CardError", ApplicationFailure(type="CardError")),
        ("ApplicationError", ApplicationFailure()),
        ("TimeoutError: HEARTBEAT", TimeoutFailure(timeout_type="HEARTBEAT")),
        ("CancelledError", CanceledFailure()),
        ("TerminatedError", TerminatedFailure()),
        ("WORKER_LOST", ServerFailure(code="WORKER_LOST")),
        (
            "ActivityError: activity pay failed (TIMEOUT)",
            ActivityFailure(scheduled_event_id=1, activity_type="pay", retry_state="TIMEOUT"),
        ),
        (
            "ChildWorkflowError: child workflow pay failed (TIMEOUT)",
            ChildWorkflowFailure(workflow_type="pay", retry_state="TIMEOUT"),
        ),
    ],
)
def test_each_kind_of_failure_has_a_name(name: str, info: AnyFailureInfo) -> None:
    """A failure without a message says at least what it is."""
    assert name == failure_line(Failure(info=info))
