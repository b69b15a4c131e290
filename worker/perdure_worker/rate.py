"""A token bucket: how many activities a worker starts in a second. Time is passed in."""

from __future__ import annotations


class TokenBucket:
    """Holds at most one second's worth of tokens, at least one.

    >>> bucket = TokenBucket(per_second=2, now=0.0)
    >>> bucket.take(0.0), bucket.take(0.0), bucket.take(0.0), bucket.take(0.5)
    (0.0, 0.0, 0.5, 0.0)
    """

    def __init__(self, *, per_second: float, now: float) -> None:
        self._per_second = per_second
        self._capacity = max(per_second, 1.0)
        self._tokens = self._capacity
        self._filled_at = now

    def take(self, now: float) -> float:
        """Takes a token and returns 0, or returns the seconds until there will be one."""
        self._tokens = min(self._capacity, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._per_second
