"""Families: scenarios of parents and children alone, while the one server dies again and again between two commits.

Every so many seeds is one: what a child that has closed still owes is lost in moments that a mixed world seldom meets.
"""

from __future__ import annotations

from random import Random
from typing import Final

from tests.simulation.scenario import Action, Fault, Scenario
from tests.simulation.store import StoreWeather

EVERY: Final = 25
CALM_AT: Final = 6.0


def is_family(seed: str) -> bool:
    """Whether a seed is one of these.

    >>> [is_family(seed) for seed in ("24", "25", "x")]
    [True, False, False]
    """
    return seed.isdigit() and int(seed) % EVERY == EVERY - 1


def family(seed: str) -> Scenario:
    """Three parents, each with eight children one after the other."""
    random = Random(f"{seed}/family")
    return Scenario(
        seed=seed,
        servers=1,
        workers=1,
        clients=[[_parent(random, f"w{number}") for number in range(3)]],
        faults=[_death(random, 1.5 + 0.6 * number) for number in range(7)],
        store_weather=StoreWeather(slow=0.3, slow_max=1.0),
        calm_at=CALM_AT,
    )


def _parent(random: Random, root: str) -> Action:
    steps = [
        ["child", f"c{root}-{number}", [["sleep", random.choice([0.05, 0.1, 0.2])]], "abandon"] for number in range(8)
    ]
    return Action(at=1.1, do="start", on=root, values=[steps, "fail"])


def _death(random: Random, at: float) -> Fault:
    return Fault(at=at, what="kill", on="server-0", steps=random.randrange(150))
