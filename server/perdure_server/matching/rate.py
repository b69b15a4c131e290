"""The rate at which something may leave: a token bucket that is looked into.

That of a task queue holds a fifth of a second's worth, at least one, so that what waits leaves evenly and not once a
second. With several servers `limit` is what they may do together, and `per_second` the share of this one (see
`perdure_server.rates`). Time is passed in. It must not know queues.
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

    __slots__ = (
        "_asked_at",
        "_burst_seconds",
        "_demand",
        "_filled_at",
        "_tokens",
        "limit",
        "named_at",
        "per_second",
        "wanted",
    )

    def __init__(self, per_second: float, now: float, *, burst_seconds: float = BURST_SECONDS) -> None:
        self.limit = per_second
        self.per_second = per_second
        self.named_at = 0.0
        """When the limit was named, by the time of day: of two that servers know the later one holds."""
        self.wanted = 0
        """What has left, or was refused, since `demand` was asked."""
        self._burst_seconds = burst_seconds
        self._tokens = self._capacity
        self._filled_at = now
        self._asked_at = now
        self._demand = 0.0

    def available(self, now: float) -> int:
        """How many may leave now."""
        self._fill(now)
        return int(self._tokens + _ROUNDING)

    def spend(self, count: int) -> None:
        """So many leave."""
        self._tokens -= count
        self.wanted += count

    def wait(self, longest: float) -> float:
        """In how many seconds the next may leave; at most `longest`."""
        missing = max(1.0 - self._tokens, 0.0)
        return missing if not missing else min(missing / self.per_second if self.per_second else longest, longest)

    def change(self, per_second: float) -> None:
        """Another limit from now on, all of it ours."""
        self.limit = per_second
        self._set(per_second)

    def change_limit(self, per_second: float) -> None:
        """Another limit for all servers together: of that we have no more than we had."""
        self.limit = per_second
        self._set(min(self.per_second, per_second))

    def share(self, per_second: float, now: float) -> None:
        """Of the limit so much is ours from now on."""
        self._fill(now)
        self._set(min(per_second, self.limit))

    def demand(self, now: float) -> float:
        """How many a second leave or are refused, as of about the last second."""
        seconds, self._asked_at = max(now - self._asked_at, _DEMAND_SECONDS_MIN), now
        wanted, self.wanted = self.wanted, 0
        self._demand += (wanted / seconds - self._demand) * min(seconds / _DEMAND_SECONDS, 1.0)
        return self._demand

    def _fill(self, now: float) -> None:
        self._tokens = min(self._capacity, self._tokens + max(now - self._filled_at, 0.0) * self.per_second)
        self._filled_at = now

    def _set(self, per_second: float) -> None:
        self.per_second = per_second
        self._tokens = min(self._tokens, self._capacity)

    @property
    def _capacity(self) -> float:
        return max(self.per_second * self._burst_seconds, 1.0)


_ROUNDING = 1e-9
_DEMAND_SECONDS = 1.0
_DEMAND_SECONDS_MIN = 0.1
