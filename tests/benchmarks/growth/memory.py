"""Memory of each process over the number of executions that it has cached: workflows asleep for an hour."""

from __future__ import annotations

import asyncio

from tests.benchmarks.growth.counts import GrowthCounts
from tests.benchmarks.growth.curve import Curve, Finding, Growth, Line, slope
from tests.benchmarks.growth.workers import new_worker
from tests.benchmarks.process import BenchmarkError
from tests.benchmarks.programs import nap
from tests.benchmarks.stack import LOOK_EVERY_SECONDS, PROGRAMS, TASK_QUEUE, Stack, running_stack
from tests.benchmarks.usage import memory_figures
from tests.benchmarks.workloads.load import at_once, warm_up

NAP_SECONDS = 3600.0
IN_FLIGHT = 200
ASLEEP_SECONDS_MAX = 120.0
COUNT_ASLEEP = "select count(*) from wakes where wake_at > now() + interval '10 minutes' and not owed"
PROCESSES = ("server", "worker")


async def measure(counts: GrowthCounts) -> Growth:
    """More and more of them; read when the server has put all to rest."""
    lines = {name: Line(name, []) for name in PROCESSES}
    async with running_stack() as stack:
        await _cache_all(stack, max(counts.asleep))
        await warm_up(stack, counts.warm_up)
        for there, wanted in zip((0, *counts.asleep), counts.asleep, strict=False):
            await _put_to_sleep(stack, there, wanted)
            found = {figure.name: figure.amount for figure in memory_figures("", stack)}
            for name, line in lines.items():
                line.points.append((wanted, found[f"memory, {name}"]))
    return Growth(
        curves=[Curve(name="growth-memory", x="workflows asleep", y="MiB", lines=list(lines.values()))],
        findings=[
            Finding(what=f"{name}, for each 1,000 cached", amount=slope(line.points) * 1000, unit="MiB")
            for name, line in lines.items()
        ],
    )


async def _cache_all(stack: Stack, count: int) -> None:
    """A worker that keeps so many; by default it would keep fewer."""
    await stack.worker.stop()
    stack.worker = await new_worker(stack, "worker", PROGRAMS, {"PERDURE_MAX_CACHED_WORKFLOWS": str(count + 1)})


async def _put_to_sleep(stack: Stack, there: int, wanted: int) -> None:
    async def start(number: int) -> None:
        await stack.client.start_workflow(nap(NAP_SECONDS), id=f"nap-{there + number}", task_queue=TASK_QUEUE)

    await at_once(start, wanted - there, IN_FLIGHT)
    try:
        async with asyncio.timeout(ASLEEP_SECONDS_MAX):
            while await stack.query(COUNT_ASLEEP) < wanted:  # noqa: ASYNC110 - Postgres raises no event
                await asyncio.sleep(LOOK_EVERY_SECONDS)
    except TimeoutError:
        raise BenchmarkError(f"not all of {wanted} are asleep after {ASLEEP_SECONDS_MAX:.0f} s") from None
