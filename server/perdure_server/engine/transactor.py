"""The one place where a decision becomes memory and rows: decide, evolve, stage, arm, and what leaves after the commit.

Law: state in memory runs ahead of the log by what is staged; when a run's append does not land, the run is dropped
from memory together with all that is staged for it, and is read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

from perdure_proto import events as ev
from perdure_proto.codec import encode_events, encoder
from perdure_proto.errors import ServiceError
from perdure_server.config import EngineSettings, Limits
from perdure_server.engine.batch import Batch, Staged
from perdure_server.engine.committer import Committer
from perdure_server.engine.execution import Chunk, Execution, wake_all
from perdure_server.engine.rebuild import activity_row, size_of
from perdure_server.history import records as rec
from perdure_server.history import requests as req
from perdure_server.history.deadlines import DEADLINES_OF, Deadline, activity_deadlines
from perdure_server.history.decide import decide
from perdure_server.history.decision import Decision, Deliver, Effect, Moment, NewRun, OfferActivity, OfferWorkflowTask
from perdure_server.history.evolve import evolve, record
from perdure_server.history.outbox import farewell
from perdure_server.store.port import STATUS_NUMBERS, BufferedEvent, RunChange

_PERSISTED = frozenset(
    {
        rec.AttemptFailed,
        rec.AttemptHeartbeat,
        rec.AttemptDetached,
        rec.TransactionBegun,
        rec.ActivityControlled,
    }
)
_OF_ATTEMPTS = frozenset(
    {
        rec.AttemptStarted,
        rec.AttemptFailed,
        rec.AttemptHeartbeat,
        rec.AttemptReturned,
        rec.ActivityControlled,
    }
)
_OFFERS = (OfferActivity, Deliver)
_PAUSES = frozenset({ev.WorkflowExecutionPaused, ev.WorkflowExecutionUnpaused})
_ON_ACTIVITIES = frozenset(
    {
        ev.ActivityTaskCompleted,
        ev.ActivityTaskFailed,
        ev.ActivityTaskTimedOut,
        ev.ActivityTaskCanceled,
        ev.ActivityTaskCancelRequested,
    }
)
"""Events that may change a row beside the log."""


class Outlet(Protocol):
    """Who takes what leaves after a commit, and who is told of what happens to runs."""

    def emit(self, execution: Execution, effect: Effect) -> None:
        """An effect whose decision is durable."""

    def announce(self, execution: Execution, events: Sequence[ev.AnyEvent]) -> None:
        """Events that are durable now."""

    def begin_run(self, execution: Execution, new_run: NewRun) -> None:
        """The next run of a chain, to be staged with the close of this one."""

    def arm(self, execution: Execution) -> None:
        """The earliest deadline of a run may have changed."""

    def check_ours(self, execution: Execution) -> None:
        """Raises if the shard of the run is not ours: nothing about it may be written."""

    def drop(self, execution: Execution, error: Exception) -> None:
        """The run's append did not land."""

    def now(self) -> datetime:
        """Cluster time."""


