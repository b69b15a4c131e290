"""Activities: handed out, retried, closed. Attempts write no events; the event that closes one carries the last.

Law: an answer counts only for the attempt that is pending, and closes it at most once.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import structs

from perdure_proto import events as ev
from perdure_proto.errors import Code
from perdure_proto.failures import Failure, TimeoutFailure, TimeoutType
from perdure_server.history import records as rec
from perdure_server.history import requests as req
from perdure_server.history.decision import NOTHING, Decision, Draft, Moment, OfferActivity, PushCancel, refuse
from perdure_server.history.freezing import clock
from perdure_server.history.retry import DEFAULT_POLICY, Retry, Trial, plan_retry
from perdure_server.history.state import ActivityState, ExecutionState
from perdure_server.history.transitions.arrival import buffer, need_task
from perdure_server.history.transitions.control import begin_again, stop
from perdure_server.history.transitions.standalone import close_with


def start(state: ExecutionState, request: req.StartActivity, moment: Moment) -> Decision:
    """Gives the attempt to a worker; `answer` is the activity. Stale offers change nothing."""
    activity = _asked(state, request)
    if activity is None or activity.started_at is not None or activity.next_attempt_at is not None:
        return NOTHING
    if (state.is_paused or activity.paused is not None) and not request.held:
        return NOTHING
    fact = rec.AttemptStarted(
        scheduled_event_id=request.scheduled_event_id,
        started_at=request.started_at,
        identity=request.identity,
        session=request.session,
    )
    return Decision(records=[fact], answer=activity)


def complete(state: ExecutionState, request: req.CompleteActivity, moment: Moment) -> Decision:
    """Closes the activity with its result; one that is recorded counts whichever attempt it is of."""
    if request.recorded:
        return _complete_recorded(state, request, moment)
    activity = _asked(state, request)
    if activity is None:
        return _stale(request)
    draft = Draft(state, moment)
    _close(draft, request, activity, ev.ActivityTaskCompleted, result=request.result, encoding=request.encoding)
    return draft.decision()


def _complete_recorded(state: ExecutionState, request: req.CompleteActivity, moment: Moment) -> Decision:
    activity = state.activities.get(request.scheduled_event_id)
    if activity is None or activity.closing:
        return _stale(request)
    draft = Draft(state, moment)
    if activity.attempt != request.attempt:
        if activity.started_at is not None:
            draft.effects.append(_push(activity, "NOT_FOUND"))
        activity = ActivityState(scheduled=activity.scheduled, attempt=request.attempt)
    _close(draft, request, activity, ev.ActivityTaskCompleted, result=request.result, encoding=request.encoding)
    return draft.decision()


def begin_transaction(state: ExecutionState, request: req.BeginTransaction, moment: Moment) -> Decision:
    """Allows the attempt to commit the activity's completion itself.

    Law: this is durable before the transaction begins, so whoever closes the activity later knows of it; and a closed
    activity allows none.
    """
    activity = _asked(state, request)
    if activity is None:
        return _stale(request)
    records: list[rec.AnyRecord] = []
    if activity.started_at is None:
        records.append(_started(request))
    records.append(rec.TransactionBegun(scheduled_event_id=request.scheduled_event_id))
    return Decision(records=records)


def fail(state: ExecutionState, request: req.FailActivity, moment: Moment) -> Decision:
    """Plans the next attempt, or closes the activity as failed."""
    activity = _asked(state, request)
    if activity is None:
        return _stale(request)
    retry = _retry(state, activity, request.failure, moment)
    if activity.reset_pending and retry.state not in ("NON_RETRYABLE_FAILURE", "CANCEL_REQUESTED"):
        return begin_again(state, activity, moment)
    if retry.at is not None:
        return _plan(request.scheduled_event_id, request.failure, retry.at)
    draft = Draft(state, moment)
    _close(draft, request, activity, ev.ActivityTaskFailed, failure=request.failure, retry_state=retry.state)
    return draft.decision()


def acknowledge_cancel(state: ExecutionState, request: req.AcknowledgeCancel, moment: Moment) -> Decision:
    """Closes the activity as cancelled; only one that was asked to stop can end so."""
    activity = _asked(state, request)
    if activity is None:
        return _stale(request)
    if not activity.cancel_requested_event_id and (activity.reset_pending or activity.paused is not None):
        return stop(state, activity, moment)
    if not activity.cancel_requested_event_id:
        return refuse(Code.INVALID_ARGUMENT, "the activity was not asked to stop: report a failure instead")
    draft = Draft(state, moment)
    _close(
        draft,
        request,
        activity,
        ev.ActivityTaskCanceled,
        latest_cancel_requested_event_id=activity.cancel_requested_event_id,
        details=request.details,
        encoding=request.encoding,
    )
    return draft.decision()


def heartbeat(state: ExecutionState, request: req.HeartbeatActivity, moment: Moment) -> Decision:
    """Notes that the attempt goes on; `answer` says whether it is asked to stop."""
    activity = _asked(state, request)
    if activity is None:
        return _stale(request)
    records: list[rec.AnyRecord] = []
    if activity.started_at is None:
        records.append(_started(request))
    beat = rec.AttemptHeartbeat(
        scheduled_event_id=request.scheduled_event_id,
        at=moment.now,
        details=request.details,
        encoding=request.encoding,
    )
    return Decision(records=[*records, beat], answer=bool(activity.cancel_requested_event_id))


def detach(state: ExecutionState, request: req.DetachActivity, moment: Moment) -> Decision:
    """The worker lets go of the attempt: it goes on under its deadlines, until somebody else says how it ended."""
    activity = _asked(state, request)
    if activity is None:
        return _stale(request)
    records: list[rec.AnyRecord] = []
    if activity.started_at is None:
        records.append(_started(request))
    return Decision(records=[*records, rec.AttemptDetached(scheduled_event_id=request.scheduled_event_id)])


def give_back(state: ExecutionState, request: req.ReturnActivity, moment: Moment) -> Decision:
    """The attempt is due again; it was never run, or is run by nobody."""
    activity = _asked(state, request)
    if activity is None or activity.started_at is None or activity.started_at != request.started_at:
        return NOTHING  # not running, or it came back once already and another worker has it
    if activity.is_detached:
        return NOTHING  # its worker has let go of it: nobody can give it back
    if activity.cancel_requested_event_id:
        draft = Draft(state, moment)
        attributes = {"latest_cancel_requested_event_id": activity.cancel_requested_event_id}
        _close_attempt(draft, activity, ev.ActivityTaskCanceled, attributes)
        return draft.decision()
    if activity.reset_pending:
        return begin_again(state, activity, moment)
    fact = rec.AttemptReturned(scheduled_event_id=request.scheduled_event_id)
    return Decision(records=[fact], effects=[OfferActivity(request.scheduled_event_id)])


def retry(state: ExecutionState, request: req.RetryActivity, moment: Moment) -> Decision:
    """The backoff is over: the attempt is due."""
    activity = _pending(state, request.scheduled_event_id, request.attempt)
    if activity is None or activity.next_attempt_at is None or moment.now < activity.next_attempt_at:
        return NOTHING
    if state.is_paused:
        return NOTHING
    fact = rec.AttemptDue(scheduled_event_id=request.scheduled_event_id)
    return Decision(records=[fact], effects=[OfferActivity(request.scheduled_event_id)])


def time_out(state: ExecutionState, request: req.TimeOutActivity, moment: Moment) -> Decision:
    """A deadline passed: the attempt is repeated, or the activity closed, by what kind of deadline it was."""
    activity = _pending(state, request.scheduled_event_id, request.attempt)
    if activity is None or state.is_paused or not is_due(activity, request.timeout_type, moment.now):
        return NOTHING
    failure = _timeout_failure(activity, request.timeout_type)
    retry = _retry(state, activity, failure, moment)
    draft = Draft(state, moment)
    if activity.started_at is not None:
        draft.effects.append(_push(activity, "TIMED_OUT"))
    if retry.at is not None:
        decision = _plan(request.scheduled_event_id, failure, retry.at)
        if activity.reset_pending:
            decision = begin_again(state, activity, moment)
            draft.effects.extend(decision.effects)
        decision.effects = draft.effects
        return decision
    if retry.state == "TIMEOUT":
        failure = _no_time_left(activity, failure)
    attributes: dict[str, Any] = {"failure": failure, "retry_state": retry.state}
    _close_attempt(draft, activity, ev.ActivityTaskTimedOut, attributes)
    return draft.decision()


def request_cancel(draft: Draft, activity: ActivityState, completed_event_id: int) -> bool:
    """Writes the request; an attempt that nobody runs is cancelled at once. Says whether it was."""
    draft.add(
        ev.ActivityTaskCancelRequested,
        scheduled_event_id=activity.scheduled.event_id,
        workflow_task_completed_event_id=completed_event_id,
    )
    if activity.closing:
        return False
    if activity.started_at is not None:
        draft.effects.append(_push(activity, "CANCEL_REQUESTED"))
        return False
    _cancel_now(draft, activity, draft.next_id - 1)
    return True


DEADLINES: tuple[TimeoutType, ...] = ("SCHEDULE_TO_CLOSE", "SCHEDULE_TO_START", "START_TO_CLOSE", "HEARTBEAT")


def deadline(activity: ActivityState, kind: TimeoutType) -> datetime | None:
    """When a timeout of this kind ends the attempt as it stands; None when it cannot."""
    scheduled = activity.scheduled
    if kind == "SCHEDULE_TO_CLOSE":
        limit = scheduled.schedule_to_close_timeout
        return scheduled.event_time + activity.frozen + limit if limit is not None else None
    if kind == "SCHEDULE_TO_START":
        waiting = activity.started_at is None and activity.paused is None
        limit = scheduled.schedule_to_start_timeout
        since = activity.attempt_scheduled_at if waiting else None
        return since + limit if limit is not None and since is not None else None
    if activity.started_at is None:
        return None
    if kind == "START_TO_CLOSE":
        limit = scheduled.start_to_close_timeout
        return activity.started_at + activity.attempt_frozen + limit if limit is not None else None
    limit = scheduled.heartbeat_timeout
    heard_at = activity.heartbeat_at or activity.started_at + activity.attempt_frozen
    return heard_at + limit if limit is not None else None


def is_due(activity: ActivityState, kind: TimeoutType, now: datetime) -> bool:
    """Whether a deadline has passed."""
    at = deadline(activity, kind)
    return at is not None and at <= now


def _pending(state: ExecutionState, scheduled_event_id: int, attempt: int) -> ActivityState | None:
    activity = state.activities.get(scheduled_event_id)
    if activity is None or activity.closing or activity.attempt != attempt:
        return None
    return activity


def _asked(state: ExecutionState, request: req.OnActivity) -> ActivityState | None:
    """The same for one that a token names: attempts count from 1 again after a reset, so that is compared too."""
    activity = _pending(state, request.scheduled_event_id, request.attempt)
    return activity if activity is not None and activity.stamp == request.stamp else None


def _stale(request: req.OnActivity) -> Decision:
    return refuse(
        Code.TASK_NOT_FOUND,
        f"attempt {request.attempt} of the activity scheduled by event {request.scheduled_event_id} is not pending:"
        " it was closed, timed out or is being tried again",
    )


def _retry(state: ExecutionState, activity: ActivityState, failure: Failure, moment: Moment) -> Retry:
    if activity.cancel_requested_event_id:
        return Retry(None, "CANCEL_REQUESTED")
    policy = activity.scheduled.retry_policy or DEFAULT_POLICY
    expiration = deadline(activity, "SCHEDULE_TO_CLOSE")
    now = clock(state, moment.now)  # of a run that is paused: what is planned is put off with all the rest
    return plan_retry(policy, failure, Trial(attempt=activity.attempt, now=now, expiration=expiration))


def _plan(scheduled_event_id: int, failure: Failure, at: datetime) -> Decision:
    fact = rec.AttemptFailed(scheduled_event_id=scheduled_event_id, failure=failure, next_attempt_at=at)
    return Decision(records=[fact])


def _started(request: req.OnActivity) -> rec.AttemptStarted:
    return rec.AttemptStarted(
        scheduled_event_id=request.scheduled_event_id,
        started_at=request.started_at,
        identity=request.identity,
        session=request.session,
    )


def _timeout_failure(activity: ActivityState, kind: TimeoutType) -> Failure:
    info = TimeoutFailure(
        timeout_type=kind,
        last_heartbeat_details=activity.heartbeat_details,
        encoding=activity.heartbeat_encoding,
    )
    words = kind.lower().replace("_", "-")
    return Failure(message=f"activity {words} timeout", info=info, cause=activity.last_failure)


def _no_time_left(activity: ActivityState, failure: Failure) -> Failure:
    """As Temporal does it: an attempt ran too long and the next would pass the last deadline, so that one is named."""
    whole = _timeout_failure(activity, "SCHEDULE_TO_CLOSE")
    message = "not enough time to schedule the next retry before the activity schedule-to-close timeout"
    return structs.replace(whole, message=message, cause=failure)


def _push(activity: ActivityState, reason: str) -> PushCancel:
    started_at = activity.started_at or activity.scheduled.event_time
    return PushCancel(
        activity.scheduled.event_id, activity.attempt, activity.session, started_at, reason, activity.stamp
    )


def _close(
    draft: Draft, request: req.OnActivity, activity: ActivityState, kind: type[ev.Event], /, **attributes: Any
) -> None:
    if activity.started_at is None:
        activity = _as_started(activity, request)
    _close_attempt(draft, activity, kind, {"identity": request.identity, **attributes})


def _as_started(activity: ActivityState, request: req.OnActivity) -> ActivityState:
    """A completion from before this owner knew of the start: the token says when it was."""
    return ActivityState(
        scheduled=activity.scheduled,
        attempt=activity.attempt,
        started_at=request.started_at,
        identity=request.identity,
        last_failure=activity.last_failure,
    )


def _close_attempt(draft: Draft, activity: ActivityState, kind: type[ev.Event], attributes: dict[str, Any]) -> None:
    """Writes Started (where the attempt had begun) and the closing event, or buffers both."""
    scheduled_event_id = activity.scheduled.event_id
    started: dict[str, Any] = {
        "scheduled_event_id": scheduled_event_id,
        "identity": activity.identity,
        "attempt": activity.attempt,
        "last_failure": activity.last_failure,
    }
    attributes["scheduled_event_id"] = scheduled_event_id
    if draft.state.is_buffering:
        if activity.started_at is not None:
            buffer(draft, ev.ActivityTaskStarted, started_at=activity.started_at, **started)
        buffer(draft, kind, started_event_id=0, **attributes)
        return
    started_event_id = 0
    if activity.started_at is not None:
        placed = draft.add(ev.ActivityTaskStarted, at=activity.started_at, **started)
        started_event_id = placed.event_id
    _closed(draft, draft.add(kind, started_event_id=started_event_id, **attributes))


def _closed(draft: Draft, closed: ev.Event) -> None:
    """The workflow hears of it, or where there is none the run ends."""
    if draft.state.started.standalone_activity_id:
        close_with(draft, closed)
    else:
        need_task(draft)


def _cancel_now(draft: Draft, activity: ActivityState, requested_event_id: int = 0) -> None:
    closed = draft.add(
        ev.ActivityTaskCanceled,
        scheduled_event_id=activity.scheduled.event_id,
        latest_cancel_requested_event_id=requested_event_id or activity.cancel_requested_event_id,
    )
    if draft.state.started.standalone_activity_id:
        close_with(draft, closed)
