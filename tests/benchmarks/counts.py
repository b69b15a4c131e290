"""How much of each work is done: as `make bench` measures it, and a little of each to see that it works."""

from __future__ import annotations

from msgspec import Struct


class Counts(Struct, frozen=True, kw_only=True):
    """Numbers of workflows, unless they say otherwise."""

    warm_up: int = 50
    alone: int = 300
    throughput: int = 2_000
    throughput_long: int = 20_000
    throughput_in_flight: int = 200
    steps: int = 10
    sequences: int = 500
    sequences_in_flight: int = 100
    sequences_alone: int = 20
    fan_outs: int = 10
    fan_width: int = 100
    signals: int = 200
    asleep: int = 5_000
    idle_seconds: float = 10.0
    naps: int = 500
    nap_seconds: float = 30.0
    killed_after_seconds: float = 10.0
    settle: bool = True
    """Whether to wait until Postgres has told all its statistics."""


QUICK = Counts(
    warm_up=5,
    alone=10,
    throughput=50,
    throughput_long=100,
    throughput_in_flight=20,
    sequences=10,
    sequences_in_flight=5,
    sequences_alone=3,
    fan_outs=2,
    fan_width=20,
    signals=10,
    asleep=100,
    idle_seconds=1.0,
    naps=20,
    nap_seconds=6.0,
    killed_after_seconds=1.0,
    settle=False,
)
