"""W1 as every section measures it: so many a second, until every result is seen."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Awaitable, Callable

from tests.benchmarks.growth.counts import GrowthCounts
from tests.benchmarks.stack import Stack
from tests.benchmarks.workloads.load import at_once, run_once

_rounds = itertools.count()


async def w1_rate(stack: Stack, counts: GrowthCounts) -> float:
    """Workflows a second."""
    started = time.perf_counter()
    await at_once(_once(stack), counts.workflows, counts.in_flight)
    return counts.workflows / (time.perf_counter() - started)


async def warm_up(stack: Stack, counts: GrowthCounts) -> None:
    """Many at a time, so that all workers get their share."""
    await at_once(_once(stack), counts.warm_up, counts.in_flight)


async def paired_rates(one: Stack, other: Stack, counts: GrowthCounts) -> tuple[float, float]:
    """Of two stacks in turn, so that both are measured in the same minutes, and each as often first: medians."""
    rates: dict[Stack, list[float]] = {one: [], other: []}
    for repeat in range(counts.pairs):
        for stack in (one, other) if repeat % 2 == 0 else (other, one):
            rates[stack].append(await w1_rate(stack, counts))
    return statistics.median(rates[one]), statistics.median(rates[other])


def _once(stack: Stack) -> Callable[[int], Awaitable[None]]:
    prefix = f"round-{next(_rounds)}"
    return lambda number: run_once(stack, f"{prefix}-{number}")
