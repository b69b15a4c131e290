"""W1 over the number of executions in the database: an empty one and a full one, measured in turn."""

from __future__ import annotations

import time

from tests.benchmarks.growth.ballast import add_ballast, make_originals
from tests.benchmarks.growth.counts import Ballast, GrowthCounts
from tests.benchmarks.growth.curve import Curve, Finding, Growth, Line, Point
from tests.benchmarks.growth.load import paired_rates, warm_up
from tests.benchmarks.stack import Stack, running_stack

SHARE_LEAST = 85.0
"""Percent of the throughput with an empty database."""


async def measure(counts: GrowthCounts) -> Growth:
    """Two stacks; one of them is filled step by step."""
    empty_line, full_line = Line("empty database", []), Line("database that fills", [])
    ready: list[Point] = []
    share = 100.0
    there = Ballast(0, 0)
    async with running_stack() as empty, running_stack() as full:
        await make_originals(full)
        for wanted in (there, *counts.ballast):
            if wanted.all:
                await _stop(empty)
                await _start(empty)
                await _stop(full)
                await add_ballast(full.dsn, there, wanted)
                ready.append((wanted.all, await _start(full)))
            there = wanted
            await warm_up(empty, counts)
            await warm_up(full, counts)
            base, rate = await paired_rates(empty, full, counts)
            empty_line.points.append((wanted.all, base))
            full_line.points.append((wanted.all, rate))
            share = rate / base * 100
    curve = Curve(
        name="growth-executions", x="executions in the database", y="W1, workflows/s", lines=[empty_line, full_line]
    )
    return Growth(curves=[curve], findings=_findings(there, share, ready))


async def _stop(stack: Stack) -> None:
    await stack.worker.stop()
    await stack.server.stop()


async def _start(stack: Stack) -> float:
    """Seconds until the server is ready. The worker is a new one too: an old one may be waiting between attempts."""
    started = time.perf_counter()
    stack.server.start()
    await stack.until_ready()
    ready = time.perf_counter()
    stack.worker.start()
    return ready - started


def _findings(there: Ballast, share: float, ready: list[Point]) -> list[Finding]:
    what = f"{there.open:,} open and {there.closed:,} closed executions"
    return [
        Finding(what=f"W1 throughput with {what}, of that without", amount=share, unit="%", least=SHARE_LEAST),
        Finding(what=f"a server starts on {what}", amount=ready[-1][1], unit="s"),
    ]
