"""Scenarios between executions: children, messages to others, and activities without a workflow."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from perdure_proto import commands as c
from perdure_proto import events as ev
from perdure_proto.options import RetryPolicy
from perdure_server.config import Limits
from perdure_server.history import requests as req
from tests.runs import EPOCH
from tests.transcripts.scenarios import DONE, FAILURE, SECOND, scenario, signal, update
from tests.transcripts.script import Script


def child(workflow_id: str, **options: Any) -> c.StartChildWorkflowExecution:
    return c.StartChildWorkflowExecution(workflow_id=workflow_id, workflow_type="Ship", **options)


def child_closed(initiated_event_id: int, closed: ev.AnyEvent, first_run_id: str = "child-run") -> req.Request:
    return req.RecordChildClosed(
        initiated_event_id=initiated_event_id, run_id="child-run", first_run_id=first_run_id, closed=closed
    )


def closings() -> list[ev.AnyEvent]:
    """One of each kind of closing event of a child, but for continue-as-new."""
    at: dict[str, Any] = {"event_id": 9, "event_time": EPOCH}
    return [
        ev.WorkflowExecutionCompleted(**at, result=Raw(b'"done"'), workflow_task_completed_event_id=8),
        ev.WorkflowExecutionFailed(**at, failure=FAILURE, workflow_task_completed_event_id=8),
        ev.WorkflowExecutionCanceled(**at, workflow_task_completed_event_id=8),
        ev.WorkflowExecutionTimedOut(**at),
        ev.WorkflowExecutionTerminated(**at),
    ]


@scenario
def child_that_started_and_closed_beside_an_update() -> Script:
    """The task that an update made speculative gets its event once, though two pieces of news come together."""
    script = Script()
    script.turn(child("c"))
    script.ask(update("u"))
    script.ask(child_closed(5, closings()[0]))
    return script


@scenario
def children() -> Script:
    script = Script()
    script.turn(*(child(f"c{number}") for number in range(5)))
    for event_id, closed in enumerate(closings(), 5):
        script.ask(req.RecordChildStarted(initiated_event_id=event_id, run_id="child-run"))
        script.ask(child_closed(event_id, closed))
    script.note("what comes twice changes nothing")
    script.ask(req.RecordChildStarted(initiated_event_id=5, run_id="child-run"))
    script.ask(child_closed(5, closings()[0]))
    return script


@scenario
def child_not_started() -> Script:
    script = Script()
    script.turn(child("c1"))
    script.ask(req.RecordChildStartFailed(initiated_event_id=5, cause="WORKFLOW_ALREADY_EXISTS"))
    script.ask(req.RecordChildStartFailed(initiated_event_id=5, cause="WORKFLOW_ALREADY_EXISTS"))
    return script


@scenario
def child_closes_before_its_start_is_known() -> Script:
    script = Script()
    script.turn(child("c1"), child("c2"))
    script.ask(child_closed(5, closings()[0]))
    script.ask(req.RecordChildStarted(initiated_event_id=5, run_id="child-run"))
    script.note("the same while a task is started: the closing goes last")
    script.take()
    script.ask(child_closed(6, closings()[1]))
    script.ask(child_closed(6, closings()[1]))
    script.ask(signal("later"))
    script.answer()
    return script


@scenario
def another_child_of_that_id() -> Script:
    script = Script()
    script.turn(child("c1"))
    script.ask(req.RecordChildStarted(initiated_event_id=5, run_id="child-run"))
    script.ask(child_closed(5, closings()[0], first_run_id="another-run"))
    return script


@scenario
def messages_to_others() -> Script:
    script = Script(Limits(pending_messages_max=4))
    send = c.SignalExternalWorkflowExecution(workflow_id="other", signal_name="go")
    stop = c.RequestCancelExternalWorkflowExecution(workflow_id="other")
    script.turn(send, send, stop, stop)
    script.ask(req.RecordMessageAnswered(initiated_event_id=5, run_id="other-run"))
    script.ask(req.RecordMessageAnswered(initiated_event_id=6, cause="EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND"))
    script.take()
    script.ask(req.RecordMessageAnswered(initiated_event_id=7, run_id="other-run"))
    script.ask(req.RecordMessageAnswered(initiated_event_id=7, run_id="other-run"))
    script.ask(req.RecordMessageAnswered(initiated_event_id=8, cause="EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND"))
    script.answer(send)
    script.note("one more than may be pending")
    script.turn(send, send, send, send)
    return script


@scenario
def closes_with_children() -> Script:
    script = Script()
    script.turn(child("c1"), child("c2", parent_close_policy="abandon"))
    script.ask(req.RecordChildStarted(initiated_event_id=5, run_id="child-run"))
    script.turn(c.SignalExternalWorkflowExecution(workflow_id="other", signal_name="bye"), DONE)
    script.note("it is closed: answers are acknowledgements")
    script.ask(req.RecordChildStarted(initiated_event_id=6, run_id="child-run"))
    script.ask(req.RecordMessageAnswered(initiated_event_id=11))
    return script


def alone(**options: Any) -> Script:
    """A run of an activity without a workflow."""
    activity = ev.ActivityTaskScheduled(
        event_id=0,
        event_time=EPOCH,
        activity_id="a",
        activity_type="Pay",
        workflow_task_completed_event_id=0,
        **options,
    )
    return Script(standalone_activity_id="a", activity=activity)


@scenario
def standalone_activity() -> Script:
    script = alone(retry_policy=RetryPolicy(maximum_attempts=2))
    script.begin(2)
    script.ask(req.FailActivity(**script.attempt(2), failure=FAILURE))
    script.after(1).ask(req.RetryActivity(scheduled_event_id=2, attempt=2))
    script.begin(2)
    script.ask(req.CompleteActivity(**script.attempt(2)))
    return script


@scenario
def standalone_activity_cancelled() -> Script:
    script = alone()
    script.begin(2)
    script.ask(req.CancelExecution(reason="no"))
    script.ask(req.AcknowledgeCancel(**script.attempt(2)))
    return script


@scenario
def standalone_activity_cancelled_before_it_ran() -> Script:
    script = alone()
    script.ask(req.CancelExecution(reason="no"))
    return script


@scenario
def standalone_activity_late() -> Script:
    script = alone(start_to_close_timeout=SECOND, retry_policy=RetryPolicy(maximum_attempts=1))
    script.begin(2)
    script.after(1).ask(req.TimeOutActivity(scheduled_event_id=2, attempt=1, timeout_type="START_TO_CLOSE"))
    return script


@scenario
def child_closes_while_a_task_is_only_speculative() -> Script:
    """The two events that its news brings make one task."""
    script = Script()
    script.turn(c.StartChildWorkflowExecution(workflow_id="child", workflow_type="C"))
    script.ask(update("u"))
    closed = ev.WorkflowExecutionTerminated(event_id=3, event_time=script.run.now)
    script.ask(req.RecordChildClosed(initiated_event_id=5, run_id="c1", first_run_id="c1", closed=closed))
    return script
