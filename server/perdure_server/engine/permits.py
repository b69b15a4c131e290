"""Permits as the owner of runs has them: asked for at hand-out, kept while the attempt runs, given back at its end.

An attempt under a concurrency limit is offered to workers like any other. When a worker takes it, it asks the limit's
home for a permit (`permit_homes`); without one the worker gets something else, and the attempt is offered again when
its turn has come. A permit that no worker takes up in time goes back, and is asked for again when one comes.

Law: an attempt is handed out only when its row says that it holds the permit, so that whoever comes next knows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Literal

from perdure_proto.options import merged_priority
from perdure_server.engine.execution import Execution
from perdure_server.engine.limit_names import limit_of
from perdure_server.engine.permit_homes import Homes
from perdure_server.engine.permit_letters import Note
from perdure_server.history.state import ActivityState
from perdure_server.matching.permits import Claim, Ident
from perdure_server.matching.port import PRIORITY_DEFAULT
from perdure_server.store.port import Store

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

UNUSED_SECONDS = 5.0
"""So long a permit waits for a worker."""


class Hold:
    """A claim of ours, and the attempt for which it is."""

    __slots__ = ("claim", "execution", "of", "state")

    def __init__(self, claim: Claim, execution: Execution, activity: ActivityState) -> None:
        self.claim = claim
        self.execution = execution
        self.of = activity.attempt, activity.stamp
        self.state: Literal["waiting", "granted", "started"] = "waiting"


class Permits:
    """What the runs of this server hold and wait for."""

    def __init__(self, engine: Engine, store: Store) -> None:
        self.homes = Homes(self, store)
        self._engine = engine
        self._holds: dict[Ident, Hold] = {}
        self._numbers = count(1)

    def admit(self, execution: Execution, activity: ActivityState) -> bool:
        """Whether the attempt may be handed out now. If not, it is offered again when it may."""
        if not _may_start(execution, activity):
            return True  # who starts it will see that
        hold = execution.permits.get(activity.scheduled.event_id)
        if hold is None:
            hold = self._add(execution, activity)
            if self.homes.want(hold.claim):
                hold.state = "granted"
        return hold.state == "granted"

    def review(self, execution: Execution) -> None:
        """The run has changed: permits of attempts that are over go back, once that is durable."""
        for event_id, hold in list(execution.permits.items()):
            activity = execution.state.activities.get(event_id)
            is_same = activity is not None and (activity.attempt, activity.stamp) == hold.of
            if activity is not None and is_same and hold.state != "waiting" and _runs(execution, activity):
                hold.state = "started"
            elif activity is None or not is_same or hold.state == "started" or not _may_start(execution, activity):
                self._remove(hold)
                self._engine.transactor.release(execution, [partial(self.homes.drop, hold.claim)])

    def adopt(self, execution: Execution) -> None:
        """A run was loaded: its attempts that run hold their permits."""
        for activity in execution.state.activities.values():
            if activity.scheduled.concurrency_max is not None and _runs(execution, activity):
                hold = self._add(execution, activity)
                hold.state = "started"
                self.homes.hold(hold.claim)

    def forget(self, execution: Execution) -> None:
        """The run leaves memory. What it holds stays held by its rows, until it is loaded again here or elsewhere."""
        for hold in list(execution.permits.values()):
            self._let_go(hold)

    def withdraw(self, shards: Collection[int]) -> None:
        """The shards are another's: so is what their runs hold, also those that are not in memory."""
        for hold in [hold for hold in self._holds.values() if hold.claim.shard_id in shards]:
            self._let_go(hold)

    def notes(self) -> Iterator[Note]:
        """All that is wanted and held here, for a home that gathers."""
        for hold in self._holds.values():
            yield Note("want" if hold.state == "waiting" else "hold", hold.claim)

    def granted(self, claim: Claim) -> bool:
        """Its turn has come: it is offered again."""
        hold = self._holds.get(claim.ident)
        if hold is None or hold.claim.number != claim.number:
            return False
        if hold.state == "waiting":
            hold.state = "granted"
            asyncio.get_running_loop().call_later(UNUSED_SECONDS, self._unused, hold)
            self._engine.offer_activity(hold.execution, claim.scheduled_event_id)
        return True

    def waits_for(self, execution: Execution, event_id: int) -> str:
        """What an activity waits for, in words; empty where it is no permit."""
        hold = execution.permits.get(event_id)
        if hold is None or hold.state != "waiting":
            return ""
        scheduled = execution.state.activities[event_id].scheduled
        of = f"key {scheduled.concurrency_key!r}" if scheduled.concurrency_key else f"type {scheduled.activity_type!r}"
        return f"waiting for a permit: at most {hold.claim.most} of {of} run at once"

    def stop(self) -> None:
        """Nothing is given or taken any more."""
        self.homes.stop()

    def _add(self, execution: Execution, activity: ActivityState) -> Hold:
        scheduled = activity.scheduled
        priority = merged_priority(scheduled.priority, execution.state.started.priority)
        claim = Claim(
            limit=limit_of(execution, scheduled) or "",
            most=scheduled.concurrency_max or 1,
            said_at=scheduled.event_time.timestamp(),
            priority=(priority.priority_key if priority is not None else 0) or PRIORITY_DEFAULT,
            due_at=(activity.attempt_scheduled_at or scheduled.event_time).timestamp(),
            shard_id=execution.key.shard_id,
            run_id=execution.run_id,
            scheduled_event_id=scheduled.event_id,
            number=next(self._numbers),
        )
        hold = execution.permits[scheduled.event_id] = self._holds[claim.ident] = Hold(claim, execution, activity)
        return hold

    def _remove(self, hold: Hold) -> None:
        hold.execution.permits.pop(hold.claim.scheduled_event_id, None)
        if self._holds.get(hold.claim.ident) is hold:
            del self._holds[hold.claim.ident]

    def _let_go(self, hold: Hold) -> None:
        self._remove(hold)
        if hold.state != "started":
            self.homes.drop(hold.claim)

    def _unused(self, hold: Hold) -> None:
        """No worker came for it: others may have it meanwhile."""
        if hold.state == "granted" and self._holds.get(hold.claim.ident) is hold:
            self._remove(hold)
            self.homes.drop(hold.claim)


def _may_start(execution: Execution, activity: ActivityState) -> bool:
    is_due = activity.started_at is None and activity.next_attempt_at is None and not activity.closing
    is_held_back = execution.state.is_paused or activity.paused is not None
    return is_due and not is_held_back and execution.state.is_open and not execution.is_lost


def _runs(execution: Execution, activity: ActivityState) -> bool:
    return activity.started_at is not None and not activity.closing and execution.state.is_open
