"""One workflow that grows: what its next event costs, in time and in CPU, while the worker has it cached.

It grows by a stretch at a time, and after each a fresh workflow grows by as much: machines drift, and what is compared
is the two of the same seconds.
"""

from __future__ import annotations

import itertools
import statistics
import time
from pathlib import Path

from perdure.client import WorkflowHandle
from tests.benchmarks.growth.counts import GrowthCounts
from tests.benchmarks.growth.curve import Curve, Finding, Growth, Line
from tests.benchmarks.growth.programs import advance, in_stages
from tests.benchmarks.growth.workers import new_worker
from tests.benchmarks.programs import TEXT
from tests.benchmarks.stack import TASK_QUEUE, Stack, running_stack
from tests.benchmarks.usage import cpu_seconds
from tests.benchmarks.workloads.load import expect, warm_up

PROGRAMS = Path(__file__).with_name("programs.py")
STEP_EVENTS = 6
SHARE_MOST = 115.0
QUARTER = 4
PROCESSES = ("server", "worker", "Postgres")

Spent = dict[str, float]
"""Milliseconds for each event: `time`, and the CPU of each process."""


async def measure(counts: GrowthCounts) -> Growth:
    """Activities in sequence, one workflow at a time."""
    long, fresh = Line("one that grows", []), Line("fresh ones", [])
    cpu = [Line(name, []) for name in PROCESSES]
    shares: list[float] = []
    async with running_stack() as stack:
        await warm_up(stack, counts.warm_up)
        await stack.worker.stop()
        stack.worker = await new_worker(stack, "worker", PROGRAMS)
        grower = Grower(stack, counts.window_events // STEP_EVENTS)
        await grower.grow(await grower.start())  # warms up the new worker
        handle = await grower.start()
        while (events := (await handle.describe()).history_length) < counts.long_events:
            spent, spent_fresh = await grower.grow(handle), await grower.grow(await grower.start())
            long.points.append((events, spent["time"]))
            fresh.points.append((events, spent_fresh["time"]))
            shares.append(spent["time"] / spent_fresh["time"] * 100)
            for line in cpu:
                line.points.append((events, spent[line.label]))
    x = "events in the history"
    last = shares[-max(len(shares) // QUARTER, 1) :]
    what = f"time of an event near {counts.long_events:,} events, of that in a fresh workflow"
    return Growth(
        curves=[
            Curve(name="growth-events-time", x=x, y="ms for each event", lines=[long, fresh]),
            Curve(name="growth-events-cpu", x=x, y="CPU ms for each event of the one that grows", lines=cpu),
        ],
        findings=[Finding(what=what, amount=statistics.median(last), unit="%", most=SHARE_MOST)],
    )


class Grower:
    """Starts workflows, and lets them grow by a stretch."""

    def __init__(self, stack: Stack, steps: int) -> None:
        self._stack = stack
        self._steps = steps
        self._numbers = itertools.count()
        self._done: dict[str, int] = {}

    async def start(self) -> WorkflowHandle[None]:
        workflow_id = f"stages-{next(self._numbers)}"
        return await self._stack.client.start_workflow(in_stages(TEXT), id=workflow_id, task_queue=TASK_QUEUE)

    async def grow(self, handle: WorkflowHandle[None]) -> Spent:
        """What each event of the stretch costs."""
        done = self._done[handle.id] = self._done.get(handle.id, 0) + self._steps
        before, began = cpu_seconds(self._stack), time.perf_counter()
        expect(done, await handle.execute_update(advance, self._steps))
        spent = {"time": time.perf_counter() - began}
        after = cpu_seconds(self._stack)
        spent.update({name: after[name] - before[name] for name in PROCESSES})
        return {name: seconds * 1000 / (self._steps * STEP_EVENTS) for name, seconds in spent.items()}
