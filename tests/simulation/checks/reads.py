"""What reads saw: all that had been acknowledged before they began, whoever answered them."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation.checks.evidence import Evidence
from tests.simulation.journal import Operation

UPDATES = ("update", "update_with_start")
OPEN = ("RUNNING", "PAUSED")
BEGIN = ("start", "signal_with_start", "start_retried", "reset", "look", "result")
"""What tells of a run that is, or was, the newest."""


def looks(evidence: Evidence) -> Iterator[str]:
    """Nobody is shown a run that others have been told is over, or replaced."""
    order = {run_id: number for number, (_, run_id) in enumerate(evidence.tables.executions)}
    told = evidence.journal.acknowledged(*BEGIN)
    for look in evidence.journal.acknowledged("look"):
        closed_at = evidence.world.trace.closed_at.get(look.run_id)
        if look.answer in OPEN and closed_at is not None and closed_at < look.began_at:
            yield f"{look.on}: run {look.run_id} was shown as {look.answer} at {look.began_at}, closed at {closed_at}"
        for each in told:
            is_before = each.on == look.on and each.ended_at < look.began_at and each.run_id in order
            if is_before and look.run_id in order and order[look.run_id] < order[each.run_id]:
                yield f"{look.on}: run {look.run_id} was shown after run {each.run_id} was told of"


def queries(evidence: Evidence) -> Iterator[str]:
    """Of workflows of one run: a query sees all updates acknowledged before, and none that comes after."""
    updates = [each for each in evidence.journal.operations if each.do in UPDATES and each.values[0] > 0]
    for query in evidence.journal.acknowledged("query"):
        if len(evidence.of_workflow.get(query.on, [])) != 1:
            continue
        ours = [each for each in updates if each.on == query.on]
        least = sum(each.values[0] for each in ours if _is_done(each) and each.ended_at < query.began_at)
        most = sum(each.values[0] for each in ours if each.began_at < query.ended_at)
        if not least <= query.answer <= most:
            yield f"{query.on}: a query was told {query.answer}, and {least} to {most} had been added"


def _is_done(update: Operation) -> bool:
    return update.is_acknowledged and isinstance(update.answer, int)
