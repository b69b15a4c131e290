"""State from what is stored: a snapshot or the first event, later events, then the rows beside the log.

What only memory knew (a started task, admitted updates) is gone: that is the law of started records.
"""

from __future__ import annotations

import msgspec
from msgspec import structs

from perdure_proto.codec import decode_events, encoder
from perdure_proto.events import AnyEvent, WorkflowExecutionStarted
from perdure_proto.failures import Failure
from perdure_proto.payload import NULL
from perdure_server.engine.execution import Chunk, Execution
from perdure_server.engine.limit_names import limit_of
from perdure_server.history import records as rec
from perdure_server.history.evolve import begin, evolve, record
from perdure_server.history.state import STATE_VERSION, ActivityControl, ActivityOptions, ActivityState, ExecutionState
from perdure_server.store.port import ActivityRow, Snapshot, StoredRun

_state = msgspec.json.Decoder(ExecutionState)
_control = msgspec.json.Decoder(ActivityControl)
_failure = msgspec.json.Decoder(Failure)
UNTOUCHED = ActivityControl()
_event = msgspec.json.Decoder(AnyEvent)


def rebuild(stored: StoredRun, namespace: str) -> Execution:
    """A run as its owner must know it."""
    state = _state_of(stored)
    execution = Execution(stored.key, (namespace, stored.workflow_id), stored.namespace_id, state)
    execution.head = stored.last_row_first_event_id
    execution.snapshot_event_id = stored.snapshot.last_event_id if stored.snapshot else 0
    execution.parked = set(stored.parked)
    execution.durable_buffer = len(stored.buffered)
    execution.chunks = [Chunk(row.first_event_id, row.last_event_id, row.events) for row in stored.rows]
    if stored.wake is not None:
        execution.wake_owed, execution.wake_at = stored.wake.owed, stored.wake.wake_at
    execution.may_have_rows = bool(stored.activities)
    for row in stored.activities:
        activity = state.activities.get(row.scheduled_event_id)
        if activity is not None:
            overlay(activity, row)
    for buffered in stored.buffered:
        record(state, rec.EventBuffered(event=_event.decode(buffered.event)))
    return execution


def size_of(encoded: bytes) -> int:
    """What an array of events adds to the size of a history: the same however the committer joins arrays."""
    return len(encoded) - 1


def take_snapshot(execution: Execution) -> Snapshot:
    """The state as a row; restoring it forgets what is not in the log."""
    key, state = execution.key, execution.state
    return Snapshot(key.shard_id, key.run_id, state.last_event_id, STATE_VERSION, encoder.encode(state))


def activity_row(execution: Execution, activity: ActivityState) -> ActivityRow:
    """The row that keeps an attempt."""
    details = activity.heartbeat_details
    return ActivityRow(
        shard_id=execution.key.shard_id,
        run_id=execution.key.run_id,
        scheduled_event_id=activity.scheduled.event_id,
        attempt=activity.attempt,
        attempt_scheduled_at=activity.attempt_scheduled_at or activity.scheduled.event_time,
        started_at=activity.started_at,
        identity=activity.identity,
        session=activity.session,
        next_attempt_at=activity.next_attempt_at,
        heartbeat_at=activity.heartbeat_at,
        heartbeat_details=None if details is NULL else bytes(details),
        heartbeat_encoding=activity.heartbeat_encoding,
        last_failure=None if activity.last_failure is None else encoder.encode(activity.last_failure),
        transactional=activity.transactional,
        control=_control_of(activity),
        permit=None if activity.started_at is None else limit_of(execution, activity.scheduled),
    )


def _control_of(activity: ActivityState) -> bytes | None:
    """What is seldom there at all is kept in one column."""
    options = {name: getattr(activity.scheduled, name) for name in ActivityOptions.__struct_fields__}
    control = ActivityControl(
        frozen=activity.frozen,
        attempt_frozen=activity.attempt_frozen,
        paused=activity.paused,
        options=None if activity.original is None else ActivityOptions(**options),
        reset_pending=activity.reset_pending,
        stamp=activity.stamp,
    )
    return None if control == UNTOUCHED else encoder.encode(control)


def overlay(activity: ActivityState, row: ActivityRow) -> None:
    """What the row says of the attempt goes over what the log says."""
    activity.attempt = row.attempt
    activity.attempt_scheduled_at = row.attempt_scheduled_at
    activity.started_at = row.started_at
    activity.identity = row.identity
    activity.session = row.session
    activity.next_attempt_at = row.next_attempt_at
    activity.heartbeat_at = row.heartbeat_at
    activity.heartbeat_details = NULL if row.heartbeat_details is None else msgspec.Raw(row.heartbeat_details)
    activity.heartbeat_encoding = row.heartbeat_encoding
    activity.last_failure = None if row.last_failure is None else _failure.decode(row.last_failure)
    activity.transactional = row.transactional
    activity.has_row = True
    activity.row_started_at = row.started_at
    control = UNTOUCHED if row.control is None else _control.decode(row.control)
    activity.frozen, activity.attempt_frozen = control.frozen, control.attempt_frozen
    activity.paused, activity.reset_pending = control.paused, control.reset_pending
    activity.stamp = control.stamp
    if control.options is not None:
        activity.original = activity.scheduled
        activity.scheduled = structs.replace(activity.scheduled, **structs.asdict(control.options))


def _state_of(stored: StoredRun) -> ExecutionState:
    state: ExecutionState | None = None
    known = 0
    if stored.snapshot is not None:
        state = _forget_memory(_state.decode(stored.snapshot.state))
        known = stored.snapshot.last_event_id
    for row in stored.rows:
        for event in decode_events(row.events):
            if state is None:
                assert isinstance(event, WorkflowExecutionStarted), "a history begins with WorkflowExecutionStarted"
                state = begin(stored.key.run_id, event)
            elif event.event_id > known:
                evolve(state, event)
        if state is not None and row.last_event_id > known:
            state.history_bytes += size_of(row.events)
    assert state is not None, "a stored run has a first event"
    return state


def _forget_memory(state: ExecutionState) -> ExecutionState:
    """What was true in the memory of the owner that took the snapshot, and of nobody else."""
    state.admitted = {update_id: update for update_id, update in state.admitted.items() if update.logged}
    for update in state.admitted.values():
        update.delivered = False
    state.buffer.clear()
    state.refusals = 0
    task = state.workflow_task
    if task is not None:
        task.started = None
        if task.kind == "speculative":
            state.workflow_task = None
        elif task.kind == "transient":
            task.attempt = 2
    for event_id, activity in state.activities.items():
        state.activities[event_id] = ActivityState(
            scheduled=activity.original or activity.scheduled,
            cancel_requested_event_id=activity.cancel_requested_event_id,
            attempt_scheduled_at=activity.scheduled.event_time + activity.frozen,
            frozen=activity.frozen,
        )
    return state
