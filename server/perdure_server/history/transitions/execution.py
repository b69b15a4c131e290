"""The run as a whole: signals, cancel requests, termination, timeouts, and the first task after a backoff."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from perdure_proto import events as ev
from perdure_proto.errors import Code
from perdure_proto.failures import Failure, RetryState, TimeoutFailure
from perdure_server.config import Limits
from perdure_server.history import requests as req
from perdure_server.history.decision import NOTHING, Decision, Draft, Moment, NewRun, PushCancel, refuse
from perdure_server.history.fullness import refuse_news
from perdure_server.history.retry import Trial, plan_retry
from perdure_server.history.state import ExecutionState
from perdure_server.history.transitions.across import take_leave
from perdure_server.history.transitions.activity import request_cancel
from perdure_server.history.transitions.arrival import arrive, flush, is_asked_to_stop, need_task, schedule_task
from perdure_server.history.transitions.chain import Successor, try_again
from perdure_server.history.transitions.cron import Ending, next_run


def signal(state: ExecutionState, request: req.SignalExecution, moment: Moment) -> Decision:
    """Records a signal once: a repeat by request id gets the first answer, even after the close."""
    if request.request_id and request.request_id in state.request_ids:
        return NOTHING
    refused = _closed(state) or _full(state, moment.limits)
    if refused is not None:
        return refused
    if signals_of(state, moment.limits.signals_max) >= moment.limits.signals_max:
        return refuse(
            Code.RESOURCE_EXHAUSTED, f"the run has {moment.limits.signals_max} signals, the most that a run may have"
        )
    draft = Draft(state, moment)
    arrive(
        draft,
        ev.WorkflowExecutionSignaled,
        signal_name=request.signal_name,
        input=request.input,
        kwargs=request.kwargs,
        encoding=request.encoding,
        identity=request.identity,
        request_id=request.request_id,
        header=request.header,
        external_workflow_id=request.external_workflow_id,
        external_run_id=request.external_run_id,
    )
    return draft.decision()


def cancel(state: ExecutionState, request: req.CancelExecution, moment: Moment) -> Decision:
    """Asks the workflow to stop; it hears of it once, however often it is asked.

    Law: where it was asked already nothing is written, not even the request id, so whoever repeats such a request
    after the close, because its answer was lost, must get that answer again.
    """
    if (request.request_id and request.request_id in state.request_ids) or is_asked_to_stop(state):
        return NOTHING
    refused = _closed(state)
    if refused is not None:
        return refused
    draft = Draft(state, moment)
    arrive(
        draft,
        ev.WorkflowExecutionCancelRequested,
        cause=request.reason,
        identity=request.identity,
        request_id=request.request_id,
        external_initiated_event_id=request.external_initiated_event_id,
        external_workflow_id=request.external_workflow_id,
        external_run_id=request.external_run_id,
    )
    if state.started.standalone_activity_id:
        for activity in state.activities.values():
            request_cancel(draft, activity, 0)
    return draft.decision()


def terminate(state: ExecutionState, request: req.TerminateExecution, moment: Moment) -> Decision:
    """Ends the run at once; what was buffered comes before the closing event."""
    refused = _closed(state)
    if refused is not None:
        return refused
    draft = Draft(state, moment)
    flush(draft)
    draft.add(
        ev.WorkflowExecutionTerminated,
        reason=request.reason,
        identity=request.identity,
        details=request.details,
        reset_run_id=request.reset_run_id,
        reset_event_id=request.reset_event_id,
    )
    let_go_of_all(draft)
    return draft.decision()


def time_out(state: ExecutionState, request: req.TimeOutExecution, moment: Moment) -> Decision:
    """Closes a run that took too long; a retry policy may begin another while the whole execution has time.

    A deadline that a pause has put off may still come at its old time: it changes nothing.
    """
    ends = [at for at in (state.run_expires_at, state.execution_expires_at) if at is not None]
    if not state.is_open or state.is_paused or (ends and moment.now < min(ends)):
        return NOTHING
    draft = Draft(state, moment)
    flush(draft)
    failure = Failure(message="workflow timed out", info=TimeoutFailure(timeout_type="START_TO_CLOSE"))
    new_run, retry_state = run_after_failure(state, failure, moment.now, request.new_run_id)
    draft.add(
        ev.WorkflowExecutionTimedOut,
        retry_state=retry_state,
        new_execution_run_id=new_run.run_id if new_run else "",
    )
    let_go_of_all(draft)
    decision = draft.decision()
    decision.new_run = new_run
    return decision


def begin_first_task(state: ExecutionState, request: req.BeginFirstTask, moment: Moment) -> Decision:
    """The backoff of a retried run is over."""
    if not state.is_open or state.workflow_task is not None or state.previous_started_event_id:
        return NOTHING
    if state.is_paused or (state.first_task_at is not None and moment.now < state.first_task_at):
        return NOTHING
    draft = Draft(state, moment)
    schedule_task(draft)
    return draft.decision()


def flush_buffer(state: ExecutionState, request: req.FlushBuffer, moment: Moment) -> Decision:
    """A new owner writes what its predecessor had buffered: the task that it waited for is given up."""
    draft = Draft(state, moment)
    if not state.is_open or not state.buffer:
        return NOTHING
    if flush(draft):
        need_task(draft)
    return draft.decision()


def run_after_failure(
    state: ExecutionState, failure: Failure, now: datetime, new_run_id: str, settled: Mapping[str, bool] | None = None
) -> tuple[NewRun | None, RetryState]:
    """The next attempt; where there is none, the next run of the cron schedule."""
    new_run, retry_state = retry_run(state, failure, now, new_run_id, settled)
    if new_run is None:
        new_run = next_run(state, Ending(now=now, new_run_id=new_run_id, failure=failure, settled=settled or {}))
    return new_run, retry_state


def retry_run(
    state: ExecutionState, failure: Failure, now: datetime, new_run_id: str, settled: Mapping[str, bool] | None = None
) -> tuple[NewRun | None, RetryState]:
    """The next attempt of a workflow, where its policy and its execution timeout leave one."""
    policy = state.started.retry_policy
    if policy is None or not new_run_id:
        return None, "RETRY_POLICY_NOT_SET"
    if is_asked_to_stop(state):
        return None, "CANCEL_REQUESTED"
    trial = Trial(attempt=state.started.attempt, now=now, expiration=state.execution_expires_at)
    retry = plan_retry(policy, failure, trial)
    if retry.at is None:
        return None, retry.state
    successor = Successor(
        run_id=new_run_id, now=now, initiator="RETRY", backoff=retry.at - now, failure=failure, settled=settled or {}
    )
    return try_again(state, successor), retry.state


def let_go_of_all(draft: Draft, reason: str = "WORKFLOW_CLOSED") -> None:
    """Tells the workers of a closing run that their attempts are no longer wanted, and the other executions."""
    for scheduled_event_id, activity in draft.state.activities.items():
        if activity.started_at is not None and not activity.closing:
            push = PushCancel(
                scheduled_event_id, activity.attempt, activity.session, activity.started_at, reason, activity.stamp
            )
            draft.effects.append(push)
    take_leave(draft)


def _closed(state: ExecutionState) -> Decision | None:
    if state.is_open:
        return None
    return refuse(Code.WORKFLOW_CLOSED, f"the run {state.run_id} is closed ({state.status})", status=state.status)


def signals_of(state: ExecutionState, enough: int) -> int:
    """How many signals the run has, those in the buffer too; they are only counted where they may be enough."""
    if state.signals + len(state.buffer) < enough:
        return state.signals
    return state.signals + sum(isinstance(event, ev.WorkflowExecutionSignaled) for event in state.buffer)


def _full(state: ExecutionState, limits: Limits) -> Decision | None:
    full = refuse_news(state, limits)
    if full is not None:
        return full
    if len(state.request_ids) >= limits.carried_request_ids_max:
        return refuse(Code.RESOURCE_EXHAUSTED, "too many request ids in the last minutes: try again later")
    return None
