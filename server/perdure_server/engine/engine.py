"""The engine: owns the runs of its shards. It puts the parts together and says what leaves after a commit.

Everything here runs on one event loop; state changes are synchronous, so no lock is needed. What may take time (loads,
commits) is awaited by callers, never inside a change.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

import structlog

from perdure_proto import events as ev
from perdure_proto.errors import Code, ServiceError
from perdure_proto.failures import Failure, ServerFailure
from perdure_proto.ids import uuid7
from perdure_proto.options import Priority, merged_priority
from perdure_proto.tasks import CancelActivity
from perdure_server.clock import time_of_day
from perdure_server.config import EngineSettings, Limits
from perdure_server.engine.batch import Batch
from perdure_server.engine.committer import Committer
from perdure_server.engine.earlier import Earlier
from perdure_server.engine.execution import Execution, Held, wake_all
from perdure_server.engine.outcomes import Outcomes
from perdure_server.engine.parking import Parking
from perdure_server.engine.permits import Permits
from perdure_server.engine.residents import Residents
from perdure_server.engine.starts import stage_first_events
from perdure_server.engine.successions import Successions, must_wait
from perdure_server.engine.tenures import Tenures
from perdure_server.engine.timers import Timers
from perdure_server.engine.tokens import ActivityToken
from perdure_server.engine.transactor import Transactor
from perdure_server.engine.update_waits import (
    answer_update,
    completed_answer,
    end_waits,
    move_waiters,
    rejected_answer,
    wake_accepted,
)
from perdure_server.history import decision as dec
from perdure_server.history import records as rec
from perdure_server.history import requests as req
from perdure_server.history.deadlines import deadlines_of
from perdure_server.history.evolve import begin
from perdure_server.history.fullness import is_full
from perdure_server.history.outbox import farewell, outbox
from perdure_server.matching.port import PRIORITY_DEFAULT, TaskKind, TaskRef
from perdure_server.matching.service import Matching
from perdure_server.store.port import RunKey, Store

if TYPE_CHECKING:
    from perdure_server.engine.outbox import Outbox

log = structlog.get_logger()

_PRIORITY_DEFAULT = Priority()

Attempts: TypeAlias = list[tuple[int, int, int]]
"""Scheduled event id, attempt, and stamp."""


class Engine:
    """The runs of one server. `start()` before the first request, `stop()` after the last."""

    def __init__(
        self, store: Store, committer: Committer, *, shards: int, settings: EngineSettings, limits: Limits
    ) -> None:
        self.store = store
        self.committer = committer
        self.settings = settings
        self.limits = limits
        self.wall: Callable[[], datetime] = time_of_day
        self.clock_offset: Callable[[], timedelta] = timedelta
        self.address_of: Callable[[int], str] = lambda _: ""
        """Where the owner of a shard is; the composition root knows."""
        self.tenures = Tenures(lambda shard_id: self.address_of(shard_id))  # noqa: PLW0108 - it is set later
        self.residents = Residents(store, shards, self.tenures, self._adopt)
        self.transactor = Transactor(committer, self, settings, limits)
        self.timers = Timers(self.now, self._due)
        self.outcomes = Outcomes(self)
        self.successions = Successions(self)
        self.parking = Parking(self)
        self.permits = Permits(self, store)
        self.earlier = Earlier(self)
        self.matching: Matching
        self.outbox: Outbox
        self.touched: dict[str, float] = {}
        """Runs that changed since the last sweep."""
        self.idle: dict[str, float] = {}
        """Runs that the sweep has settled, in order; they wait for their eviction or for the next touch."""
        self.backing_off: set[str] = set()
        """Runs whose workflow task failed since they were loaded."""
        self.recovering: set[int] = set()
        """Shards of which not all is in memory yet that ought to be."""
        self.expected: dict[int, list[tuple[Execution, Attempts]]] = {}
        """By shard in recovery: attempts that run somewhere, as their rows say."""
        self.dropped: set[RunKey] = set()
        """Runs whose memory could not be trusted: they are read again soon, for their timers run on."""

    def now(self) -> datetime:
        """Cluster time: our clock, corrected by what the heartbeats measured."""
        return self.wall() + self.clock_offset()

    def new_run_id(self) -> str:
        """An id for a run that begins now."""
        return uuid7(int(time.time() * 1000), os.urandom(10))

    def transact(self, execution: Execution, request: req.Request, now: datetime | None = None) -> dec.Decision:
        """Decides and applies a request to a run in memory, at a time given or as of now."""
        if execution.is_lost:
            raise self.refusal(execution)
        if execution.transactional:
            return self.outcomes.transact(execution, request, now)
        return self.transactor.transact(execution, request, now)

    def refusal(self, execution: Execution) -> ServiceError:
        """What those get who come with a run that memory has let go of."""
        if execution.key.shard_id not in self.tenures.owned:
            return self.tenures.refusal(execution.key.shard_id)
        return ServiceError(Code.UNAVAILABLE, "the run is being read again: try again")

    def check_ours(self, execution: Execution) -> None:
        """Law: nothing is staged about a shard that was given away; whoever tries has missed that the run is lost."""
        if execution.key.shard_id not in self.tenures.owned:
            log.error("stage_refused", run_id=execution.run_id, shard=execution.key.shard_id)
            raise self.tenures.refusal(execution.key.shard_id)

    async def decided(self, execution: Execution, request: req.Request) -> dec.Decision:
        """The same for those who can wait: a request that is held is answered when it is decided."""
        decision = self.transact(execution, request)
        return await asyncio.shield(decision.later) if isinstance(decision, Held) else decision

    async def settled(self, execution: Execution) -> None:
        """Law: every answer waits for the last pending append; a read is confirmed by a commit that began after it."""
        # Not the commit in flight: it may have held the fence long ago.
        await self._landed(execution, self.committer.barrier())

    async def acknowledged(self, execution: Execution, barrier: Batch | None = None) -> None:
        """The same where something may be in the buffer: that is durable once it is flushed or has rows."""
        if execution.buffer_batch is not None:
            batch = await asyncio.shield(execution.buffer_batch)
            await batch.landed(execution.run_id)
        else:
            await self._landed(execution, barrier or self.committer.barrier())

    async def _landed(self, execution: Execution, barrier: Batch) -> None:
        await execution.landed()
        await barrier.landed(execution.run_id)

    def emit(self, execution: Execution, effect: dec.Effect) -> None:
        """An effect whose decision is durable."""
        match effect:
            case dec.OfferWorkflowTask():
                self.offer_workflow_task(execution)
            case dec.OfferActivity():
                self.offer_activity(execution, effect.scheduled_event_id)
            case dec.PushCancel():
                self._push_cancel(execution, effect)
            case dec.UpdateRejected():
                self._reject_update(execution, effect)
            case dec.Deliver():
                self.outbox.offer(execution, outbox(execution.state, effect.event_ids))
            case dec.TakeLeave():
                self.outbox.offer(execution, farewell(execution.state))

    def announce(self, execution: Execution, events: Sequence[ev.AnyEvent]) -> None:
        """Tells those who wait what is durable now."""
        if execution.update_waiters:
            self._announce_updates(execution, events)
        if execution.event_waiters:
            wake_all(execution.event_waiters)
        if execution.state.closed is not None and events[-1].event_id >= execution.state.closed.event_id:
            wake_all(execution.result_waiters)

    def begin_run(self, execution: Execution, new_run: dec.NewRun) -> None:
        """Stages the next run of a chain with the close of this one; updates that wait move over."""
        started = new_run.events[0]
        assert isinstance(started, ev.WorkflowExecutionStarted)
        key = RunKey(execution.key.shard_id, new_run.run_id)
        following = Execution(key, execution.workflow, execution.namespace_id, begin(new_run.run_id, started))
        following.past = execution.past  # nobody else has had the workflow id meanwhile
        assert not start_is_pending(execution), "one statement cannot replace a run that it inserts"
        self.residents.add(following, is_current=True)
        stage_first_events(self, following, new_run.events, replaces=execution.run_id)
        for delivery, identity in new_run.moved_updates:
            moved = rec.UpdateAdmitted(delivery=delivery, identity=identity)
            self.transactor.apply(following, dec.Decision(records=[moved]))
            move_waiters(execution, following, delivery.update_id)

    def arm(self, execution: Execution) -> None:
        """The earliest deadline may have changed; the run was touched."""
        self.timers.arm(execution)
        self.idle.pop(execution.run_id, None)
        self.touched.pop(execution.run_id, None)  # so that the order of the dict is that of the last touch
        self.touched[execution.run_id] = time.monotonic()
        if execution.permits:
            self.permits.review(execution)

    def drop(self, execution: Execution, error: Exception) -> None:
        """The run's append did not land: memory is ahead of the log, so the run is read again when it is needed."""
        self.committer.withdraw(execution.run_id, error)
        if execution.key.shard_id in self.tenures.owned and not start_is_pending(execution):
            self.dropped.add(execution.key)
        self.let_go(execution, error)

    def let_go(self, execution: Execution, error: Exception) -> None:
        """The run leaves memory for good, and who waits for it is told."""
        execution.is_lost = True
        self.residents.remove(execution)
        if execution.permits:
            self.permits.forget(execution)
        wake_all(execution.result_waiters)
        wake_all(execution.event_waiters)
        for waiters in execution.update_waiters.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(error)
        if execution.buffer_batch is not None and not execution.buffer_batch.done():
            execution.buffer_batch.set_exception(error)
            execution.buffer_batch.exception()
        if execution.task_ended is not None and not execution.task_ended.done():
            execution.task_ended.set_result(None)

    def abandon(self) -> None:
        """The shards are somebody else's: nothing that is in memory may be used, and nobody may wait for it."""
        error = ServiceError(Code.UNAVAILABLE, "this server no longer owns the shard: try again")
        for execution in list(self.residents.by_run.values()):
            self.drop(execution, error)

    def forgive(self, namespace: str, queue: str, build_id: str) -> None:
        """A worker with code that was not tried yet has come: tasks that back off are due at once."""
        for run_id in list(self.backing_off):
            execution = self.residents.by_run.get(run_id)
            task = execution.state.workflow_task if execution is not None else None
            if execution is None or execution.is_lost or task is None or not task.last_failure_cause:
                self.backing_off.discard(run_id)
                continue
            is_here = (execution.namespace, execution.state.started.task_queue) == (namespace, queue)
            if is_here and build_id not in execution.tried_builds:
                self.transact(execution, req.RetryWorkflowTask(forgive=True))

    def offer_workflow_task(self, execution: Execution) -> None:
        """A workflow task is due: matching finds a worker, the one that has the run cached first."""
        task = execution.state.workflow_task
        if task is None or task.started is not None or execution.is_lost or execution.state.is_paused:
            return
        if must_wait(execution):
            return
        self._offer(execution, "workflow", 0, execution.state.started.task_queue, execution.state.started.workflow_type)

    def offer_activity(self, execution: Execution, scheduled_event_id: int) -> None:
        """An attempt of an activity is due."""
        activity = execution.state.activities.get(scheduled_event_id)
        if activity is None or activity.started_at is not None or activity.closing or execution.is_lost:
            return
        if activity.next_attempt_at is not None or execution.state.is_paused or activity.paused is not None:
            return
        if is_full(execution.state, self.limits):
            return
        scheduled = activity.scheduled
        queue = scheduled.task_queue or execution.state.started.task_queue
        self._offer(execution, "activity", scheduled_event_id, queue, scheduled.activity_type)

    def _offer(self, execution: Execution, kind: TaskKind, scheduled_event_id: int, queue: str, type_name: str) -> None:
        place = (kind, scheduled_event_id)
        if place in execution.offered:
            return
        activity = execution.state.activities.get(scheduled_event_id)
        own = activity.scheduled.priority if activity is not None else None
        priority = merged_priority(own, execution.state.started.priority) or _PRIORITY_DEFAULT
        ref = TaskRef(
            kind=kind,
            namespace=execution.queue_namespace,
            task_queue=queue,
            shard_id=execution.key.shard_id,
            run_id=execution.run_id,
            scheduled_event_id=scheduled_event_id,
            attempt=activity.attempt if activity is not None else 1,
            type_name=type_name,
            priority_key=priority.priority_key or PRIORITY_DEFAULT,
            fairness_key=priority.fairness_key,
            fairness_weight=priority.fairness_weight or 1.0,
            sticky_session="" if activity is not None else execution.sticky_session,
        )
        if execution.seat is not None:
            execution.seat.ref = ref
            execution.offered.add(place)
        elif self.matching.offer(ref, paged=self.parking.returning):
            execution.offered.add(place)
        else:
            self.parking.park(execution, ref)

    def _push_cancel(self, execution: Execution, effect: dec.PushCancel) -> None:
        token = ActivityToken(
            execution.key.shard_id,
            execution.run_id,
            effect.scheduled_event_id,
            effect.attempt,
            effect.started_at,
            effect.stamp,
        )
        self.matching.push(effect.session, CancelActivity(token=str(token), reason=effect.reason))

    def _reject_update(self, execution: Execution, effect: dec.UpdateRejected) -> None:
        answer_update(execution, effect.update_id, rejected_answer(execution, effect))

    def _announce_updates(self, execution: Execution, events: Sequence[ev.AnyEvent]) -> None:
        for event in events:
            if isinstance(event, ev.WorkflowExecutionUpdateCompleted):
                answer_update(execution, event.update_id, completed_answer(execution, event))
            elif isinstance(event, ev.WorkflowExecutionUpdateAccepted):
                wake_accepted(execution, event.update_id)
            elif isinstance(event, ev.CLOSING_EVENTS):
                end_waits(execution)

    def _adopt(self, execution: Execution) -> None:
        """A run was loaded: its deadlines, what was buffered, and all that is due."""
        state = execution.state
        for deadline in deadlines_of(state):
            execution.add_deadline(deadline)
        self.touched[execution.run_id] = time.monotonic()
        if not state.is_open:
            if execution.wake_owed:
                self.outbox.offer(execution, farewell(state))
            return
        if state.buffer:
            self.transact(execution, req.FlushBuffer())
        self.outbox.offer(execution, outbox(state))
        self._expect_workers(execution)
        self.permits.adopt(execution)
        self.outcomes.note(execution)
        self.successions.resume(execution)
        self.timers.arm(execution)
        if 0 not in execution.parked and (state.workflow_task is None or state.workflow_task.not_before is None):
            self.offer_workflow_task(execution)
        for scheduled_event_id, activity in state.activities.items():
            if scheduled_event_id not in execution.parked and activity.next_attempt_at is None:
                self.offer_activity(execution, scheduled_event_id)

    def _expect_workers(self, execution: Execution) -> None:
        """Attempts that the rows say are running: their workers have a while to come back."""
        attempts = execution.state.activities.values()
        running = [(each.scheduled.event_id, each.attempt, each.stamp) for each in attempts if each.started_at]
        if not running:
            return
        if execution.key.shard_id in self.recovering:
            self.expected.setdefault(execution.key.shard_id, []).append((execution, running))
        else:
            self._expect(execution, running)

    def recovered(self, shards: Iterable[int]) -> None:
        """All of these shards is in memory that must be: workers are asked what they hold, and have a while for it.

        The while begins now. Of what they listed before, that which was not in memory yet was not heard.
        """
        self.recovering.difference_update(shards)
        for shard_id in shards:
            for execution, running in self.expected.pop(shard_id, ()):
                self._expect(execution, running)
        self.matching.ask_held()

    def _expect(self, execution: Execution, running: Attempts) -> None:
        delay = self.settings.worker_lost_after.total_seconds()
        asyncio.get_running_loop().call_later(delay, self._miss_workers, execution, running)

    def _miss_workers(self, execution: Execution, running: Attempts) -> None:
        for scheduled_event_id, attempt, stamp in running:
            activity = execution.state.activities.get(scheduled_event_id)
            if activity is None or activity.started_at is None or execution.is_lost:
                continue
            is_pending = (activity.attempt, activity.stamp) == (attempt, stamp)
            if is_pending and (scheduled_event_id, attempt, stamp) not in execution.confirmed:
                self.lose_attempt(execution, scheduled_event_id)

    def lose_attempt(self, execution: Execution, scheduled_event_id: int) -> None:
        """Law: an attempt that is the last allowed goes on until its timeout, and its late completion is accepted."""
        activity = execution.state.activities[scheduled_event_id]
        if activity.is_detached:
            return  # no worker runs it
        policy = activity.scheduled.retry_policy
        if policy is not None and policy.maximum_attempts and activity.attempt >= policy.maximum_attempts:
            return
        assert activity.started_at is not None
        failure = Failure(
            message=f"the worker {activity.identity} was lost while it ran the activity",
            info=ServerFailure(code=Code.WORKER_LOST),
        )
        request = req.FailActivity(
            scheduled_event_id=scheduled_event_id,
            attempt=activity.attempt,
            started_at=activity.started_at,
            stamp=activity.stamp,
            failure=failure,
        )
        self.transact(execution, request)

    def _due(self, run_id: str) -> None:
        execution = self.residents.by_run.get(run_id)
        # Timers ring on between the end of the committer and the close: what is due then is for the next owner.
        if execution is None or execution.is_lost or self.committer.is_over:
            return
        execution.armed_at = None
        if execution.batch is not None and start_is_pending(execution):
            execution.batch.runs[run_id].effects.append(lambda: self._due(run_id))
            return
        now = self.now()
        while (deadline := execution.pop_due(now)) is not None:
            request = deadline.request
            if isinstance(request, req.TimeOutExecution):
                request = req.TimeOutExecution(new_run_id=self.new_run_id())
            try:
                self.transact(execution, request, now)  # at the moment that popped it: a clock set back would lose it
            except ServiceError:
                return  # fenced off: the new owner has this deadline too
            if not execution.state.is_open:
                break
        self.timers.arm(execution)


def start_is_pending(execution: Execution) -> bool:
    """Whether the run's claim of its workflow id has not landed yet."""
    staged = execution.batch.runs.get(execution.run_id) if execution.batch is not None else None
    return staged is not None and staged.start is not None
