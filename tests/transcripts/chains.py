"""Scenarios of chains of runs: cron, continue-as-new with options, and starts that wait."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from msgspec import Raw

from perdure_proto import commands as c
from perdure_proto.options import RetryPolicy
from perdure_server.config import Limits
from perdure_server.history import requests as req
from tests.runs import EPOCH, NEXT_RUN_ID, RUN_ID
from tests.transcripts.scenarios import FAILURE, SECOND, pay, scenario, signal, update
from tests.transcripts.script import Script

HOURLY: dict[str, Any] = {"cron_schedule": "@every 1h", "initiator": "CRON_SCHEDULE"}


@scenario
def cron_completes() -> Script:
    script = Script(**HOURLY)
    script.note("three ticks have passed meanwhile: the next run takes the one that is to come")
    script.after(3 * 3600 + 60).turn(c.CompleteWorkflowExecution(result=Raw(b"7")), new_run_id=NEXT_RUN_ID)
    return script


@scenario
def cron_fails() -> Script:
    last: dict[str, Any] = {"last_completion_result": Raw(b"7"), "last_completion_run_id": RUN_ID}
    script = Script(**HOURLY, **last, retry_policy=RetryPolicy(maximum_attempts=2), attempt=2)
    script.note("its attempts are used up: the schedule goes on, with the last result as it was")
    script.after(60).turn(c.FailWorkflowExecution(failure=FAILURE), new_run_id=NEXT_RUN_ID)
    return script


@scenario
def cron_continues_as_new() -> Script:
    script = Script(**HOURLY, continued_failure=FAILURE)
    script.turn(c.ContinueAsNewWorkflowExecution(backoff_start_interval=5 * SECOND), new_run_id=NEXT_RUN_ID)
    return script


@scenario
def cron_times_out() -> Script:
    script = Script(**HOURLY, workflow_run_timeout=30 * SECOND)
    script.turn(pay())
    script.after(30).ask(req.TimeOutExecution(new_run_id=NEXT_RUN_ID))
    return script


@scenario
def cron_expires() -> Script:
    script = Script(**HOURLY, workflow_execution_expiration_time=EPOCH + 30 * SECOND, retry_policy=RetryPolicy())
    script.turn(pay())
    script.note("the execution timeout is over the whole chain: no retry and no tick")
    script.after(30).ask(req.TimeOutExecution(new_run_id=NEXT_RUN_ID))
    return script


@scenario
def cron_cancelled_while_it_waits() -> Script:
    script = Script(**HOURLY, first_workflow_task_backoff=3600 * SECOND, retry_policy=RetryPolicy())
    script.note("a signal waits with it, a cancel request does not")
    script.ask(signal("early"))
    script.ask(update("u"))
    script.after(60).ask(req.CancelExecution(reason="enough"))
    script.note("whatever it makes of it, no run follows")
    script.turn(c.FailWorkflowExecution(failure=FAILURE), new_run_id=NEXT_RUN_ID)
    return script


@scenario
def start_delay_ended_by_a_signal() -> Script:
    script = Script(first_workflow_task_backoff=3600 * SECOND)
    script.after(1).ask(signal("go"))
    script.ask(signal("again"))
    script.after(3600).ask(req.BeginFirstTask())
    return script


@scenario
def start_delay_ended_by_an_update() -> Script:
    script = Script(first_workflow_task_backoff=3600 * SECOND)
    script.after(1).ask(update("u"))
    script.note("rejected: the first task stays in the log all the same")
    script.turn(c.RejectUpdate(update_id="u", failure=FAILURE))
    return script


@scenario
def start_delay_terminated() -> Script:
    script = Script(first_workflow_task_backoff=3600 * SECOND)
    script.after(1).ask(req.TerminateExecution(reason="enough"))
    script.after(3600).ask(req.BeginFirstTask())
    return script


@scenario
def bad_options_of_other_runs() -> Script:
    script = Script(Limits(memo_bytes_max=50))
    for bad in (
        c.ContinueAsNewWorkflowExecution(memo={"a": "b" * 100}),
        c.ContinueAsNewWorkflowExecution(workflow_run_timeout=timedelta(0)),
        c.ContinueAsNewWorkflowExecution(backoff_start_interval=-SECOND),
        c.StartChildWorkflowExecution(workflow_id="c", workflow_type="C", cron_schedule="daily"),
    ):
        script.turn(bad, new_run_id=NEXT_RUN_ID)
        script.after(600).ask(req.RetryWorkflowTask())
    script.note("no task may take longer than the limit")
    script.turn(c.ContinueAsNewWorkflowExecution(workflow_task_timeout=600 * SECOND), new_run_id=NEXT_RUN_ID)
    return script
