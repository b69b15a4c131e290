"""Deadlines without a timer each: things to do at an instant, in buckets that the sweeper empties.

Putting and dropping cost a dictionary operation; a deadline is kept to one tick, never early. It must not know what
the things are, nor what time it is.
"""

from __future__ import annotations

from math import ceil
from typing import Generic, TypeVar

T = TypeVar("T")

TICK_SECONDS = 0.1


class Wheel(Generic[T]):
    """Each thing is in it at most once."""

    __slots__ = ("_bucket_of", "_buckets")

    def __init__(self) -> None:
        self._buckets: dict[int, dict[T, None]] = {}
        self._bucket_of: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._bucket_of)

    def put(self, thing: T, at: float) -> None:
        """Make the thing due at an instant; an earlier deadline of it is forgotten."""
        self.drop(thing)
        bucket = ceil(at / TICK_SECONDS)
        self._bucket_of[thing] = bucket
        self._buckets.setdefault(bucket, {})[thing] = None

    def drop(self, thing: T) -> None:
        """Forget the thing, if it is in here."""
        bucket = self._bucket_of.pop(thing, None)
        if bucket is not None:
            things = self._buckets[bucket]
            del things[thing]
            if not things:
                del self._buckets[bucket]

    def due(self, now: float) -> list[T]:
        """Take out what is due, earliest first."""
        passed = sorted(bucket for bucket in self._buckets if bucket * TICK_SECONDS <= now)
        things = [thing for bucket in passed for thing in self._buckets.pop(bucket)]
        for thing in things:
            del self._bucket_of[thing]
        return things