class Transactor:
    """Applies decisions. Synchronous: what is staged lands later."""

    def __init__(self, committer: Committer, outlet: Outlet, settings: EngineSettings, limits: Limits) -> None:
        self._committer = committer
        self._outlet = outlet
        self._settings = settings
        self._limits = limits

    def transact(self, execution: Execution, request: req.Request, now: datetime | None = None) -> Decision:
        """Decides and applies. The answer may be given when `execution.landed()` returns."""
        self._committer.make_room()
        moment = Moment(now or self._outlet.now(), self._limits)
        decision = decide(execution.state, request, moment)
        if decision.events or decision.records or decision.effects:
            self.apply(execution, decision)
        return decision

    def apply(self, execution: Execution, decision: Decision) -> None:
        """Makes a decision true in memory and stages what must be durable; all of it, or the run is read again."""
        try:
            self._apply(execution, decision)
        except Exception as error:
            self._outlet.drop(execution, error)
            raise

    def _apply(self, execution: Execution, decision: Decision) -> None:
        if decision.events:
            self._write(execution, decision.events)
        for fact in decision.records:
            self._record(execution, fact)
        if decision.new_run is not None:
            self._outlet.begin_run(execution, decision.new_run)
        self._keep_wake(execution, decision.effects)
        if decision.effects:
            self.release(execution, [partial(self._outlet.emit, execution, effect) for effect in decision.effects])
        self._outlet.arm(execution)
        if execution.task_ended is not None and not execution.state.is_buffering:
            ended, execution.task_ended = execution.task_ended, None
            ended.set_result(None)

    def stage(self, execution: Execution) -> Staged:
        """The place of a run in the open batch."""
        self._outlet.check_ours(execution)
        staged = self._committer.stage(execution.key, execution.workflow, execution.head)
        batch = self._committer.open_batch
        if execution.batch is not batch:
            execution.batch = batch
            staged.on_refused = partial(self._outlet.drop, execution)
            staged.effects.append(partial(_landed, execution, batch))
        return staged

    def release(self, execution: Execution, effects: list[Callable[[], None]]) -> None:
        """Lets effects out once all that is staged for the run has landed; at once where nothing is."""
        batch = execution.batch
        staged = batch.runs.get(execution.run_id) if batch is not None else None
        if staged is None:
            for effect in effects:
                effect()
        else:
            staged.effects.extend(effects)

    def buffer_durably(self, execution: Execution) -> None:
        """Keeps the buffered events in rows, for the started task takes its time."""
        waiting, execution.buffer_batch = execution.buffer_batch, None
        buffer = execution.state.buffer
        if waiting is None or waiting.done():
            return
        try:
            staged = self.stage(execution)
        except ServiceError as error:  # fenced off meanwhile
            waiting.set_exception(error)
            waiting.exception()
            return
        for position in range(execution.durable_buffer, len(buffer)):
            row = BufferedEvent(*_key(execution), position + 1, encoder.encode(buffer[position]))
            staged.buffer(row)
        execution.durable_buffer = len(buffer)
        self._owe(execution, staged)
        waiting.set_result(self._committer.open_batch)

    def write_row(self, execution: Execution, scheduled_event_id: int) -> None:
        """Keeps the attempt of an activity beside the log."""
        activity = execution.state.activities.get(scheduled_event_id)
        if activity is None or activity.closing:
            return
        execution.may_have_rows = True
        self.stage(execution).set_activity(activity_row(execution, activity))
        record(execution.state, rec.RowWritten(scheduled_event_id=scheduled_event_id))

    def _write(self, execution: Execution, events: Sequence[ev.AnyEvent]) -> None:
        state = execution.state
        staged = self.stage(execution)
        if not staged.has_append:
            execution.head = events[0].event_id
        memo, attributes = state.memo, state.search_attributes
        for event in events:
            kind = type(event)
            had_row = kind in _ON_ACTIVITIES and _has_row(execution, event)
            evolve(state, event)
            if had_row or kind is ev.ActivityTaskCancelRequested:
                self._keep_row(execution, staged, event)
            if kind in _PAUSES:
                self._pause(execution, staged)
            if kind in DEADLINES_OF:
                for deadline in DEADLINES_OF[kind](state, event):
                    execution.add_deadline(deadline)
        self._encode(execution, staged, events)
        if state.memo is not memo or state.search_attributes is not attributes:
            staged.change = _shown(execution)
        if state.closed is not None:
            self._close(execution, staged)
        staged.effects.append(partial(self._outlet.announce, execution, events))

    def _pause(self, execution: Execution, staged: Staged) -> None:
        """The run was paused or goes on: operators search by that, and the rows beside the log know the shift."""
        state = execution.state
        staged.change = RunChange(*_key(execution), STATUS_NUMBERS[state.status], None, state.last_event_id)
        for scheduled_event_id, activity in state.activities.items():
            if activity.has_row or activity.started_at is not None:
                self.write_row(execution, scheduled_event_id)

    def _keep_row(self, execution: Execution, staged: Staged, event: ev.AnyEvent) -> None:
        """The row of an activity goes with it; that it was asked to stop is kept in one."""
        scheduled_event_id: int = getattr(event, "scheduled_event_id", 0)
        if not isinstance(event, ev.ActivityTaskCancelRequested):
            staged.drop_activity(scheduled_event_id)
        elif scheduled_event_id in execution.state.activities:
            self.write_row(execution, scheduled_event_id)

    def _encode(self, execution: Execution, staged: Staged, events: Sequence[ev.AnyEvent]) -> None:
        """Encodes each event once: the same bytes go to the log and to workers."""
        seen = _seen_by_worker(events)
        if seen:
            execution.chunks.clear()
            self._append(execution, staged, events[:seen])
            events = events[seen:]
        execution.chunks.append(self._append(execution, staged, events))

    def _append(self, execution: Execution, staged: Staged, events: Sequence[ev.AnyEvent]) -> Chunk:
        encoded = encode_events(events)
        first_event_id, last_event_id = events[0].event_id, events[-1].event_id
        staged.append(encoded, first_event_id, last_event_id)
        self._committer.open_batch.size_bytes += len(encoded)
        execution.state.history_bytes += size_of(encoded)
        return Chunk(first_event_id, last_event_id, encoded)

    def _close(self, execution: Execution, staged: Staged) -> None:
        state = execution.state
        new_run_id = getattr(state.closed, "new_execution_run_id", "")
        staged.change = RunChange(
            *_key(execution),
            STATUS_NUMBERS[state.status],
            state.last_event_time,
            state.last_event_id,
            new_run_id,
            *_upserted(staged),
        )
        if execution.may_have_rows:
            staged.clear_activities()
        execution.wake_owed, execution.wake_at = any(farewell(state)), None
        if execution.wake_owed:
            staged.set_wake(None, owed=True)
        else:
            staged.wake_gone = True
        execution.forget_deadlines()

    def _record(self, execution: Execution, fact: rec.AnyRecord) -> None:
        record(execution.state, fact)
        kind = type(fact)
        if kind is rec.EventBuffered:
            self._await_flush(execution)
        elif kind is rec.BufferFlushed:
            self._flushed(execution)
        elif kind in _OF_ATTEMPTS:
            self._attempt(execution, fact)
        elif kind is rec.SpeculationDropped:
            wake_all(execution.event_waiters)
        elif isinstance(fact, rec.TaskFailedAgain):
            execution.add_deadline(Deadline(fact.not_before, req.RetryWorkflowTask()))
        if kind in _PERSISTED or (isinstance(fact, rec.AttemptReturned) and _kept(execution, fact)):
            self.write_row(execution, _activity_of(fact))

    def _attempt(self, execution: Execution, fact: rec.AnyRecord) -> None:
        activity = execution.state.activities.get(_activity_of(fact))
        if activity is not None:
            for deadline in activity_deadlines(activity):
                execution.add_deadline(deadline)

    def _await_flush(self, execution: Execution) -> None:
        """For a while the caller waits with its event; a task that takes longer has it kept in rows."""
        if execution.buffer_batch is None:
            loop = asyncio.get_running_loop()
            execution.buffer_batch = loop.create_future()
            delay = self._settings.buffer_unacknowledged_for.total_seconds()
            loop.call_later(delay, self.buffer_durably, execution)

    def _flushed(self, execution: Execution) -> None:
        staged = self.stage(execution)
        if execution.durable_buffer:
            staged.flush_buffer()
            execution.durable_buffer = 0
        waiting, execution.buffer_batch = execution.buffer_batch, None
        if waiting is not None:
            waiting.set_result(self._committer.open_batch)

    def _keep_wake(self, execution: Execution, effects: Sequence[Effect]) -> None:
        """Law: `owed` is set by the transaction that owes; `wake_at` is never later than the earliest deadline.

        A speculative task is owed to nobody but callers that wait, and lost with them.
        """
        state = execution.state
        if not state.is_open or execution.wake_owed:
            return
        task = state.workflow_task
        is_speculative = task is not None and task.kind == "speculative"
        offers = _OFFERS if is_speculative else (*_OFFERS, OfferWorkflowTask)
        if any(isinstance(effect, offers) for effect in effects):
            self._owe(execution, self.stage(execution))
            return
        earliest = execution.next_deadline
        if earliest is not None and (execution.wake_at is None or earliest < execution.wake_at):
            execution.wake_at = earliest
            self.stage(execution).set_wake(earliest, owed=False)

    def _owe(self, execution: Execution, staged: Staged) -> None:
        if not execution.wake_owed:
            execution.wake_owed = True
            staged.set_wake(execution.wake_at, owed=True)


