"""Invariants 2, 4, 5, 6, 7 and 8 as the tables show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from perdure_proto import events as ev
from perdure_server.history.invariants import violations
from perdure_server.store.port import STATUS_NUMBERS
from perdure_worker import Replayer
from tests.simulation.checks.evidence import Evidence
from tests.simulation.program import program

OPEN = STATUS_NUMBERS["RUNNING"], STATUS_NUMBERS["PAUSED"]
TOLD_WITHIN = 10.0
"""So soon, in seconds, after faults are over a parent hears that a child has closed."""


def whole_rows(evidence: Evidence) -> Iterator[str]:
    for run in evidence.tables.history:
        last = 0
        for row in evidence.tables.rows(run):
            if row.first_event_id != last + 1:
                yield f"run {run[1]}: a row begins with event {row.first_event_id}, the one before ends with {last}"
            last = row.last_event_id


def histories(evidence: Evidence) -> Iterator[str]:
    for run, history in evidence.histories.items():
        for each in violations(history):
            yield f"run {run[1]}: {each.law}: event {each.event_id}: {each.message}"
        status = evidence.tables.executions[run].status
        if isinstance(history[-1], ev.CLOSING_EVENTS) != (status not in OPEN):
            yield f"run {run[1]}: the visibility row says {status}, the log {history[-1].event_type}"


def identity(evidence: Evidence) -> Iterator[str]:
    tables = evidence.tables
    open_ = Counter((row.namespace_id, row.workflow_id) for row in tables.executions.values() if row.status in OPEN)
    for (_, workflow_id), runs in open_.items():
        if runs > 1:
            yield f"{workflow_id} has {runs} open runs"
    current = {(key[0], run_id) for key, run_id in tables.current.items()}
    for run, row in tables.executions.items():
        if row.status in OPEN and run not in current:
            yield f"{row.workflow_id}: run {run[1]} is open and not current"
    for run in current - tables.executions.keys():
        yield f"run {run[1]} is current and does not exist"


def nothing_left_beside(evidence: Evidence) -> Iterator[str]:
    tables = evidence.tables
    for name in ("activities", "buffered", "wakes"):
        for run in getattr(tables, name):
            row = tables.executions.get(run)
            is_owed = name == "wakes" and tables.wakes[run].owed
            if row is None or (row.status not in OPEN and not is_owed):
                yield f"run {run[1]} has rows in {name}"
    for run in tables.history:
        if run not in tables.executions and run not in tables.resets:
            yield f"run {run[1]} has a history and does not exist"


def replays(evidence: Evidence) -> Iterator[str]:
    replayer = Replayer([program])
    for run, history in evidence.histories.items():
        try:
            replayer.replay(history)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            yield f"run {run[1]}: {error!r}"


def children_seen_to_close(evidence: Evidence) -> Iterator[str]:
    """Once at most is a law of every history; here: not never, where there was time to tell."""
    closed_at, calm_at = evidence.world.trace.closed_at, evidence.world.scenario.calm_at
    for run, history in evidence.histories.items():
        seen = {getattr(event, "started_event_id", 0) for event in history if isinstance(event, CLOSINGS)}
        for event in history:
            if not isinstance(event, ev.ChildWorkflowExecutionStarted) or event.event_id in seen:
                continue
            child, parent = closed_at.get(event.run_id, 0.0), closed_at.get(run[1], 0.0)
            if child and parent - max(child, calm_at) > TOLD_WITHIN:
                yield f"run {run[1]} was not told that child {event.run_id} has closed"


CLOSINGS = (
    ev.ChildWorkflowExecutionCompleted,
    ev.ChildWorkflowExecutionFailed,
    ev.ChildWorkflowExecutionCanceled,
    ev.ChildWorkflowExecutionTimedOut,
    ev.ChildWorkflowExecutionTerminated,
)
