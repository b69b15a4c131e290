"""A start over the size of its payload: alone, many at a time, and in the log. No worker takes the workflows, so
nothing but the start is measured. The text cannot be compressed much.
"""

from __future__ import annotations

import random
import string
import time

from tests.benchmarks.figures import percentile
from tests.benchmarks.growth.counts import GrowthCounts
from tests.benchmarks.growth.curve import Curve, Finding, Growth, Line
from tests.benchmarks.programs import Parcel, once
from tests.benchmarks.stack import Stack, running_stack
from tests.benchmarks.usage import WAL
from tests.benchmarks.workloads.load import at_once, one_by_one, warm_up

NOBODY = "nobody-polls"
PARCEL_BYTES = len('{"number":0,"text":""}')
LETTERS = string.ascii_letters + string.digits


async def measure(counts: GrowthCounts) -> Growth:
    """Each size on the same stack."""
    alone, rates, wal = Line("start alone, p50", []), Line("starts, many at a time", []), Line("WAL", [])
    async with running_stack() as stack:
        await warm_up(stack, counts.warm_up)
        for size in counts.payload_bytes:
            start = Starts(stack, size)
            alone.points.append((size, percentile(await one_by_one(start, counts.starts_alone), 50) * 1000))
            rate, written = await _many(stack, start, counts)
            rates.points.append((size, rate))
            wal.points.append((size, written))
    x = "bytes of payload"
    return Growth(
        curves=[
            Curve(name="growth-payload-alone", x=x, y="ms", lines=[alone], log_x=True),
            Curve(name="growth-payload-rate", x=x, y="starts/s", lines=[rates], log_x=True),
            Curve(name="growth-payload-wal", x=x, y="bytes of WAL for each start", lines=[wal], log_x=True),
        ],
        findings=[
            Finding(what=f"{line.label}, {counts.payload_bytes[-1]:,} bytes", amount=line.points[-1][1], unit=unit)
            for line, unit in ((alone, "ms"), (rates, "starts/s"), (wal, "bytes / start"))
        ],
    )


class Starts:
    """Starts workflows with a payload of one size."""

    def __init__(self, stack: Stack, size: int) -> None:
        self._stack = stack
        self._size = size
        self._started = 0
        self._text = "".join(random.Random(size).choices(LETTERS, k=size - PARCEL_BYTES))

    async def __call__(self, _: int) -> None:
        self._started += 1
        workflow_id = f"payload-{self._size}-{self._started}"
        await self._stack.client.start_workflow(once(Parcel(0, self._text)), id=workflow_id, task_queue=NOBODY)


async def _many(stack: Stack, start: Starts, counts: GrowthCounts) -> tuple[float, float]:
    """Starts a second, and bytes of WAL for each."""
    written, began = await stack.query(WAL), time.perf_counter()
    await at_once(start, counts.starts, counts.starts_in_flight)
    seconds = time.perf_counter() - began
    return counts.starts / seconds, (await stack.query(WAL) - written) / counts.starts
