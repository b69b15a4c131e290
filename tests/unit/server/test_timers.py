"""One wake-up for the earliest deadline, also when cluster time turns out to be another."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from perdure_server.engine.timers import Timers

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SOON = timedelta(milliseconds=1)


class Run:
    """What the timers see of a run."""

    def __init__(self, run_id: str, at: datetime) -> None:
        self.run_id = run_id
        self.next_deadline = at
        self.armed_at: datetime | None = None


async def test_a_clock_that_moves_on_brings_the_deadline_near() -> None:
    """What was an hour away rings at once when the hour turns out to have passed."""
    rung: asyncio.Queue[str] = asyncio.Queue()
    shown = BEGIN
    timers = Timers(lambda: shown, rung.put_nowait)
    run: Any = Run("r", BEGIN + timedelta(hours=1))
    timers.arm(run)
    shown = BEGIN + timedelta(hours=1)
    timers.clock_moved()
    async with asyncio.timeout(10):
        assert "r" == await rung.get()
    timers.stop()


async def test_a_clock_that_moves_back_rings_nothing_early() -> None:
    """A wake-up that comes before its instant finds nothing due, and waits again."""
    rung: asyncio.Queue[str] = asyncio.Queue()
    shown = BEGIN
    timers = Timers(lambda: shown, rung.put_nowait)
    first: Any = Run("first", BEGIN + SOON)
    timers.arm(first)
    shown = BEGIN - timedelta(hours=1)
    timers.clock_moved()
    second: Any = Run("second", shown)
    timers.arm(second)
    async with asyncio.timeout(10):
        assert "second" == await rung.get()
    assert rung.empty()
    timers.stop()
