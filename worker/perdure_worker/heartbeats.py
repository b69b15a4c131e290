"""Heartbeats of one activity attempt, throttled: user code may beat as often as it likes.

The first goes out at once; of those that come within the interval only the last is sent, when the interval is over.
When an attempt fails, what is still waiting goes first, because the next attempt resumes from it. Runs on the
worker's loop; time comes from the timers that are passed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Generic, Protocol, TypeVar

INTERVAL_SHARE: Final = 0.8
"""Of the heartbeat timeout: early enough to arrive in time."""
INTERVAL_MAX: Final = 30.0

Details = TypeVar("Details")


class Timers(Protocol):
    """The part of an event loop that tells time and calls back later."""

    def time(self) -> float: ...

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle: ...  # noqa: ANN401 - asyncio's own signature


def interval_of(heartbeat_timeout: timedelta | None) -> float:
    """Seconds between two heartbeats on the wire.

    >>> interval_of(timedelta(seconds=10)), interval_of(None)
    (8.0, 30.0)
    """
    if heartbeat_timeout is None:
        return INTERVAL_MAX
    return min(heartbeat_timeout.total_seconds() * INTERVAL_SHARE, INTERVAL_MAX)


class Heartbeats(Generic[Details]):
    """Sends the first, then the latest once an interval."""

    def __init__(self, timers: Timers, interval: float, send: Callable[[Details], None]) -> None:
        self._timers = timers
        self._interval = interval
        self._send = send
        self._next_at = timers.time()
        self._waiting: list[Details] = []
        self._timer: asyncio.TimerHandle | None = None

    def beat(self, details: Details) -> None:
        """Sends the details now or when the interval is over, unless later ones come first."""
        self._waiting = [details]
        if self._timer is not None:
            return
        delay = self._next_at - self._timers.time()
        if delay <= 0:
            self.last_words()
        else:
            self._timer = self._timers.call_later(delay, self._on_interval)

    def last_words(self) -> None:
        """Sends what waits, if anything does."""
        waiting, self._waiting = self._waiting, []
        for details in waiting:
            self._next_at = self._timers.time() + self._interval
            self._send(details)

    def stop(self) -> None:
        """Nothing is sent by itself any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_interval(self) -> None:
        self._timer = None
        self.last_words()
