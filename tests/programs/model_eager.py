"""Workflows that wait for one activity after the other: what eager turns are about."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.exceptions import ApplicationError

nudge = workflow.Signal[int]("nudge")


@activity.defn(start_to_close_timeout=timedelta(seconds=30))
async def double(number: int) -> int:
    return number * 2


@workflow.defn
async def steps(count: int) -> list[float]:
    """Each step's time, and the sum: what a replay must repeat."""
    told = []
    total = 1
    for _ in range(count):
        total = await double(total)
        told.append(workflow.time())
    return [*told, float(total), float(workflow.info().get_current_history_length())]


@workflow.defn
async def nudged(count: int) -> tuple[int, list[int]]:
    """Signals come at any moment between the steps."""
    seen: list[int] = []

    @workflow.signal(name="nudge")
    def note(number: int) -> None:
        seen.append(number)

    @workflow.query
    def so_far() -> int:
        return len(seen)

    total = 1
    for _ in range(count):
        total = await double(total)
    await workflow.wait_condition(lambda: len(seen) >= count)
    return total, seen


@workflow.defn
async def with_local(count: int) -> int:
    total = 1
    for _ in range(count):
        total = await double(total)
        total = await double.local(total)
    return total


@workflow.defn
async def chained(left: int, total: int = 1) -> int:
    total = await double(total)
    if left > 1:
        workflow.continue_as_new(left - 1, total)
    return total


@workflow.defn
async def failing() -> None:
    await double(1)
    raise ApplicationError("no more")


WORKFLOWS: list[workflow.Workflow[..., Any]] = [steps, nudged, with_local, chained, failing]
ACTIVITIES: list[object] = [double]
