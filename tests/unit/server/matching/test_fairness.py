"""The turns of fairness keys, as a property: whatever is parked and paged back, and whenever a new owner takes over."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from perdure_server.matching.fairness import Turns

USUAL = 3
WEIGHTS = {"a": 0.5, "b": 1.0, "c": 1.0, "d": 4.0}
KEYS = st.sampled_from(sorted(WEIGHTS))
STEPS = st.lists(st.one_of(KEYS, st.integers(1, 7), st.just("restart")), max_size=40)


class Waiting:
    """What waits, as rows: turn, arrival, key. It is served by turn, and a new owner knows nothing but the rows."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.rows: list[tuple[float, int, str]] = []
        self.served: list[tuple[str, int]] = []
        self._arrivals = 0

    def park(self, key: str) -> None:
        self._arrivals += 1
        self.rows.append((self.turns.stamp(USUAL, key, WEIGHTS[key]), self._arrivals, key))

    def page(self, room: int) -> None:
        self.rows.sort()
        page, self.rows = self.rows[:room], self.rows[room:]
        for turn, arrival, key in page:
            self.turns.served(USUAL, turn)
            self.served.append((key, arrival))

    def restart(self) -> None:
        self.turns = Turns()
        for key in WEIGHTS:
            last = max((turn for turn, _, owner in self.rows if owner == key), default=None)
            if last is not None:
                self.turns.resume(USUAL, key, min(self.rows)[0], last)

    def do(self, step: str | int) -> None:
        if isinstance(step, int):
            self.page(step)
        elif step == "restart":
            self.restart()
        else:
            self.park(step)


@given(backlog=st.lists(KEYS, min_size=1, max_size=60), steps=STEPS)
def test_each_key_keeps_its_order(backlog: list[str], steps: list[str | int]) -> None:
    """Tasks of one key come back in the order in which they were parked, and all of them once."""
    waiting = Waiting()
    for step in [*backlog, *steps, len(backlog) + len(steps)]:
        waiting.do(step)
    for key in WEIGHTS:
        arrivals = [arrival for owner, arrival in waiting.served if owner == key]
        assert sorted(set(arrivals)) == arrivals
    assert [] == waiting.rows


@given(steps=STEPS)
def test_keys_that_wait_share_by_weight(steps: list[str | int]) -> None:
    """While two keys wait, neither is ahead of the other by more than a turn of each, also across a restart."""
    waiting = Waiting()
    for key, weight in WEIGHTS.items():
        for _ in range(int(weight * 300)):
            waiting.park(key)
    for step in steps:
        waiting.do(step)
        served = Counter(key for key, _ in waiting.served)
        left = {key for _, _, key in waiting.rows}
        for one, other in combinations(sorted(left), 2):
            ahead = abs(served[one] / WEIGHTS[one] - served[other] / WEIGHTS[other])
            assert ahead <= 1 / WEIGHTS[one] + 1 / WEIGHTS[other]


@given(served=st.integers(0, 50), restarts=st.booleans())
def test_a_key_that_comes_late_waits_for_no_backlog(served: int, restarts: bool) -> None:
    """The first task of a key that was not there comes back after at most two of each key that waits."""
    waiting = Waiting()
    for _ in range(100):
        waiting.park("b")
    waiting.page(served)
    if restarts:
        waiting.restart()
    waiting.park("c")
    waiting.page(3)
    assert "c" in [key for key, _ in waiting.served[served:]]
