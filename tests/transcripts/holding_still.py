"""The scenarios of runs that are paused and of runs that go back."""

from __future__ import annotations

from typing import Any

from perdure_proto import commands as c
from perdure_proto import events as ev
from perdure_server.config import Limits
from perdure_server.history import requests as req
from perdure_server.history.outbox import farewell
from tests.runs import NEXT_RUN_ID
from tests.transcripts.scenarios import DONE, FAILURE, SCENARIOS, SECOND, pay, scenario, signal, update
from tests.transcripts.script import Script

__all__ = ["SCENARIOS"]


@scenario
def pause() -> Script:
    script = Script(workflow_run_timeout=100 * SECOND)
    script.turn(
        c.StartTimer(timer_id="t", start_to_fire_timeout=10 * SECOND),
        pay("runs", start_to_close_timeout=20 * SECOND, heartbeat_timeout=15 * SECOND),
        pay("backs off"),
        pay("waits", schedule_to_start_timeout=10 * SECOND),
    )
    script.begin(6)
    script.begin(7)
    script.ask(req.FailActivity(**script.attempt(7), failure=FAILURE))
    script.after(5).ask(req.PauseExecution(reason="stop", request_id="p1"))
    script.ask(req.PauseExecution(reason="again"))
    script.note("signals are recorded, updates refused, and nothing is handed out or timed")
    script.ask(signal("go"))
    script.ask(update("u"))
    script.after(1000).ask(req.StartWorkflowTask(session="w1"))
    script.begin(8)
    script.ask(req.FireTimer(timer_id="t", started_event_id=5))
    script.ask(req.RetryActivity(scheduled_event_id=7, attempt=2))
    script.ask(req.TimeOutActivity(scheduled_event_id=6, attempt=1, timeout_type="START_TO_CLOSE"))
    script.ask(req.TimeOutExecution(new_run_id=NEXT_RUN_ID))
    script.ask(req.HeartbeatActivity(**script.attempt(6)))
    script.ask(req.UnpauseExecution(reason="go", request_id="p2"))
    script.ask(req.UnpauseExecution(reason="again"))
    script.ask(req.UnpauseExecution(request_id="p2"))
    script.note("all is later by the 1000 s")
    script.after(4).ask(req.FireTimer(timer_id="t", started_event_id=5))
    script.after(1).ask(req.FireTimer(timer_id="t", started_event_id=5))
    script.begin(8)
    script.after(10).ask(req.TimeOutActivity(scheduled_event_id=6, attempt=1, timeout_type="HEARTBEAT"))
    script.after(79).ask(req.TimeOutExecution(new_run_id=NEXT_RUN_ID))
    script.after(1).ask(req.TimeOutExecution(new_run_id=NEXT_RUN_ID))
    script.ask(req.PauseExecution())
    script.ask(req.UnpauseExecution())
    return script


@scenario
def pause_while_a_task_is_started() -> Script:
    script = Script()
    script.take()
    script.after(1).ask(req.PauseExecution(request_id="p1"))
    script.note("what the task answers is recorded; nothing of it is handed out")
    script.after(1).answer(pay(), c.StartTimer(timer_id="t", start_to_fire_timeout=5 * SECOND))
    script.begin(5)
    script.after(100).ask(req.FireTimer(timer_id="t", started_event_id=6))
    script.ask(req.UnpauseExecution(request_id="p2"))
    script.begin(5)
    script.ask(signal("go"))
    script.take()
    script.note("paused and unpaused meanwhile: what was bound to close goes on first")
    script.ask(req.PauseExecution(request_id="p3"))
    script.ask(req.UnpauseExecution(request_id="p4"))
    script.ask(req.UnpauseExecution(request_id="p4"))
    script.answer(DONE)
    return script


@scenario
def pause_before_the_first_task() -> Script:
    script = Script(first_workflow_task_backoff=5 * SECOND, attempt=2)
    script.ask(req.PauseExecution())
    script.after(60).ask(req.BeginFirstTask())
    script.ask(req.UnpauseExecution())
    script.after(4).ask(req.BeginFirstTask())
    script.after(1).ask(req.BeginFirstTask())
    script.ask(req.PauseExecution())
    script.ask(req.TerminateExecution())
    return script


