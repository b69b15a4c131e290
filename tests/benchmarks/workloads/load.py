"""How a stack is loaded: one workflow after the other, or many at a time; every result is checked by its workload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.benchmarks.process import BenchmarkError
from tests.benchmarks.programs import Parcel, once
from tests.benchmarks.stack import TASK_QUEUE, Stack

Work = Callable[[int], Awaitable[None]]
"""Does the work of a number, and checks its result."""


async def timed(work: Awaitable[None]) -> float:
    """How many seconds it takes."""
    before = time.perf_counter()
    await work
    return time.perf_counter() - before


async def one_by_one(work: Work, count: int) -> list[float]:
    """The seconds of each."""
    return [await timed(work(number)) for number in range(count)]


async def at_once(work: Work, count: int, in_flight: int) -> None:
    """All of them, so many at a time."""
    numbers = iter(range(count))

    async def take() -> None:
        for number in numbers:
            await work(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(in_flight, count)):
            group.create_task(take())


async def run_once(stack: Stack, workflow_id: str) -> None:
    """The smallest workflow, checked."""
    parcel = Parcel(len(workflow_id))
    expect(parcel, await stack.client.execute_workflow(once(parcel), id=workflow_id, task_queue=TASK_QUEUE))


async def warm_up(stack: Stack, count: int) -> None:
    """Let code, caches and connections come to where they are in long-running processes."""
    await one_by_one(lambda number: run_once(stack, f"warm-up-{number}"), count)


def expect(expected: object, got: object) -> None:
    """Every result is checked: a fast wrong answer is worth nothing."""
    if expected != got:
        raise BenchmarkError(f"expected {expected!r} and got {got!r}")
