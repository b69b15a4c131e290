"""How a peer is loaded: one job after the other, or many at a time. A peer is loaded in the way in which it is used
best: DBOS from threads, Restate from tasks of one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

Job_contra = TypeVar("Job_contra", contravariant=True)
"""Does the work of a number, and checks its result."""

ThreadJob = Callable[[int], None]
TaskJob = Callable[[int], Awaitable[None]]


class Load(Protocol[Job_contra]):
    def one_by_one(self, job: Job_contra, numbers: Iterable[int]) -> list[float]:
        """The seconds of each."""

    def at_once(self, job: Job_contra, numbers: Sequence[int], in_flight: int) -> None:
        """All of them, so many at a time."""


class Threads:
    """Calls that block: alone in the main thread, together in a thread for each that is in flight."""

    def one_by_one(self, job: ThreadJob, numbers: Iterable[int]) -> list[float]:
        seconds = []
        for number in numbers:
            before = time.perf_counter()
            job(number)
            seconds.append(time.perf_counter() - before)
        return seconds

    def at_once(self, job: ThreadJob, numbers: Sequence[int], in_flight: int) -> None:
        with ThreadPoolExecutor(in_flight) as pool:
            for _ in pool.map(job, numbers):
                pass


class Tasks:
    """Calls that are awaited, in one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def one_by_one(self, job: TaskJob, numbers: Iterable[int]) -> list[float]:
        return self._loop.run_until_complete(self._one_by_one(job, numbers))

    def at_once(self, job: TaskJob, numbers: Sequence[int], in_flight: int) -> None:
        self._loop.run_until_complete(self._at_once(job, numbers, in_flight))

    async def _one_by_one(self, job: TaskJob, numbers: Iterable[int]) -> list[float]:
        seconds = []
        for number in numbers:
            before = time.perf_counter()
            await job(number)
            seconds.append(time.perf_counter() - before)
        return seconds

    async def _at_once(self, job: TaskJob, numbers: Sequence[int], in_flight: int) -> None:
        left = iter(numbers)

        async def take() -> None:
            for number in left:
                await job(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(in_flight, len(numbers))):
                group.create_task(take())
