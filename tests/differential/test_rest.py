"""What a family of executions still waits for, told from its histories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import Raw

from perdure_proto import events as ev
from perdure_proto.events import AnyEvent
from tests.differential.plans import LONG_SECONDS
from tests.differential.rest import Run, awaited

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LONG = timedelta(seconds=LONG_SECONDS)
SHORT = timedelta(milliseconds=30)


def started(workflow_id: str = "parent") -> AnyEvent:
    return ev.WorkflowExecutionStarted(
        event_id=1,
        event_time=NOW,
        workflow_id=workflow_id,
        workflow_type="program",
        task_queue="default",
        original_execution_run_id=workflow_id,
        first_execution_run_id=workflow_id,
    )


def timer(lasts: timedelta) -> AnyEvent:
    options: dict[str, Any] = {"workflow_task_completed_event_id": 0}
    return ev.TimerStarted(event_id=2, event_time=NOW, timer_id="1", start_to_fire_timeout=lasts, **options)


def completed(event_id: int) -> AnyEvent:
    return ev.WorkflowExecutionCompleted(
        event_id=event_id, event_time=NOW, workflow_task_completed_event_id=0, result=Raw(b"1")
    )


def run(*events: AnyEvent, name: str = "parent") -> Run:
    return Run(workflow_id=name, run_id=name, events=list(events))


def parent_of(*more: AnyEvent, policy: Any = "terminate") -> Run:
    """One that has started a child."""
    options: dict[str, Any] = {"workflow_id": "child", "workflow_type": "program"}
    initiated = ev.StartChildWorkflowExecutionInitiated(
        event_id=2, event_time=NOW, workflow_task_completed_event_id=0, parent_close_policy=policy, **options
    )
    begun = ev.ChildWorkflowExecutionStarted(
        event_id=3, event_time=NOW, initiated_event_id=2, run_id="child", **options
    )
    return run(started(), initiated, begun, *more)


def why(*runs: Run) -> list[tuple[str, str]]:
    return [(one.run.workflow_id, one.why) for one in awaited(runs)]


TASK = ev.WorkflowTaskScheduled(event_id=2, event_time=NOW, task_queue="default")
PAUSED = ev.WorkflowExecutionPaused(event_id=3, event_time=NOW)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([started()], []),
        ([started(), TASK], ["workflow task 2"]),
        ([started(), timer(SHORT)], ["timer 2"]),
        ([started(), timer(LONG)], []),
        ([started(), TASK, PAUSED], []),
        ([started(), completed(2)], []),
    ],
)
def test_what_one_run_waits_for(events: list[AnyEvent], expected: list[str]) -> None:
    """Work and short timers; no long ones, nothing while it is paused or when it is closed."""
    assert expected == [reason for _, reason in why(run(*events))]


def test_a_parent_waits_for_the_news_of_its_child() -> None:
    """As soon as that has closed."""
    child = run(started("child"), name="child")
    assert [] == why(parent_of(), child)
    child.events.append(completed(2))
    assert [("parent", "the news of child child")] == why(parent_of(), child)


@pytest.mark.parametrize(("policy", "waits"), [("terminate", True), ("request_cancel", True), ("abandon", False)])
def test_a_child_that_its_parent_has_left(policy: str, waits: bool) -> None:
    """What its policy says is to come."""
    child = run(started("child"), name="child")
    assert waits == bool(why(parent_of(completed(4), policy=policy), child))
