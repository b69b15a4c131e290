"""The scenarios: each tells one story of a run. Together they meet every entry of the tables of the core."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from msgspec import Raw

from perdure_proto import commands as c
from perdure_proto import events as ev
from perdure_proto.failures import ApplicationFailure, Failure
from perdure_proto.options import Priority, RetryPolicy
from perdure_proto.tasks import UpdateDelivery
from perdure_server.config import Limits
from perdure_server.history import requests as req
from tests.runs import EPOCH, NEXT_RUN_ID
from tests.transcripts.script import Script

SECOND = timedelta(seconds=1)
FAILURE = Failure(message="boom", info=ApplicationFailure(type="Boom"))
DONE = c.CompleteWorkflowExecution()

SCENARIOS: dict[str, Callable[[], Script]] = {}


def scenario(tell: Callable[[], Script]) -> Callable[[], Script]:
    """Enters a story."""
    SCENARIOS[tell.__name__] = tell
    return tell


def pay(activity_id: str = "1", **options: Any) -> c.ScheduleActivityTask:
    return c.ScheduleActivityTask(activity_id=activity_id, activity_type="Pay", **options)


def update(update_id: str) -> req.AdmitUpdate:
    return req.AdmitUpdate(delivery=UpdateDelivery(update_id=update_id, update_name="set"))


def signal(name: str, request_id: str = "") -> req.SignalExecution:
    return req.SignalExecution(signal_name=name, request_id=request_id)


@scenario
def simple() -> Script:
    script = Script()
    script.after(1).turn(pay(), c.RecordMarker(marker_name="patch"))
    script.begin(5)
    script.after(1).ask(req.CompleteActivity(**script.attempt(5)))
    script.turn(DONE)
    script.ask(signal("late"))
    script.ask(req.FlushBuffer())
    return script


@scenario
def activity_retry() -> Script:
    script = Script()
    script.turn(pay(retry_policy=RetryPolicy(maximum_attempts=3)))
    for wait in (1, 2):
        script.begin(5)
        script.ask(req.HeartbeatActivity(**script.attempt(5)))
        script.ask(req.FailActivity(**script.attempt(5), failure=FAILURE))
        script.ask(req.RetryActivity(scheduled_event_id=5, attempt=script.state.activities[5].attempt))
        script.after(wait).ask(req.RetryActivity(scheduled_event_id=5, attempt=script.state.activities[5].attempt))
    script.begin(5)
    script.ask(req.ReturnActivity(**script.attempt(5)))
    script.begin(5)
    script.ask(req.FailActivity(**script.attempt(5), failure=FAILURE))
    return script


@scenario
def activity_timeouts() -> Script:
    script = Script()
    last = RetryPolicy(maximum_attempts=1)
    script.turn(
        pay("waits", schedule_to_start_timeout=10 * SECOND),
        pay("whole", schedule_to_close_timeout=20 * SECOND),
        pay("runs", start_to_close_timeout=5 * SECOND, retry_policy=last),
        pay("beats", start_to_close_timeout=90 * SECOND, heartbeat_timeout=5 * SECOND),
    )
    for event_id in (6, 7, 8):
        script.begin(event_id)
    script.note("too early")
    script.after(4).ask(req.TimeOutActivity(scheduled_event_id=7, attempt=1, timeout_type="START_TO_CLOSE"))
    script.after(1).ask(req.TimeOutActivity(scheduled_event_id=7, attempt=1, timeout_type="START_TO_CLOSE"))
    script.ask(req.TimeOutActivity(scheduled_event_id=8, attempt=1, timeout_type="HEARTBEAT"))
    script.after(5).ask(req.TimeOutActivity(scheduled_event_id=5, attempt=1, timeout_type="SCHEDULE_TO_START"))
    script.after(10).ask(req.TimeOutActivity(scheduled_event_id=6, attempt=1, timeout_type="SCHEDULE_TO_CLOSE"))
    return script


@scenario
def activity_cancel() -> Script:
    script = Script()
    script.turn(pay("waits"), pay("runs"), pay("backs off"), pay("has closed"))
    for event_id in (6, 7, 8):
        script.begin(event_id)
    script.ask(req.AcknowledgeCancel(**script.attempt(6)))
    script.ask(req.FailActivity(**script.attempt(7), failure=FAILURE))
    script.ask(signal("go"))
    script.take()
    script.ask(req.CompleteActivity(**script.attempt(8)))
    script.answer(*(c.RequestCancelActivityTask(scheduled_event_id=each) for each in (5, 6, 7, 8)))
    script.ask(req.HeartbeatActivity(**script.attempt(6)))
    script.ask(req.AcknowledgeCancel(**script.attempt(6)))
    return script


@scenario
def timers() -> Script:
    script = Script()
    script.turn(*(c.StartTimer(timer_id=each, start_to_fire_timeout=5 * SECOND) for each in "abc"))
    script.note("too early")
    script.after(4).ask(req.FireTimer(timer_id="a", started_event_id=5))
    script.after(1).ask(req.FireTimer(timer_id="a", started_event_id=5))
    script.take()
    script.ask(req.FireTimer(timer_id="c", started_event_id=7))
    script.note("b is cancelled, c fired meanwhile and is cancelled all the same: no task for its firing")
    script.answer(c.CancelTimer(timer_id="b"), c.CancelTimer(timer_id="c"))
    return script


@scenario
def timer_fired_and_cancelled_by_the_close() -> Script:
    script = Script()
    script.turn(c.StartTimer(timer_id="a", start_to_fire_timeout=SECOND))
    script.ask(signal("go"))
    script.take()
    script.after(1).ask(req.FireTimer(timer_id="a", started_event_id=5))
    script.answer(c.CancelTimer(timer_id="a"), DONE)
    return script


@scenario
def timer_of_the_same_name() -> Script:
    script = Script()
    script.turn(c.StartTimer(timer_id="a", start_to_fire_timeout=5 * SECOND))
    script.ask(signal("go"))
    again = c.StartTimer(timer_id="a", start_to_fire_timeout=SECOND)
    script.turn(c.CancelTimer(timer_id="a"), again, c.CancelTimer(timer_id="a"))
    return script


@scenario
def buffer_in_order() -> Script:
    script = Script()
    script.turn(pay())
    script.begin(5)
    script.ask(signal("first"))
    script.take()
    script.ask(req.CompleteActivity(**script.attempt(5)))
    script.ask(signal("second", "r2"))
    script.ask(signal("second", "r2"))
    script.ask(req.CancelExecution(reason="enough"))
    script.ask(req.CancelExecution(reason="enough"))
    script.note("the closing of the activity goes last")
    script.answer()
    script.turn(c.CancelWorkflowExecution())
    return script


@scenario
def two_refusals() -> Script:
    script = Script()
    for name in ("first", "second"):
        script.take()
        script.ask(signal(name))
        script.answer(DONE)
    script.turn(DONE)
    return script


@scenario
def task_fails_repeatedly() -> Script:
    script = Script()
    script.take()
    script.fail_task()
    for wait in (1, 2, 4):
        script.ask(req.RetryWorkflowTask())
        script.after(wait).ask(req.RetryWorkflowTask())
        script.take()
        script.fail_task()
    script.note("a worker with new code")
    script.ask(req.RetryWorkflowTask(forgive=True))
    script.turn(DONE)
    script.note("answered already")
    script.answer(DONE)
    return script


@scenario
def task_times_out() -> Script:
    script = Script()
    script.take()
    script.ask(signal("meanwhile"))
    script.after(9).ask(req.TimeOutWorkflowTask(started_event_id=3))
    script.after(1).ask(req.TimeOutWorkflowTask(started_event_id=3))
    script.take()
    script.after(10).ask(req.TimeOutWorkflowTask(started_event_id=script.token["started_event_id"]))
    script.after(2).ask(req.RetryWorkflowTask())
    script.turn(DONE)
    return script


@scenario
def task_comes_back() -> Script:
    script = Script()
    script.take()
    first = script.token
    script.after(1).ask(req.ReturnWorkflowTask(**first))
    script.after(1).take()
    script.note("late, and another worker has it")
    script.ask(req.ReturnWorkflowTask(**first))
    script.ask(signal("meanwhile"))
    script.ask(req.ReturnWorkflowTask(**script.token))
    script.note("its ids are not true any more")
    script.ask(req.ReclaimWorkflowTask(**script.token, session="w1"))
    script.take()
    token = script.token
    script.run.reload()
    script.note("a new owner")
    script.ask(req.ReclaimWorkflowTask(**token, session="w1"))
    script.answer(DONE)
    return script


@scenario
def update_accepted() -> Script:
    script = Script()
    script.turn()
    script.ask(update("u"))
    script.ask(update("u"))
    script.take()
    script.ask(update("v"))
    script.answer(c.AcceptUpdate(update_id="u"))
    script.turn(c.CompleteUpdate(update_id="u"), c.AcceptUpdate(update_id="v"), c.CompleteUpdate(update_id="v"))
    script.ask(update("u"))
    return script


@scenario
def update_abandoned() -> Script:
    script = Script(limits=Limits(updates_in_flight_max=3))
    for each in "abc":
        script.ask(update(each))
    script.note("no more than three; those that are there may be asked for again")
    script.ask(update("d"))
    script.ask(update("a"))
    script.note("b is answered in the closing turn; a is in the log for ever, c never was")
    b = (c.AcceptUpdate(update_id="b"), c.CompleteUpdate(update_id="b"))
    script.turn(c.AcceptUpdate(update_id="a"), *b, DONE)
    for each in "abc":
        script.ask(update(each))
    return script


@scenario
def update_of_a_lost_worker() -> Script:
    script = Script()
    script.turn()
    script.ask(update("u"))
    script.take()
    script.ask(req.ReturnWorkflowTask(**script.token))
    script.note("another worker is given the same update")
    lost = dict(script.token)
    script.after(1).turn(c.AcceptUpdate(update_id="u"), c.CompleteUpdate(update_id="u"))
    script.ask(req.CompleteWorkflowTask(**lost, commands=[c.AcceptUpdate(update_id="u")]))
    return script


@scenario
def update_rejected() -> Script:
    script = Script()
    script.turn()
    script.ask(update("u"))
    script.ask(update("gone"))
    script.ask(req.WithdrawUpdate(update_id="gone"))
    script.turn(c.RejectUpdate(update_id="u", failure=FAILURE))
    script.ask(update("v"))
    script.take()
    script.ask(req.WithdrawUpdate(update_id="v"))
    script.ask(signal("meanwhile"))
    script.note("the task leaves no trace, and the signal needs one of its own")
    script.answer(c.RejectUpdate(update_id="v", failure=FAILURE))
    return script


@scenario
def continue_as_new() -> Script:
    script = Script()
    script.ask(signal("kept", "r1"))
    script.take()
    for each in "abc":
        script.ask(update(each))
    script.run.now += SECOND
    unclaimed = script.run.events[2]
    assert isinstance(unclaimed, ev.WorkflowExecutionSignaled)
    script.note("a is answered in this very task, b is rejected, c moves")
    script.answer(
        c.AcceptUpdate(update_id="a"),
        c.RejectUpdate(update_id="b", failure=FAILURE),
        c.ContinueAsNewWorkflowExecution(unclaimed_signals=(3,)),
        new_run_id=NEXT_RUN_ID,
        signals=(unclaimed,),
    )
    script.ask(update("c"))
    return script


@scenario
def workflow_retry() -> Script:
    script = Script(retry_policy=RetryPolicy(maximum_attempts=2))
    script.turn(c.FailWorkflowExecution(failure=FAILURE), new_run_id=NEXT_RUN_ID)
    return script


@scenario
def workflow_retry_waits() -> Script:
    script = Script(first_workflow_task_backoff=5 * SECOND, attempt=2, initiator="RETRY")
    script.note("a signal does not bring the first task forward")
    script.ask(signal("early"))
    script.after(5).ask(req.BeginFirstTask())
    script.ask(req.BeginFirstTask())
    return script


@scenario
def workflow_fails() -> Script:
    script = Script()
    script.turn(c.FailWorkflowExecution(failure=FAILURE))
    return script


@scenario
def run_times_out() -> Script:
    script = Script(retry_policy=RetryPolicy(), workflow_run_timeout=30 * SECOND)
    script.turn(pay())
    script.begin(5)
    script.after(30).ask(req.TimeOutExecution(new_run_id=NEXT_RUN_ID))
    script.ask(req.TimeOutExecution(new_run_id=NEXT_RUN_ID))
    return script


@scenario
def terminate_with_a_buffer() -> Script:
    script = Script()
    script.take()
    script.ask(signal("meanwhile", "r"))
    script.ask(req.TerminateExecution(reason="enough"))
    script.ask(req.TerminateExecution(reason="enough"))
    script.note("a repeat is answered as before, also after the close")
    script.ask(signal("meanwhile", "r"))
    script.ask(req.CancelExecution(request_id="r2"))
    return script


@scenario
def new_owner_flushes() -> Script:
    script = Script()
    script.take()
    script.ask(signal("meanwhile"))
    script.run.reload()
    script.ask(req.FlushBuffer())
    return script


@scenario
def history_limit() -> Script:
    script = Script(Limits(history_events_max=12, history_events_reserved=4))
    for number in range(7):
        script.ask(signal(f"signal {number}"))
    script.turn(pay())
    script.after(1).ask(req.RetryWorkflowTask())
    script.note("only a closing command is taken")
    script.turn(c.ContinueAsNewWorkflowExecution(), new_run_id=NEXT_RUN_ID)
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


BAD: dict[str, c.AnyCommand] = {
    "activity id pending": pay(),
    "no name": c.ScheduleActivityTask(activity_id="2", activity_type=""),
    "no time": pay("2", start_to_close_timeout=timedelta(0)),
    "timer running": c.StartTimer(timer_id="t", start_to_fire_timeout=SECOND),
    "no such priority": pay("2", priority=Priority(priority_key=6)),
    "no such timer": c.CancelTimer(timer_id="none"),
    "no such update": c.AcceptUpdate(update_id="none"),
    "update not accepted": c.CompleteUpdate(update_id="none"),
    "child": c.StartChildWorkflowExecution(workflow_id="c", workflow_type=""),
    "no time for a child": c.StartChildWorkflowExecution(
        workflow_id="c", workflow_type="C", workflow_run_timeout=timedelta(0)
    ),
    "external signal": c.SignalExternalWorkflowExecution(workflow_id="c", signal_name=""),
    "external cancel": c.RequestCancelExternalWorkflowExecution(workflow_id=""),
    "attributes": c.UpsertWorkflowSearchAttributes(search_attributes={"a": 1}),
    "memo": c.ModifyWorkflowProperties(upserted_memo={"a": 1}),
}


@scenario
def bad_commands() -> Script:
    """An answer with one bad command is refused whole: the good timer before it is not started either."""
    script = Script()
    script.turn(pay(), c.StartTimer(timer_id="t", start_to_fire_timeout=SECOND))
    script.ask(signal("go"))
    good = c.StartTimer(timer_id="good", start_to_fire_timeout=SECOND)
    for name, command in BAD.items():
        script.note(name)
        script.after(600).ask(req.RetryWorkflowTask())
        script.turn(good, command)
    for twice in (
        c.RequestCancelActivityTask(scheduled_event_id=5),
        c.RejectUpdate(update_id="u", failure=FAILURE),
        DONE,
    ):
        script.note("twice")
        script.after(600).ask(req.RetryWorkflowTask())
        script.turn(twice, twice)
    return script


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
