"""One run in the hands of a test: requests go in, and the test keeps what the engine would: the log and the rows."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from perdure_proto import events as ev
from perdure_proto.codec import encode_events, encoder
from perdure_server.config import Limits
from perdure_server.engine.execution import Execution
from perdure_server.engine.rebuild import activity_row, rebuild, size_of, take_snapshot
from perdure_server.history import records as rec
from perdure_server.history import requests as req
from perdure_server.history.decide import decide
from perdure_server.history.decision import Decision, Moment
from perdure_server.history.evolve import begin, evolve, record
from perdure_server.history.state import ExecutionState, StartedTask
from perdure_server.history.transitions.chain import first_events
from perdure_server.store.port import ActivityRow, BufferedEvent, HistoryRow, RunKey, Snapshot, StoredRun

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
RUN_ID = "019b0000-0000-7000-8000-000000000001"
NEXT_RUN_ID = "019b0000-0000-7000-8000-000000000002"
CLOSES_ACTIVITY = (
    ev.ActivityTaskCompleted,
    ev.ActivityTaskFailed,
    ev.ActivityTaskTimedOut,
    ev.ActivityTaskCanceled,
)


def started_event(**changes: Any) -> ev.WorkflowExecutionStarted:
    """The first event of a run; `changes` go over its defaults."""
    attributes: dict[str, Any] = {
        "event_id": 1,
        "event_time": EPOCH,
        "workflow_id": "order",
        "workflow_type": "Order",
        "task_queue": "default",
        "original_execution_run_id": RUN_ID,
        "first_execution_run_id": RUN_ID,
    }
    return ev.WorkflowExecutionStarted(**{**attributes, **changes})


_KEPT = (rec.AttemptFailed, rec.AttemptHeartbeat, rec.AttemptDetached, rec.TransactionBegun, rec.ActivityControlled)


class Run:
    """A run that begins with `events`, or with a start and a first task."""

    def __init__(
        self, events: list[ev.AnyEvent] | None = None, *, limits: Limits | None = None, run_id: str = RUN_ID
    ) -> None:
        events = events or first_events(started_event())
        first = events[0]
        assert isinstance(first, ev.WorkflowExecutionStarted)
        self.limits = limits or Limits()
        self.now = first.event_time
        self.events: list[ev.AnyEvent] = []
        self.log: list[HistoryRow] = []
        self.rows: dict[int, ActivityRow] = {}
        self.snapshot: Snapshot | None = None
        self.execution = Execution(RunKey(1, run_id), ("default", "order"), 1, begin(run_id, first))
        self.write(events)

    @property
    def state(self) -> ExecutionState:
        return self.execution.state

    def after(self, seconds: float) -> None:
        """Time passes."""
        self.now += timedelta(seconds=seconds)

    def ask(self, request: req.Request) -> Decision:
        """Decides and applies; `decide` must not have changed anything."""
        before = copy.deepcopy(self.state)
        decision = decide(self.state, request, Moment(self.now, self.limits))
        assert before == self.state, "decide changed the state"
        if decision.events:
            self.write(list(decision.events))
        for fact in decision.records:
            self._record(fact)
        return decision

    def reload(self) -> None:
        """A new owner takes the run over from what is stored."""
        self.execution = self.rebuilt()

    def rebuilt(self) -> Execution:
        """The run as a new owner would read it."""
        known = self.snapshot.last_event_id if self.snapshot else 0
        rows = [row for row in self.log if row.last_event_id > known]
        buffered = [BufferedEvent(1, RUN_ID, n, encoder.encode(e)) for n, e in enumerate(self.state.buffer, 1)]
        stored = StoredRun(
            key=self.execution.key,
            namespace_id=1,
            workflow_id="order",
            status=1,
            snapshot=self.snapshot,
            rows=rows,
            activities=list(self.rows.values()),
            buffered=buffered,
            parked=[],
            wake=None,
            last_row_first_event_id=self.log[-1].first_event_id,
        )
        return rebuild(stored, "default")

    def take_snapshot(self) -> None:
        """What an eviction leaves."""
        self.snapshot = take_snapshot(self.execution)

    def start_task(self, session: str = "worker") -> StartedTask | None:
        """Hands the workflow task out."""
        started: StartedTask | None = self.ask(req.StartWorkflowTask(session=session)).answer
        return started

    def on_task(self, started: StartedTask) -> dict[str, Any]:
        """What a token says of the task just handed out."""
        task = self.state.workflow_task
        return {
            "scheduled_event_id": started.scheduled_event_id,
            "started_event_id": started.started_event_id,
            "attempt": task.attempt if task else 1,
            "started_at": started.started_at,
        }

    def write(self, events: list[ev.AnyEvent]) -> None:
        """Appends events to the log."""
        has_row = {e.scheduled_event_id for e in events if isinstance(e, CLOSES_ACTIVITY)} & self.rows.keys()
        for event in events:
            evolve(self.state, event)
        encoded = encode_events(events)
        self.state.history_bytes += size_of(encoded)
        self.events.extend(events)
        self.log.append(HistoryRow(events[0].event_id, events[-1].event_id, encoded))
        for scheduled_event_id in has_row:
            del self.rows[scheduled_event_id]
        for event in events:
            if isinstance(event, ev.ActivityTaskCancelRequested):
                self.keep(event.scheduled_event_id)
            elif isinstance(event, ev.WorkflowExecutionPaused | ev.WorkflowExecutionUnpaused):
                for scheduled_event_id, activity in self.state.activities.items():
                    if activity.has_row or activity.started_at is not None:
                        self.keep(scheduled_event_id)
        if self.state.closed is not None:
            self.rows.clear()

    def _record(self, fact: rec.AnyRecord) -> None:
        record(self.state, fact)
        if isinstance(fact, _KEPT) or (isinstance(fact, rec.AttemptReturned) and fact.scheduled_event_id in self.rows):
            self.keep(fact.scheduled_event_id)

    def keep(self, scheduled_event_id: int) -> None:
        """Writes the row of an attempt."""
        activity = self.state.activities.get(scheduled_event_id)
        if activity is None or activity.closing:
            return
        self.rows[scheduled_event_id] = msgspec.structs.replace(activity_row(self.execution, activity))
        record(self.state, rec.RowWritten(scheduled_event_id=scheduled_event_id))
