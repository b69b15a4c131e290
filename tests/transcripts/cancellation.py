"""Scenarios of a workflow that is asked to stop: when the request comes, and how often."""

from __future__ import annotations

from perdure_proto import commands as c
from perdure_server.history import requests as req
from tests.runs import EPOCH
from tests.transcripts.scenarios import DONE, FAILURE, SECOND, pay, scenario, signal
from tests.transcripts.script import Script

STOPPED = c.CancelWorkflowExecution()


def stop(reason: str = "", request_id: str = "") -> req.CancelExecution:
    return req.CancelExecution(reason=reason, request_id=request_id)


@scenario
def cancel_before_the_first_task() -> Script:
    script = Script()
    script.note("a task is due already: the request is in it")
    script.ask(stop("no longer needed", "r1"))
    script.turn(STOPPED)
    return script


@scenario
def cancel_ends_a_start_delay() -> Script:
    script = Script(first_workflow_task_backoff=60 * SECOND)
    script.after(1).ask(stop())
    script.turn(STOPPED)
    script.after(59).ask(req.BeginFirstTask())
    return script


@scenario
def cancel_is_asked_again() -> Script:
    script = Script()
    script.turn(pay())
    script.ask(stop("first", "r1"))
    script.ask(stop("first", "r1"))
    script.note("it was asked to stop: another request adds nothing, also while it cleans up")
    script.ask(stop("second", "r2"))
    script.turn(pay("clean up"))
    script.ask(stop("third"))
    script.begin(10)
    script.ask(req.CompleteActivity(**script.attempt(10)))
    script.turn(STOPPED)
    script.note("closed: it was asked to stop, so every repeat gets the answer that it had")
    script.ask(stop("first", "r1"))
    script.ask(stop("second", "r2"))
    return script


@scenario
def cancel_comes_too_late() -> Script:
    script = Script()
    script.turn(DONE)
    script.ask(stop("too late", "r1"))
    return script


@scenario
def cancel_of_the_run_before() -> Script:
    script = Script(carried_request_ids={"r1": EPOCH})
    script.note("the run before was asked and went on as this one: a repeat is not for this one, a new request is")
    script.ask(stop("first", "r1"))
    script.ask(stop("second", "r2"))
    return script


@scenario
def cancel_meets_the_close() -> Script:
    script = Script()
    script.take()
    script.ask(stop("no longer needed", "r1"))
    script.ask(stop("no longer needed", "r1"))
    script.ask(stop("second", "r2"))
    script.note("the workflow has not heard of it: the close is refused, and the next task brings the request")
    script.answer(DONE)
    script.note("it says that it is done all the same")
    script.turn(DONE)
    return script


@scenario
def cancel_meets_continue_as_new() -> Script:
    script = Script()
    script.take()
    script.ask(signal("go"))
    script.ask(stop("no longer needed"))
    script.answer(c.ContinueAsNewWorkflowExecution())
    script.turn(STOPPED)
    return script


@scenario
def cancelled_then_failed() -> Script:
    script = Script()
    script.ask(stop())
    script.turn(c.FailWorkflowExecution(failure=FAILURE))
    return script


@scenario
def cancelled_while_its_task_fails() -> Script:
    script = Script()
    script.take()
    script.ask(stop())
    script.fail_task()
    script.note("the next attempt brings it")
    script.after(1).ask(req.RetryWorkflowTask())
    script.turn(STOPPED)
    return script
