"""What is done to one pending activity from outside: paused, unpaused, reset, given other options. No event tells it.

Law: a paused activity is not handed out, and an attempt that runs goes on unless it heartbeats: then it is told, and is
not counted when it stops for that. The clock of `schedule_to_close` goes on. A reset of an attempt that runs holds from
its end on.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import structs

from perdure_proto.payload import NULL
from perdure_server.history import records as rec
from perdure_server.history import requests as req
from perdure_server.history.decision import NOTHING, Decision, Moment, OfferActivity, PushCancel
from perdure_server.history.freezing import clock
from perdure_server.history.state import ActivityPause, ActivityState, ExecutionState


def pause(state: ExecutionState, request: req.PauseActivity, moment: Moment) -> Decision:
    """Hands the activity out no more. One that is paused stays so."""
    activity = _pending(state, request.scheduled_event_id)
    if activity is None or activity.paused is not None:
        return NOTHING
    paused = ActivityPause(at=moment.now, identity=request.identity, reason=request.reason)
    changed = rec.ActivityControlled(scheduled_event_id=request.scheduled_event_id, to=_copy(activity, paused=paused))
    return Decision(records=[changed], effects=_tell(activity, "PAUSED"))


def unpause(state: ExecutionState, request: req.UnpauseActivity, moment: Moment) -> Decision:
    """Lets it go on: at once, or when its backoff is over; `delay` puts it off so that not all come together."""
    activity = _pending(state, request.scheduled_event_id)
    if activity is None or activity.paused is None:
        return NOTHING
    to = _copy(activity, paused=None)
    if request.reset_attempts and activity.started_at is not None:
        to = _copy(to, reset_pending="details" if request.reset_heartbeat else "attempts")
    elif request.reset_attempts:
        to = _begun_again(to)
    if request.reset_heartbeat:
        to = _without_details(to)
    return _go_on(state, to, moment, request.delay)


def reset(state: ExecutionState, request: req.ResetActivity, moment: Moment) -> Decision:
    """Begins it anew with attempt 1 and its whole time; one that runs, when that attempt has ended without success."""
    activity = _pending(state, request.scheduled_event_id)
    if activity is None:
        return NOTHING
    to = _copy(activity, paused=activity.paused if request.keep_paused else None)
    if request.restore_options and to.original is not None:
        to = _copy(to, scheduled=to.original, original=None)
    if activity.started_at is not None:
        to = _copy(to, reset_pending="details" if request.reset_heartbeat else "attempts")
        changed = rec.ActivityControlled(scheduled_event_id=request.scheduled_event_id, to=to)
        return Decision(records=[changed], effects=_tell(activity, "RESET"))
    to = _begun_again(to)
    to = _copy(to, frozen=clock(state, moment.now) - to.scheduled.event_time)
    if request.reset_heartbeat:
        to = _without_details(to)
    return _go_on(state, to, moment, request.delay)


def update_options(state: ExecutionState, request: req.UpdateActivityOptions, moment: Moment) -> Decision:
    """Other timeouts, retries or queue; an attempt that runs keeps its own queue, and its timeouts change at once."""
    activity = _pending(state, request.scheduled_event_id)
    if activity is None:
        return NOTHING
    original = activity.original or activity.scheduled
    options = original if request.restore_original else structs.replace(activity.scheduled, **request.changes)
    to = _copy(activity, scheduled=options, original=None if options == original else original)
    changed = rec.ActivityControlled(scheduled_event_id=request.scheduled_event_id, to=to)
    return Decision(records=[changed], effects=_offer(to))


def stop(state: ExecutionState, activity: ActivityState, moment: Moment) -> Decision:
    """An attempt ended because it was told of a pause or a reset: it is not counted."""
    if activity.reset_pending:
        return begin_again(state, activity, moment)
    return Decision(records=[rec.AttemptReturned(scheduled_event_id=activity.scheduled.event_id)])


def begin_again(state: ExecutionState, activity: ActivityState, moment: Moment) -> Decision:
    """The attempt for whose end a reset waited has ended."""
    to = _copy(_begun_again(activity), reset_pending="", started_at=None, session="", heartbeat_at=None)
    to = _copy(to, frozen=clock(state, moment.now) - to.scheduled.event_time)
    return _go_on(state, _without_details(to) if activity.reset_pending == "details" else to, moment, timedelta(0))


def _pending(state: ExecutionState, scheduled_event_id: int) -> ActivityState | None:
    activity = state.activities.get(scheduled_event_id)
    return None if activity is None or activity.closing else activity


def _go_on(state: ExecutionState, to: ActivityState, moment: Moment, delay: timedelta) -> Decision:
    """The activity as it is to be, due after a delay; one that runs only changes."""
    if to.started_at is None:
        now = clock(state, moment.now)
        at = max([now + delay, *([to.next_attempt_at] if to.next_attempt_at else [])])
        to = _copy(to, attempt_scheduled_at=at, next_attempt_at=at if at > now else None)
    changed = rec.ActivityControlled(scheduled_event_id=to.scheduled.event_id, to=to)
    return Decision(records=[changed], effects=_offer(to))


def _offer(to: ActivityState) -> list[OfferActivity | PushCancel]:
    is_due = to.started_at is None and to.next_attempt_at is None and to.paused is None
    return [OfferActivity(to.scheduled.event_id)] if is_due else []


def _tell(activity: ActivityState, reason: str) -> list[OfferActivity | PushCancel]:
    """As in Temporal, where an attempt hears of it with its next heartbeat: who does not heartbeat is left alone."""
    beats = activity.scheduled.heartbeat_timeout is not None or activity.heartbeat_at is not None
    if activity.started_at is None or not beats or activity.is_detached:
        return []
    event_id = activity.scheduled.event_id
    return [PushCancel(event_id, activity.attempt, activity.session, activity.started_at, reason, activity.stamp)]


def _begun_again(activity: ActivityState) -> ActivityState:
    next_attempt_at: datetime | None = None
    return _copy(activity, attempt=1, stamp=activity.stamp + 1, next_attempt_at=next_attempt_at, last_failure=None)


def _without_details(activity: ActivityState) -> ActivityState:
    return _copy(activity, heartbeat_details=NULL, heartbeat_encoding="")


def _copy(activity: ActivityState, **changes: object) -> ActivityState:
    """`decide` changes nothing: it says what the activity is to be."""
    return structs.replace(activity, **changes)
