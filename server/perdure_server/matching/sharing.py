"""How a limit is named where it may hold for several servers: alone all of it is ours, else what we are given of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from perdure_server.matching.queues import KindQueue
from perdure_server.matching.rate import Rate


class Sharing:
    """Whether there are `others`, and whom to tell of a new limit. Alone until `with_others`."""

    def __init__(self, clock: Callable[[], float], wall: Callable[[], datetime]) -> None:
        self._clock = clock
        self._wall = wall
        self._is_alone: Callable[[], bool] = lambda: True
        self._look: Callable[[], None] = lambda: None

    def with_others(self, is_alone: Callable[[], bool], look: Callable[[], None]) -> None:
        """From now on others may be there, who are asked for a share when `look` is called."""
        self._is_alone, self._look = is_alone, look

    def name(self, kind: KindQueue, per_second: float) -> None:
        """The last worker that names a rate counts, for all workers of the queue; it stays when that one leaves."""
        if kind.rate is None:
            kind.rate = Rate(per_second, self._clock())
            if not self._is_alone():
                kind.rate.share(0.0, self._clock())
        elif self._is_alone():
            kind.rate.change(per_second)
        else:
            kind.rate.change_limit(per_second)
        kind.rate.named_at = self._wall().timestamp()
        self._look()
