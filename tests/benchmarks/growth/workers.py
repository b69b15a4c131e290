"""W1 over worker processes on one server: how much they add, and which process the next core would go to."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from tests.benchmarks.growth.counts import GrowthCounts
from tests.benchmarks.growth.curve import Curve, Finding, Growth, Line
from tests.benchmarks.growth.load import w1_rate, warm_up
from tests.benchmarks.process import BenchmarkError, Process
from tests.benchmarks.stack import LOOK_EVERY_SECONDS, PROGRAMS, Stack, running_stack
from tests.benchmarks.usage import cpu_seconds, family

START_SECONDS_MAX = 30.0
STARTED = "worker_started"


async def measure(counts: GrowthCounts) -> Growth:
    """Workers are added one by one."""
    rates = Line("W1", [])
    cpu: dict[str, Line] = {}
    async with running_stack() as stack, _more_workers(stack) as more:
        for number in counts.workers:
            while len(more) + 1 < number:
                more.append(await new_worker(stack, f"worker-{number}", PROGRAMS))
            await warm_up(stack, counts)
            rate, spent = await _measure_at(stack, more, counts)
            rates.points.append((number, rate))
            for name, seconds in spent.items():
                cpu.setdefault(name, Line(name, [])).points.append((number, seconds))
    x = "worker processes"
    best = max(rate for _, rate in rates.points)
    return Growth(
        curves=[
            Curve(name="growth-workers", x=x, y="workflows/s", lines=[rates]),
            Curve(name="growth-workers-cpu", x=x, y="CPU s / 1,000 W1", lines=list(cpu.values())),
        ],
        findings=[
            Finding(what="best throughput, of that with one worker", amount=best / rates.points[0][1] * 100, unit="%")
        ],
    )


async def _measure_at(stack: Stack, more: list[Process], counts: GrowthCounts) -> tuple[float, dict[str, float]]:
    """The rate, and CPU seconds of each process for 1,000 workflows; those of workers together."""
    before, began = _spent(stack, more), time.perf_counter()
    rate = statistics.median([await w1_rate(stack, counts) for _ in range(counts.repeats)])
    seconds, after = time.perf_counter() - began, _spent(stack, more)
    thousands = counts.workflows * counts.repeats / 1000
    spent = {name: (after[name] - before[name]) / thousands for name in after}
    spent["all cores"] = seconds * (psutil.cpu_count() or 1) / thousands
    return rate, spent


def _spent(stack: Stack, more: list[Process]) -> dict[str, float]:
    spent = cpu_seconds(stack)
    for process in more:
        spent["worker"] += sum(sum(one.cpu_times()[:2]) for one in family(process.pid))
    return spent


@asynccontextmanager
async def _more_workers(stack: Stack) -> AsyncIterator[list[Process]]:
    """Those beside the one that the stack has; they end with the block."""
    more: list[Process] = []
    try:
        yield more
    finally:
        for process in more:
            await process.kill()


async def new_worker(stack: Stack, name: str, programs: Path, settings: Mapping[str, str] | None = None) -> Process:
    """One more on the stack's task queue; who asks for it ends it."""
    environment = {**stack._environment, **(settings or {})}
    process = Process(name, ("worker", str(programs)), environment, stack._folder)
    process.start()
    await _until_started(process)
    return process


async def _until_started(process: Process) -> None:
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            while STARTED not in process.last_words():
                process.check()
                await asyncio.sleep(LOOK_EVERY_SECONDS)
    except TimeoutError:
        raise BenchmarkError(f"the {process.name} did not start in {START_SECONDS_MAX:.0f} s") from None
