"""Fair order within a priority: a virtual time that gives each fairness key its turns by weight.

Self-clocked fair queueing: a task is stamped once, on arrival, with the end of its key's next turn; the lowest stamp
is served next, and time is the stamp served last. For tasks of equal size this is weighted round robin over the keys,
in order of arrival within a key. (With the start of the turn as the stamp, a stream of ever new keys would stop the
clock and starve an old key.) It must not know what is queued.
"""

from __future__ import annotations

from perdure_server.matching.port import PRIORITY_MAX

WEIGHT_MIN = 0.001
WEIGHT_MAX = 1000.0
KEYS_KEPT_MAX = 1_000


class Turns:
    """The virtual clock of each priority, and when each key had its last turn. Priority 0 is for queries."""

    __slots__ = ("_forget_above", "_last", "_now")

    def __init__(self) -> None:
        self.reset()

    def stamp(self, priority: int, key: str, weight: float) -> float:
        """The turn of a task that arrives now, behind those of its own key."""
        turns = self._last[priority]
        start = max(turns.get(key, 0.0), self._now[priority])
        turn = turns[key] = start + 1.0 / min(max(weight, WEIGHT_MIN), WEIGHT_MAX)
        if len(turns) > self._forget_above:
            self._forget(priority)
        return turn

    def now(self, priority: int) -> float:
        """The turn that is being served: a task stamped with it is next."""
        return self._now[priority]

    def served(self, priority: int, stamp: float) -> None:
        """A task left: the clock of its priority goes on to its turn."""
        self._now[priority] = max(self._now[priority], stamp)

    def reset(self) -> None:
        """Nothing waits: every key starts alike."""
        self._now = [0.0] * (PRIORITY_MAX + 1)
        self._last: list[dict[str, float]] = [{} for _ in range(PRIORITY_MAX + 1)]
        self._forget_above = KEYS_KEPT_MAX

    def resume(self, priority: int, key: str, now: float, last: float) -> None:
        """What waits already: the clock stands at `now` at least, and the last turn of the key is at `last`."""
        self._now[priority] = max(self._now[priority], now)
        self._last[priority][key] = max(self._last[priority].get(key, 0.0), last)
        self._forget_above = max(self._forget_above, 2 * len(self._last[priority]))

    def _forget(self, priority: int) -> None:
        """A key whose last turn has passed is as good as new."""
        now = self._now[priority]
        self._last[priority] = {key: turn for key, turn in self._last[priority].items() if turn > now}
        self._forget_above = max(KEYS_KEPT_MAX, 2 * len(self._last[priority]))
