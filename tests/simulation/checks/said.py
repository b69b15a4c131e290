"""What programs said in the end: for each step only what it can come to, and from elsewhere only what somebody gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import msgspec

from perdure_proto import events as ev
from tests.simulation.checks.evidence import Evidence
from tests.simulation.journal import Journal

Step: TypeAlias = list[Any]
FAILS_ALWAYS = 4
"""As many attempts as `program.RETRY` allows."""
TOLD = {"signalled", "ApplicationError"}
NEVER_DONE = ("queue", "again", "final")
"""Limits within which the activity cannot be done, however late anybody looks."""


def said(evidence: Evidence) -> Iterator[str]:
    """The result of a completed run, step by step."""
    for (_, run_id), history in evidence.histories.items():
        last = history[-1]
        if not isinstance(last, ev.WorkflowExecutionCompleted):
            continue
        assert isinstance(history[0], ev.WorkflowExecutionStarted), "a history begins so"
        steps, carried = msgspec.json.decode(history[0].input)
        result = msgspec.json.decode(last.result)
        if len(result) != len(carried) + len(steps):
            yield f"run {run_id} of {len(steps)} steps said {result}"
            continue
        for step, came in zip(steps, result[len(carried) :], strict=True):
            if not _may(step, came, evidence.journal):
                yield f"run {run_id}: {step} came to {came!r}"


def answered_from_elsewhere(evidence: Evidence) -> Iterator[str]:
    """Whoever ended an activity or completed a waitpoint, and was told so, has done it."""
    for each in evidence.journal.acknowledged("answer_activity", "resume"):
        if each.answer == "never there":
            continue
        place, value = each.values[:2]
        found = _completed if each.do == "answer_activity" else _resumed
        if not any(value in found(history, place) for _, history in evidence.of_workflow.get(each.on, [])):
            yield f"{each.on}: {each.do} of {place} with {value} was acknowledged and is not in the log"


def retried_runs(evidence: Evidence) -> Iterator[str]:
    """A run that failed is tried again as often as its policy says."""
    for row, history in evidence.of_workflow.get("retried", []):
        first, last = history[0], history[-1]
        assert isinstance(first, ev.WorkflowExecutionStarted), "a history begins so"
        policy = first.retry_policy
        if not isinstance(last, ev.WorkflowExecutionFailed) or policy is None:
            continue
        if (first.attempt < policy.maximum_attempts) != bool(last.new_execution_run_id):
            yield f"run {row.run_id} failed at attempt {first.attempt} of {policy.maximum_attempts}"


def _completed(history: list[ev.AnyEvent], place: str) -> list[Any]:
    ids = {e.event_id for e in history if isinstance(e, ev.ActivityTaskScheduled) and e.activity_id == place}
    ends = [e for e in history if isinstance(e, ev.ActivityTaskCompleted) and e.scheduled_event_id in ids]
    return [msgspec.json.decode(end.result) for end in ends]


def _resumed(history: list[ev.AnyEvent], place: str) -> list[Any]:
    signals = [e for e in history if isinstance(e, ev.WorkflowExecutionSignaled) and place in e.signal_name]
    return [msgspec.json.decode(signal.input)[0] for signal in signals]


def _may(step: Step, came: Any, journal: Journal) -> bool:
    kind, *details = step
    if kind == "all":
        branches = zip(details, came, strict=True)
        return all(_may(*pair, journal) for steps, cames in branches for pair in zip(steps, cames, strict=True))
    if isinstance(came, str) and came.startswith(f"{kind}: "):
        return kind not in ("sleep", "wait", "receive")
    if kind == "drop" and came != "dropped":
        return _may(details[1], came, journal)
    return EXPECTED[kind](details, came, journal)


def _given(do: str, place: str, journal: Journal) -> list[Any]:
    return [each.values[1] for each in journal.operations if each.do == do and each.values[0] == place]


EXPECTED: dict[str, Callable[[list[Any], Any, Journal], bool]] = {
    "work": lambda d, came, _: came == d[0] and d[1] < FAILS_ALWAYS,
    "local": lambda d, came, _: came == d[0],
    "sleep": lambda _, came, __: came == "slept",
    "wait": lambda _, came, __: came in ("heard", "waited in vain"),
    "receive": lambda _, came, __: came == "nothing received" or isinstance(came, list),
    "signal": lambda _, came, __: came == "signalled",
    "cancel": lambda _, came, __: came == "asked",
    "drop": lambda _, came, __: came == "dropped",
    "child": lambda _, came, __: isinstance(came, list),
    "leave_child": lambda d, came, _: came == f"left {d[0]}",
    "fail": lambda *_: False,
    "count": lambda d, came, _: came == d[0],
    "limit": lambda d, came, _: d[0] not in NEVER_DONE and came == ("late" if d[0] == "later" else "slow"),
    "asked": lambda d, came, journal: came in _given("answer_activity", d[0], journal),
    "stop_work": lambda d, came, _: came in ("dropped", d[2]),
    "waitpoint": lambda d, came, journal: came == "nobody came" or came in _given("resume", d[0], journal),
    "stop_child": lambda _, came, __: came == "dropped" or isinstance(came, list),
    "tell": lambda d, came, _: len(came) == d[2] and set(came) <= TOLD,
    "try_again": lambda d, came, _: came == d[0],
}
"""What a step may come to that does not fail: its details, what came of it, and what clients did."""