@scenario
def reset() -> Script:
    script = Script(workflow_run_timeout=100 * SECOND, workflow_execution_timeout=500 * SECOND)
    script.turn(pay(schedule_to_close_timeout=20 * SECOND), c.StartTimer(timer_id="t", start_to_fire_timeout=SECOND))
    script.ask(signal("early", "r1"))
    script.note("the copy ends with a started task: that is where it goes on")
    script.copied()
    again = ev.WorkflowExecutionSignaled(event_id=20, event_time=script.run.now, signal_name="late", request_id="r2")
    known = ev.WorkflowExecutionSignaled(event_id=7, event_time=script.run.now, signal_name="early", request_id="r1")
    told = ev.WorkflowExecutionUpdateAdmitted(event_id=0, event_time=script.run.now, update_id="u", update_name="set")
    script.after(50).ask(
        req.ResetExecution(base_run_id="base", replaced_run_id="latest", events=(known, again, told), reason="bug")
    )
    script.begin(5)
    script.note("what was pending has its whole time again, a timer keeps its own")
    script.ask(req.FireTimer(timer_id="t", started_event_id=6))
    script.turn(c.AcceptUpdate(update_id="u"))
    script.after(20).ask(req.TimeOutActivity(scheduled_event_id=5, attempt=1, timeout_type="SCHEDULE_TO_CLOSE"))
    script.after(79).ask(req.TimeOutExecution(new_run_id=NEXT_RUN_ID))
    script.after(1).ask(req.TimeOutExecution(new_run_id=NEXT_RUN_ID))
    script.ask(req.ResetExecution(base_run_id="base"))
    return script


@scenario
def reset_with_too_much_to_tell() -> Script:
    script = Script(Limits(signals_max=1))
    script.copied()
    told = ev.WorkflowExecutionSignaled(event_id=9, event_time=script.run.now, signal_name="s")
    script.ask(req.ResetExecution(base_run_id="base", events=(told, told)))
    return script


@scenario
def reset_with_children() -> Script:
    script = Script()
    child, other = (c.StartChildWorkflowExecution(workflow_id=each, workflow_type="C") for each in ("child", "other"))
    told = c.SignalExternalWorkflowExecution(workflow_id="target", signal_name="go")
    script.turn(child, other, told)
    script.ask(signal("go"))
    script.copied()
    script.note("what became of them after the point is told again; one closed with the run that was its parent")
    at = script.run.now
    name: dict[str, Any] = {"workflow_id": "child", "workflow_type": "C", "run_id": "c1", "initiated_event_id": 5}
    script.ask(
        req.ResetExecution(
            base_run_id="base",
            events=(
                ev.ChildWorkflowExecutionStarted(event_id=20, event_time=at, **name),
                ev.ExternalWorkflowExecutionSignaled(
                    event_id=21, event_time=at, workflow_id="target", run_id="t1", initiated_event_id=7
                ),
                ev.ChildWorkflowExecutionCompleted(event_id=22, event_time=at, started_event_id=20, **name),
            ),
            closed_children=(
                req.RecordChildClosed(
                    initiated_event_id=6,
                    run_id="o1",
                    first_run_id="o1",
                    closed=ev.WorkflowExecutionTerminated(event_id=3, event_time=at),
                ),
            ),
        )
    )
    return script


@scenario
def termination_by_a_reset() -> Script:
    script = Script(parent_workflow_id="parent", parent_run_id="p1", parent_initiated_event_id=9)
    script.turn(c.StartChildWorkflowExecution(workflow_id="kept", workflow_type="C"))
    script.ask(signal("go"))
    script.turn(c.StartChildWorkflowExecution(workflow_id="closed", workflow_type="C"))
    script.ask(req.TerminateExecution(reason="reset", reset_run_id=NEXT_RUN_ID, reset_event_id=8))
    script.note(f"owed: {[each.workflow_id for each in farewell(script.state)]}")
    return script


