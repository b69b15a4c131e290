"""The scenarios: each tells one story of a run. Together they meet every entry of the tables of the core."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

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
def timer_fired_on_another_clock() -> Script:
    script = Script()
    script.turn(c.StartTimer(timer_id="a", start_to_fire_timeout=5 * SECOND))
    script.ask(signal("go"))
    script.take()
    script.after(5).ask(req.FireTimer(timer_id="a", started_event_id=5))
    script.note("the clock is set back, or another server goes on: what was buffered keeps the time of its happening")
    script.after(-3).answer()
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
def signal_with_start() -> Script:
    first = ev.WorkflowExecutionSignaled(event_id=0, event_time=EPOCH, signal_name="go", request_id="r1")
    script = Script(signals=[first], request_id="r1")
    script.note("a repeat, whose start finds the run there")
    script.ask(signal("go", "r1"))
    script.turn()
    script.note("another one")
    script.ask(signal("go", "r2"))
    return script


def attributes(**upserted: Any) -> c.UpsertWorkflowSearchAttributes:
    return c.UpsertWorkflowSearchAttributes(search_attributes=upserted)


@scenario
def upserts() -> Script:
    script = Script(Limits(search_attributes_max=2), memo={"note": 1}, search_attributes={"city": "Graz"})
    memo = c.ModifyWorkflowProperties(upserted_memo={"note": None, "by": {"name": "Ada"}})
    script.turn(attributes(city=None, tags=["new"]), memo, attributes(paid=True), pay())
    script.note("two are there, and these are others")
    script.ask(signal("go"))
    script.turn(attributes(more=1))
    script.after(1).ask(req.RetryWorkflowTask())
    script.note("one goes in the same answer")
    script.turn(attributes(tags=None), attributes(more=1))
    script.ask(signal("go"))
    script.note("what is there goes on with the chain, unless the command says otherwise")
    onward = c.ContinueAsNewWorkflowExecution(search_attributes={"fresh": 1})
    last = c.ModifyWorkflowProperties(upserted_memo={"last": True})
    script.turn(last, attributes(more=None), onward, new_run_id=NEXT_RUN_ID)
    return script


@scenario
def upserts_and_a_retry() -> Script:
    script = Script(retry_policy=RetryPolicy(), memo={"note": 1})
    script.turn(attributes(paid=True), c.FailWorkflowExecution(failure=FAILURE), new_run_id=NEXT_RUN_ID)
    return script


@scenario
def current_details() -> Script:
    script = Script(static_summary="An order", static_details="# For Ada")
    script.turn(pay(summary="the deposit"), current_details="waits for *the deposit*")
    script.ask(signal("go"))
    script.note("nothing new to say")
    script.turn()
    script.ask(signal("go"))
    script.note("nothing any more")
    script.turn(DONE, current_details="")
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
    "child's attributes": c.StartChildWorkflowExecution(
        workflow_id="c", workflow_type="C", search_attributes={"a": {"b": 1}}
    ),
    "child's summary too long": c.StartChildWorkflowExecution(
        workflow_id="c", workflow_type="C", summary="a summary that is too long"
    ),
    "external signal": c.SignalExternalWorkflowExecution(workflow_id="c", signal_name=""),
    "a waitpoint's signal": c.SignalExternalWorkflowExecution(workflow_id="c", signal_name="__waitpoint/1/x"),
    "external cancel": c.RequestCancelExternalWorkflowExecution(workflow_id=""),
    "summary too long": pay("2", summary="a summary that is too long"),
    "timer's summary too long": c.StartTimer(timer_id="u", start_to_fire_timeout=SECOND, summary="äöü" * 4),
    "attribute of another type": c.UpsertWorkflowSearchAttributes(search_attributes={"a": {"b": 1}}),
    "attribute too long": c.UpsertWorkflowSearchAttributes(search_attributes={"a": "x" * 200}),
    "attribute's name too long": c.UpsertWorkflowSearchAttributes(search_attributes={"x" * 256: 1}),
    "too many attributes": c.UpsertWorkflowSearchAttributes(search_attributes=dict.fromkeys("abcd", 1)),
    "attributes too long": c.UpsertWorkflowSearchAttributes(search_attributes=dict.fromkeys("abc", "x" * 90)),
    "memo too long": c.ModifyWorkflowProperties(upserted_memo={"a": "x" * 500}),
    "next run's memo too long": c.ContinueAsNewWorkflowExecution(memo={"a": "x" * 500}),
    "next run's attributes": c.ContinueAsNewWorkflowExecution(search_attributes={"a": None, "": 1}),
}


@scenario
def bad_commands() -> Script:
    """An answer with one bad command is refused whole: the good timer before it is not started either."""
    limits = Limits(
        search_attributes_max=3,
        search_attribute_bytes_max=100,
        search_attributes_bytes_max=250,
        memo_bytes_max=400,
        summary_bytes_max=20,
        details_bytes_max=20,
    )
    script = Script(limits)
    script.turn(pay(), c.StartTimer(timer_id="t", start_to_fire_timeout=SECOND))
    script.ask(signal("go"))
    good = c.StartTimer(timer_id="good", start_to_fire_timeout=SECOND)
    for name, command in BAD.items():
        script.note(name)
        script.after(600).ask(req.RetryWorkflowTask())
        script.turn(good, command)
    script.note("details too long")
    script.after(600).ask(req.RetryWorkflowTask())
    script.turn(current_details="# Details that are too long")
    for twice in (
        c.RequestCancelActivityTask(scheduled_event_id=5),
        c.RejectUpdate(update_id="u", failure=FAILURE),
        DONE,
    ):
        script.note("twice")
        script.after(600).ask(req.RetryWorkflowTask())
        script.turn(twice, twice)
    return script
