"""The one funnel: a request and the state become a decision. Pure and total; one table says who decides what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure_server.history import requests as req
from perdure_server.history.decision import Decision, Moment
from perdure_server.history.fullness import hold_results
from perdure_server.history.state import ExecutionState
from perdure_server.history.transitions import (
    across,
    activity,
    control,
    execution,
    pause,
    reset,
    timer,
    update,
    workflow_task,
)

Decider = Callable[[ExecutionState, Any, Moment], Decision]


def decide(state: ExecutionState, request: req.Request, moment: Moment) -> Decision:
    """What a request does to a run: events, facts beside the log, effects, or a typed refusal. Changes nothing."""
    return hold_results(state, request, DECISIONS[type(request)](state, request, moment), moment.limits)


DECISIONS: dict[type[req.Request], Decider] = {
    req.SignalExecution: execution.signal,
    req.CancelExecution: execution.cancel,
    req.TerminateExecution: execution.terminate,
    req.PauseExecution: pause.pause,
    req.UnpauseExecution: pause.unpause,
    req.ResetExecution: reset.reset,
    req.TimeOutExecution: execution.time_out,
    req.BeginFirstTask: execution.begin_first_task,
    req.FlushBuffer: execution.flush_buffer,
    req.AdmitUpdate: update.admit,
    req.WithdrawUpdate: update.withdraw,
    req.StartWorkflowTask: workflow_task.start,
    req.ReclaimWorkflowTask: workflow_task.reclaim,
    req.CompleteWorkflowTask: workflow_task.complete,
    req.FailWorkflowTask: workflow_task.fail,
    req.ReturnWorkflowTask: workflow_task.give_back,
    req.TimeOutWorkflowTask: workflow_task.time_out,
    req.RetryWorkflowTask: workflow_task.retry,
    req.StartActivity: activity.start,
    req.CompleteActivity: activity.complete,
    req.FailActivity: activity.fail,
    req.AcknowledgeCancel: activity.acknowledge_cancel,
    req.DetachActivity: activity.detach,
    req.HeartbeatActivity: activity.heartbeat,
    req.BeginTransaction: activity.begin_transaction,
    req.ReturnActivity: activity.give_back,
    req.RetryActivity: activity.retry,
    req.TimeOutActivity: activity.time_out,
    req.PauseActivity: control.pause,
    req.UnpauseActivity: control.unpause,
    req.ResetActivity: control.reset,
    req.UpdateActivityOptions: control.update_options,
    req.FireTimer: timer.fire,
    req.RecordChildStarted: across.child_started,
    req.RecordChildStartFailed: across.child_start_failed,
    req.RecordChildClosed: across.child_closed,
    req.RecordMessageAnswered: across.message_answered,
}
"""Who decides what."""
