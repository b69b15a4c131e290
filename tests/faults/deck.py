"""Which fault comes next, and where: a deck that is shuffled by seed. Pure: a seed gives the same faults again."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from tests.faults.table import FAULTS, Target

AT_ONCE_MAX = 3
DELAY_SECONDS_MAX = 4.0


def names_of(pattern: str = "", *, small_disk: bool) -> list[str]:
    """The faults in whose names this regular expression is found, and that can be carried out here."""
    possible = [name for name, fault in FAULTS.items() if small_disk or not fault.needs_small_disk]
    return [name for name in possible if re.search(pattern, name)]


class Drawn(Struct, frozen=True, kw_only=True):
    """One fault to come."""

    name: str
    target: Target
    index: int
    delay: float
    """Seconds after the beginning of the round: so that a server dies in the middle of an outage, and not before."""
    seconds: float

    @property
    def where(self) -> str:
        return f"{self.target} {self.index + 1}"


class Deck:
    """Every fault comes once before any comes twice, in an order of chance."""

    def __init__(
        self, names: Sequence[str], chance: random.Random, sizes: dict[Target, int], *, seconds_max: float
    ) -> None:
        self._names = names
        self._chance = chance
        self._sizes = sizes
        self._seconds_max = seconds_max
        self._cards = self._shuffled()

    def rounds(self) -> Iterator[list[Drawn]]:
        """One to three at a time, no two on the same thing."""
        left: Drawn | None = None
        while True:
            drawn = [msgspec.structs.replace(left or self._draw(), delay=0.0)]
            left = None
            for _ in range(self._chance.randrange(AT_ONCE_MAX)):
                one = self._draw()
                if one.where in {other.where for other in drawn}:
                    left = one
                    break
                drawn.append(one)
            yield drawn

    def _draw(self) -> Drawn:
        name = next(self._cards)
        fault = FAULTS[name]
        low, high = (min(seconds, self._seconds_max) for seconds in fault.seconds)
        index = self._chance.randrange(self._sizes.get(fault.target, 1))
        return Drawn(
            name=name,
            target=fault.target,
            index=index,
            delay=self._chance.uniform(0, DELAY_SECONDS_MAX),
            seconds=self._chance.uniform(low, high),
        )

    def _shuffled(self) -> Iterator[str]:
        while True:
            yield from self._chance.sample(self._names, len(self._names))
