"""The rate at which a task queue hands activities out, to all its workers together: a token bucket that is looked into.

It holds a fifth of a second's worth, at least one, so that what waits leaves evenly and not once a second. Time is
passed in. It must not know queues.
"""

from __future__ import annotations

BURST_SECONDS = 0.2
"""Twice the tick in which what waits is looked at again."""


class Rate:
    """So many a second.

    >>> rate = Rate(10, now=0.0)
    >>> rate.spend(2)
    >>> rate.available(0.05), rate.available(0.1), rate.available(60.0)
    (0, 1, 2)
    """

    __slots__ = ("_filled_at", "_tokens", "per_second")

    def __init__(self, per_second: float, now: float) -> None:
        self.per_second = per_second
        self._tokens = self._capacity
        self._filled_at = now

    def available(self, now: float) -> int:
        """How many may leave now."""
        self._tokens = min(self._capacity, self._tokens + max(now - self._filled_at, 0.0) * self.per_second)
        self._filled_at = now
        return int(self._tokens + _ROUNDING)

    def spend(self, count: int) -> None:
        """So many leave."""
        self._tokens -= count

    def change(self, per_second: float) -> None:
        """Another rate from now on."""
        self.per_second = per_second
        self._tokens = min(self._tokens, self._capacity)

    @property
    def _capacity(self) -> float:
        return max(self.per_second * BURST_SECONDS, 1.0)


_ROUNDING = 1e-9