@scenario
def one_activity_is_paused() -> Script:
    script = Script()
    script.turn(pay("waits", schedule_to_start_timeout=5 * SECOND), pay("beats", heartbeat_timeout=9 * SECOND))
    script.begin(6)
    script.ask(req.PauseActivity(scheduled_event_id=5, reason="bank"))
    script.ask(req.PauseActivity(scheduled_event_id=5))
    script.ask(req.PauseActivity(scheduled_event_id=6))
    script.note("it was told, and stops for it: not counted")
    script.ask(req.AcknowledgeCancel(**script.attempt(6)))
    script.begin(5)
    script.after(6).ask(req.TimeOutActivity(scheduled_event_id=5, attempt=1, timeout_type="SCHEDULE_TO_START"))
    script.ask(req.UnpauseActivity(scheduled_event_id=5))
    script.ask(req.UnpauseActivity(scheduled_event_id=5))
    script.begin(5)
    script.ask(req.UnpauseActivity(scheduled_event_id=6, delay=2 * SECOND, reset_attempts=True, reset_heartbeat=True))
    script.after(2).ask(req.RetryActivity(scheduled_event_id=6, attempt=1))
    script.note("an attempt that runs goes on, and the next one is the first")
    script.ask(req.FailActivity(**script.attempt(5), failure=FAILURE))
    script.after(1).ask(req.RetryActivity(scheduled_event_id=5, attempt=2))
    script.begin(5)
    script.ask(req.PauseActivity(scheduled_event_id=5))
    script.ask(req.UnpauseActivity(scheduled_event_id=5, reset_attempts=True))
    script.ask(req.FailActivity(**script.attempt(5), failure=FAILURE))
    return script


@scenario
def one_activity_is_reset() -> Script:
    script = Script()
    script.turn(pay("backs off", schedule_to_close_timeout=10 * SECOND), pay("runs", heartbeat_timeout=9 * SECOND))
    for event_id in (5, 6):
        script.begin(event_id)
        script.ask(req.HeartbeatActivity(**script.attempt(event_id)))
    first = script.attempt(5)
    script.ask(req.FailActivity(**first, failure=FAILURE))
    script.after(8).ask(req.ResetActivity(scheduled_event_id=5, reset_heartbeat=True))
    script.begin(5)
    script.note("attempts count from 1 again: the first one of before is another")
    script.ask(req.CompleteActivity(**first))
    script.after(8).ask(req.TimeOutActivity(scheduled_event_id=5, attempt=1, timeout_type="SCHEDULE_TO_CLOSE"))
    script.ask(req.ResetActivity(scheduled_event_id=6))
    script.ask(req.FailActivity(**script.attempt(6), failure=FAILURE))
    for end in (req.AcknowledgeCancel, req.ReturnActivity):
        script.begin(6)
        script.ask(req.ResetActivity(scheduled_event_id=6, reset_heartbeat=True))
        script.ask(end(**script.attempt(6)))
    script.begin(6)
    script.ask(req.ResetActivity(scheduled_event_id=6))
    script.after(9).ask(req.TimeOutActivity(scheduled_event_id=6, attempt=1, timeout_type="HEARTBEAT"))
    return script


@scenario
def one_activity_gets_other_options() -> Script:
    script = Script()
    script.turn(pay(start_to_close_timeout=60 * SECOND))
    script.begin(5)
    longer = {"start_to_close_timeout": 90 * SECOND, "task_queue": "other"}
    script.ask(req.UpdateActivityOptions(scheduled_event_id=5, changes=longer))
    script.after(60).ask(req.TimeOutActivity(scheduled_event_id=5, attempt=1, timeout_type="START_TO_CLOSE"))
    script.ask(req.UpdateActivityOptions(scheduled_event_id=5, restore_original=True))
    script.ask(req.TimeOutActivity(scheduled_event_id=5, attempt=1, timeout_type="START_TO_CLOSE"))
    script.ask(req.PauseActivity(scheduled_event_id=5))
    script.ask(req.ResetActivity(scheduled_event_id=5, keep_paused=True, restore_options=True))
    for gone in (req.PauseActivity, req.UnpauseActivity, req.ResetActivity, req.UpdateActivityOptions):
        script.ask(gone(scheduled_event_id=99))
    return script
