"""How much of each is done: as `make bench-growth` measures it, and a little of each to see that it works."""

from __future__ import annotations

from msgspec import Struct


class Ballast(Struct, frozen=True):
    """Executions that are there already: asleep for a month, or closed."""

    open: int
    closed: int

    @property
    def all(self) -> int:
        """How many."""
        return self.open + self.closed


class GrowthCounts(Struct, frozen=True, kw_only=True):
    """Numbers of workflows, unless they say otherwise."""

    repeats: int = 5
    pairs: int = 6
    """How often an empty and a full database are measured in turn: even, so that each is first as often."""
    warm_up: int = 200
    workflows: int = 2_000
    in_flight: int = 200
    ballast: tuple[Ballast, ...] = (Ballast(50_000, 200_000), Ballast(500_000, 2_000_000))
    long_events: int = 20_000
    window_events: int = 1_000
    replay_events: tuple[int, ...] = (100, 1_000, 10_000)
    workers: tuple[int, ...] = (1, 2, 3, 4)
    asleep: tuple[int, ...] = (0, 1_000, 2_000, 3_000, 4_000, 5_000)
    payload_bytes: tuple[int, ...] = (100, 1_000, 10_000, 50_000)
    starts_alone: int = 100
    starts: int = 1_000
    starts_in_flight: int = 50


QUICK = GrowthCounts(
    repeats=1,
    pairs=2,
    warm_up=20,
    workflows=100,
    in_flight=50,
    ballast=(Ballast(500, 2_000), Ballast(5_000, 20_000)),
    long_events=1_000,
    window_events=200,
    replay_events=(100, 1_000),
    workers=(1, 2),
    asleep=(0, 100, 200),
    payload_bytes=(100, 50_000),
    starts_alone=10,
    starts=50,
    starts_in_flight=20,
)
