"""The clock of this process: the time of day as it was once, and what has passed since on the monotonic clock.

Law: whoever sets the machine's clock while the server runs moves no timer. What this clock was wrong at the beginning,
and what it drifts, the heartbeats measure against Postgres's (`cluster.presence`). It must not know what time is for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

_at = datetime.fromtimestamp  # bound once: it is called several times for each request


def time_of_day() -> datetime:
    """What the machine says; it may be set at any moment."""
    return datetime.fromtimestamp(time.time(), UTC)


class SteadyClock:
    """Call it for the time. It never jumps and never goes back."""

    __slots__ = ("_began", "_monotonic")

    def __init__(
        self, time_of_day: Callable[[], datetime] = time_of_day, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._began = time_of_day().timestamp() - monotonic()

    def __call__(self) -> datetime:
        return _at(self._began + self._monotonic(), UTC)
