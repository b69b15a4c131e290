"""A workflow and activities that count what they do."""

import asyncio
from datetime import timedelta
from typing import Any

from perdure import activity, workflow

MINUTE = timedelta(minutes=1)
seen = workflow.Query[[], int]("seen")


@activity.defn(start_to_close_timeout=MINUTE)
def works(amount: int) -> int:
    activity.metric_meter().create_histogram("rows").record(amount)
    return amount


@workflow.defn
async def counts(turns: int) -> int:
    counter = workflow.metric_meter().create_counter("turns", "how often", "1")

    @seen.handler
    def _() -> int:
        counter.add(1_000)
        return turns

    for turn in range(turns):
        counter.add(1, {"even": turn % 2 == 0})
        await works(turn)
        await asyncio.sleep(0.01)
        await works.local(100 + turn)
    workflow.metric_meter().create_histogram_timedelta("took").record(timedelta(milliseconds=1500))
    workflow.metric_meter().with_additional_attributes({"last": True}).create_gauge("level").set(-3)
    return turns


WORKFLOWS: list[workflow.Workflow[..., Any]] = [counts]
ACTIVITIES: list[object] = [works]
