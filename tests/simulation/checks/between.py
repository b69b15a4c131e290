"""Invariants 1 and 8 between runs: what one told another came, once and in order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from perdure_proto import events as ev
from tests.simulation.checks.evidence import Evidence


def told_is_heard(evidence: Evidence) -> Iterator[str]:
    """What a source's log says was taken is in the log of the target."""
    heard = {
        (workflow_id, event.request_id)
        for workflow_id, runs in evidence.of_workflow.items()
        for _, history in runs
        for event in _from_runs(history)
    }
    for (_, run_id), history in evidence.histories.items():
        for event in history:
            if isinstance(event, ev.ExternalWorkflowExecutionSignaled):
                keys = {
                    (event.workflow_id, f"{origin}:{event.initiated_event_id}") for origin in _origins(evidence, run_id)
                }
                if not keys & heard:
                    told = f"event {event.initiated_event_id} told {event.workflow_id}"
                    yield f"run {run_id}: {told}, where nothing is known of it"


def heard_once(evidence: Evidence) -> Iterator[str]:
    for (_, run_id), history in evidence.histories.items():
        for request_id, times in Counter(event.request_id for event in _from_runs(history)).items():
            if times > 1:
                yield f"run {run_id} has {request_id} {times} times"


def heard_in_order(evidence: Evidence) -> Iterator[str]:
    """The signals of one run to another, as it sent them."""
    for (_, run_id), history in evidence.histories.items():
        by_source: dict[str, list[int]] = defaultdict(list)
        for event in _from_runs(history):
            source, initiated, *_ = event.request_id.split(":")
            by_source[source].append(int(initiated))
        for source, order in by_source.items():
            if any(after < before for before, after in pairwise(order)):
                yield f"run {run_id}: signals of run {source} came as {order}"


def _from_runs(history: list[ev.AnyEvent]) -> Iterator[ev.WorkflowExecutionSignaled]:
    for event in history:
        if isinstance(event, ev.WorkflowExecutionSignaled) and event.external_run_id:
            yield event


def _origins(evidence: Evidence, run_id: str) -> set[str]:
    """The run itself, and those that a reset copied it from: any run of its workflow."""
    row = next(row for (_, each), row in evidence.tables.executions.items() if each == run_id)
    return {other.run_id for other, _ in evidence.of_workflow[row.workflow_id]}