def _seen_by_worker(events: Sequence[ev.AnyEvent]) -> int:
    """How many of these the worker that caused them knows already: up to WorkflowTaskStarted of a completed task."""
    for index, event in enumerate(events[:2], 1):
        if type(event) is ev.WorkflowTaskStarted and type(events[index]) is ev.WorkflowTaskCompleted:
            return index
    return 0


def _shown(execution: Execution) -> RunChange:
    """The visibility row of a run whose memo or search attributes changed, in the transaction that changed them."""
    state = execution.state
    row = RunChange(*_key(execution), STATUS_NUMBERS[state.status], None, state.last_event_id)
    row.search_attributes, row.memo = encoder.encode(state.search_attributes), encoder.encode(state.memo)
    return row


def _upserted(staged: Staged) -> tuple[bytes | None, bytes | None]:
    """What this batch shows already of search attributes and memo: a close does not take it back."""
    return (None, None) if staged.change is None else (staged.change.search_attributes, staged.change.memo)


def _kept(execution: Execution, fact: rec.AttemptReturned) -> bool:
    """Whether a row says that the attempt runs, which is no longer true."""
    return execution.state.activities[fact.scheduled_event_id].row_started_at is not None


def _activity_of(fact: rec.AnyRecord) -> int:
    scheduled_event_id: int = getattr(fact, "scheduled_event_id", 0)
    return scheduled_event_id


def _has_row(execution: Execution, event: ev.AnyEvent) -> bool:
    activity = execution.state.activities.get(getattr(event, "scheduled_event_id", 0))
    return activity is not None and activity.has_row


def _key(execution: Execution) -> tuple[int, str]:
    return execution.key.shard_id, execution.key.run_id


def _landed(execution: Execution, batch: Batch) -> None:
    if execution.batch is batch:
        execution.batch = None
