"""Scenarios of transactional activities: settled by what was recorded, or closed behind a seal."""

from __future__ import annotations

from msgspec import Raw

from perdure_proto import commands as c
from perdure_proto.options import RetryPolicy
from perdure_server.history import requests as req
from tests.transcripts.scenarios import FAILURE, pay, scenario, signal
from tests.transcripts.script import Script


@scenario
def transactional_activity_is_settled() -> Script:
    script = Script()
    script.turn(pay("first", retry_policy=RetryPolicy(maximum_attempts=3)), pay("runs"), pay("repeated"))
    script.begin(5)
    first = script.attempt(5)
    script.ask(req.BeginTransaction(**first))
    script.note("its worker is lost, and another attempt runs when the outcome of the first is found")
    script.ask(req.FailActivity(**first, failure=FAILURE))
    script.after(1).ask(req.RetryActivity(scheduled_event_id=5, attempt=2))
    script.begin(5)
    script.ask(req.CompleteActivity(**first, identity="w1", result=Raw(b'"paid"'), recorded=True))
    script.ask(req.CompleteActivity(**first, result=Raw(b'"paid"'), recorded=True))
    script.note("a new owner does not know of the start; the task that runs meanwhile hears of the outcome next")
    script.ask(req.BeginTransaction(**script.attempt(6)))
    script.take()
    script.ask(req.CompleteActivity(**script.attempt(6), recorded=True))
    script.ask(req.BeginTransaction(**script.attempt(7)))
    script.answer()
    script.ask(req.BeginTransaction(**first))
    return script


@scenario
def transactional_activity_is_held() -> Script:
    script = Script()
    script.turn(*(pay(name, retry_policy=RetryPolicy(maximum_attempts=1)) for name in ("a", "b", "c", "d")))
    for event_id in (5, 6, 7):
        script.begin(event_id)
        script.ask(req.BeginTransaction(**script.attempt(event_id)))
    script.ask(signal("go"))
    script.turn(c.RequestCancelActivityTask(scheduled_event_id=6))
    script.note("failed, cancelled, completed with what was not recorded")
    script.ask(req.FailActivity(**script.attempt(5), failure=FAILURE))
    script.ask(req.AcknowledgeCancel(**script.attempt(6)))
    script.ask(req.CompleteActivity(**script.attempt(7)))
    script.note("timed out")
    script.after(60).ask(req.TimeOutActivity(scheduled_event_id=5, attempt=1, timeout_type="START_TO_CLOSE"))
    script.sealed.add(5)
    script.ask(req.TimeOutActivity(scheduled_event_id=5, attempt=1, timeout_type="START_TO_CLOSE"))
    script.note("the run closes: the one that was allowed none is not in the way")
    script.turn(c.CompleteWorkflowExecution())
    script.ask(req.TerminateExecution())
    script.sealed |= {6, 7}
    script.ask(req.TerminateExecution())
    return script
