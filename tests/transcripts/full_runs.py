"""The scenarios of runs that reach their limits: signals, and the events of a history."""

from __future__ import annotations

from perdure_proto import commands as c
from perdure_proto import events as ev
from perdure_proto.options import RetryPolicy
from perdure_server.config import Limits
from perdure_server.history import requests as req
from tests.runs import NEXT_RUN_ID
from tests.transcripts.scenarios import FAILURE, SECOND, pay, scenario, signal, update
from tests.transcripts.script import Script

FULL = Limits(history_events_max=30, history_events_reserved=10)


@scenario
def too_many_signals() -> Script:
    script = Script(Limits(signals_max=3))
    script.ask(signal("written"))
    script.take()
    script.note("those in the buffer count too")
    for name in ("first", "second", "third"):
        script.ask(signal(name))
    script.answer()
    script.ask(signal("after"))
    return script


@scenario
def results_to_a_full_run() -> Script:
    script = Script(FULL)
    script.turn(
        c.StartTimer(timer_id="t", start_to_fire_timeout=10 * SECOND),
        pay("completes"),
        pay("fails", retry_policy=RetryPolicy(maximum_attempts=1)),
        pay("is tried again"),
        pay("waits"),
        c.StartChildWorkflowExecution(workflow_id="child", workflow_type="C"),
        c.SignalExternalWorkflowExecution(workflow_id="target", signal_name="go"),
    )
    for scheduled_event_id in (6, 7, 8):
        script.begin(scheduled_event_id)
    while script.state.last_event_id < FULL.history_events_max - FULL.history_events_reserved:
        script.ask(signal(f"signal {script.state.last_event_id}"))
    script.note("full: signals and updates are refused, results are owed")
    script.ask(signal("one more"))
    script.ask(update("u"))
    script.after(3600).ask(req.FireTimer(timer_id="t", started_event_id=5))
    script.ask(req.CompleteActivity(**script.attempt(6)))
    script.ask(req.FailActivity(**script.attempt(7), failure=FAILURE))
    script.ask(req.TimeOutActivity(scheduled_event_id=8, attempt=1, timeout_type="START_TO_CLOSE"))
    script.begin(9)
    script.ask(req.RecordChildStarted(initiated_event_id=10, run_id="c1"))
    closed = ev.WorkflowExecutionTerminated(event_id=9, event_time=script.run.now)
    news = req.RecordChildClosed(initiated_event_id=10, run_id="c1", first_run_id="c1", closed=closed)
    script.ask(news)
    script.ask(req.RecordMessageAnswered(initiated_event_id=11, run_id="t1"))
    script.note("what is stale is told so, and a heartbeat is nothing for the log")
    script.ask(req.CompleteActivity(scheduled_event_id=6, attempt=2, started_at=script.run.now))
    script.ask(req.HeartbeatActivity(**script.attempt(6)))
    script.note("it can be asked to stop; an answer that does not close it is refused, one that does is taken")
    script.ask(req.CancelExecution(reason="full"))
    script.turn(c.RequestCancelActivityTask(scheduled_event_id=6))
    script.after(1).ask(req.RetryWorkflowTask())
    script.turn(c.RequestCancelActivityTask(scheduled_event_id=6), c.CancelWorkflowExecution())
    script.ask(news)
    return script


@scenario
def results_while_a_task_fills_the_run() -> Script:
    script = Script(FULL)
    script.turn(*(pay(f"a{number}") for number in range(4)))
    script.ask(signal("go"))
    script.take()
    script.note("what waits in the buffer has its room: the answer must leave it")
    for number in range(9):
        script.ask(signal(f"signal {number}"))
    for scheduled_event_id in (5, 6):
        script.begin(scheduled_event_id)
        script.ask(req.CompleteActivity(**script.attempt(scheduled_event_id)))
    script.answer(pay("one"), pay("too many"))
    script.after(1).ask(req.RetryWorkflowTask())
    script.turn(c.ContinueAsNewWorkflowExecution(), new_run_id=NEXT_RUN_ID)
    return script
