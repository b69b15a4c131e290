"""Deadlines of the runs in memory: one heap, one wake-up for the earliest. A stale entry costs one look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from heapq import heappop, heappush

from perdure_server.engine.execution import Execution

_RINGS_APART_SECONDS = 0.002
"""Thousands of runs that fell asleep one after the other are looked at together, not one wake-up each."""


class Timers:
    """Calls `due(run_id)` when the earliest deadline of a run has come."""

    def __init__(self, now: Callable[[], datetime], due: Callable[[str], None]) -> None:
        self._now = now
        self._due = due
        self._heap: list[tuple[datetime, str]] = []
        self._handle: asyncio.TimerHandle | None = None
        self._handle_at: datetime | None = None
        self._rang_at = 0.0

    def arm(self, execution: Execution) -> None:
        """Sees to the earliest deadline of a run; one entry stands for all that come later."""
        at = execution.next_deadline
        if at is None or (execution.armed_at is not None and execution.armed_at <= at):
            return
        execution.armed_at = at
        heappush(self._heap, (at, execution.run_id))
        if self._handle_at is None or at < self._handle_at:
            self._schedule()

    def clock_moved(self) -> None:
        """The instants are the same, but they come sooner or later than they seemed to."""
        self._schedule()

    def stop(self) -> None:
        """No more wake-ups."""
        if self._handle is not None:
            self._handle.cancel()
        self._heap.clear()

    def _schedule(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle, self._handle_at = None, None
        if self._heap:
            self._handle_at = self._heap[0][0]
            loop = asyncio.get_running_loop()
            due = loop.time() + (self._handle_at - self._now()).total_seconds()
            self._handle = loop.call_at(max(due, self._rang_at + _RINGS_APART_SECONDS), self._ring)

    def _ring(self) -> None:
        now = self._now()
        self._rang_at = asyncio.get_running_loop().time()
        try:
            while self._heap and self._heap[0][0] <= now:
                self._due(heappop(self._heap)[1])
        finally:
            self._schedule()  # what goes wrong with one run must not stop the clock of all
