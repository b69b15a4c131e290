"""Invariants 1, 8 and 9 as clients and workers see them: what was acknowledged is in the log, once, and stays so."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec

from perdure_proto import events as ev
from perdure_server.engine.tokens import ActivityToken, parse
from tests.simulation.checks.evidence import Evidence
from tests.simulation.journal import Operation

OURS = ("note", "items")
"""Signals of clients; what completes a waitpoint is one too."""


def acknowledged_starts(evidence: Evidence) -> Iterator[str]:
    for start in evidence.journal.acknowledged("start", "signal_with_start", "reset", "start_retried", "start_cron"):
        if start.run_id not in evidence.by_run:
            yield f"{start.on} was told of run {start.run_id}, which does not exist"


def starts_once(evidence: Evidence) -> Iterator[str]:
    """Runs that follow another carry its request id, so only those that begin a chain, or a reset, are counted."""
    asked = Counter(
        (row.workflow_id, row.request_id)
        for row in evidence.tables.executions.values()
        if row.request_id.startswith("reset ") or (row.request_id and row.run_id == row.first_run_id)
    )
    for (workflow_id, request_id), runs in asked.items():
        if runs > 1:
            yield f"request {request_id!r} began {runs} runs of {workflow_id}"


def acknowledged_signals(evidence: Evidence) -> Iterator[str]:
    """Once in a run. A run that is no continuation of the first does not know its request ids, and takes a repeat."""
    for signal in evidence.journal.acknowledged("signal", "signal_with_start"):
        found = False
        for row, history in evidence.of_workflow.get(signal.on, []):
            times = sum(1 for each in signals_of(history) if each == note_of(signal))
            found = found or times > 0
            if times > 1:
                yield f"{signal.on} has signal {note_of(signal)} {times} times in run {row.run_id}"
        if not found:
            yield f"{signal.on} has lost signal {note_of(signal)}"


def order_of_signals(evidence: Evidence) -> Iterator[str]:
    signals = evidence.journal.acknowledged("signal", "signal_with_start")
    known = {(signal.on, *note_of(signal)) for signal in signals}
    for workflow_id, runs in evidence.of_workflow.items():
        for row, history in runs:
            by_client: dict[str, list[int]] = defaultdict(list)
            for client, number in signals_of(history):
                if (workflow_id, client, number) in known:
                    by_client[client].append(number)
            for client, order in by_client.items():
                if any(after < before for before, after in pairwise(order)):
                    yield f"{workflow_id}, run {row.run_id}: signals of {client} came as {order}"


def acknowledged_updates(evidence: Evidence) -> Iterator[str]:
    for update in evidence.journal.acknowledged("update", "update_with_start"):
        update_id = f"{update.client}-{update.number}"
        events = [event for _, history in evidence.of_workflow.get(update.on, []) for event in history]
        is_accepted = any(
            isinstance(e, ev.WorkflowExecutionUpdateAccepted) and e.update_id == update_id for e in events
        )
        if update.values[0] < 0:
            if is_accepted:
                yield f"{update.on}: update {update_id} was rejected and is in the log"
            continue
        ends = [e for e in events if isinstance(e, ev.WorkflowExecutionUpdateCompleted) and e.update_id == update_id]
        told = {result_of(end) for end in ends if end.failure is None}
        if isinstance(update.answer, int) and update.answer not in told:
            yield f"{update.on}: update {update_id} was answered {update.answer}, the log has {told or 'nothing'}"
        if len(told) > 1:
            yield f"{update.on}: update {update_id} has the results {told}"


def acknowledged_completions(evidence: Evidence) -> Iterator[str]:
    for kind, text in set(evidence.journal.completed):
        if kind != "ActivityTaskCompletion":
            continue
        token = parse(text)
        assert isinstance(token, ActivityToken), "of an activity"
        history = evidence.by_run.get(token.run_id, [])
        done = [
            event
            for event in history
            if isinstance(event, ev.ActivityTaskCompleted) and event.scheduled_event_id == token.scheduled_event_id
        ]
        if len(done) != 1:
            yield f"run {token.run_id}: activity {token.scheduled_event_id} was accepted, completed {len(done)} times"


def results(evidence: Evidence) -> Iterator[str]:
    told: dict[str, Any] = {}
    for operation in evidence.journal.acknowledged("result"):
        known = told.setdefault(operation.run_id, operation.answer)
        if known != operation.answer:
            yield f"run {operation.run_id} ended with {known}, and with {operation.answer}"
        last = evidence.by_run[operation.run_id][-1]
        if isinstance(last, ev.WorkflowExecutionCompleted) and result_of(last) != operation.answer:
            yield f"run {operation.run_id} ended with {operation.answer}, the log says {result_of(last)}"
        if not isinstance(last, ev.CLOSING_EVENTS):
            yield f"run {operation.run_id} ended with {operation.answer}, and is open"


def signals_of(history: list[ev.AnyEvent]) -> Iterator[tuple[str, int]]:
    """Those of clients: who sent it, and its number."""
    for event in history:
        if isinstance(event, ev.WorkflowExecutionSignaled) and event.signal_name in OURS and not event.external_run_id:
            sender, number = msgspec.json.decode(event.input)[0]
            yield sender, number


def note_of(signal: Operation) -> tuple[str, int]:
    return signal.client, signal.number


def result_of(event: Any) -> Any:
    return msgspec.json.decode(event.result)
