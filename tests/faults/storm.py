"""Faults as they come: drawn by seed, one to three at a time on things of their own, with calm in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from msgspec import Struct

from tests.faults.box import Box
from tests.faults.deck import Deck, Drawn
from tests.faults.journal import Journal
from tests.faults.table import FAULTS, Occasion, Target

CALM_SECONDS = (2.0, 6.0)


class Struck(Struct, kw_only=True):
    """One fault that happened."""

    name: str
    where: str
    begun_at: float
    ended_at: float = 0.0


class Storm:
    """Strikes until it is over, and tells what it did."""

    def __init__(self, box: Box, journal: Journal, names: Sequence[str], *, seed: int, seconds_max: float) -> None:
        self._box = box
        self._journal = journal
        self._chance = random.Random(seed)
        servers, workers = len(box.servers), len(box.workers)
        sizes: dict[Target, int] = {"server": servers, "worker": workers, "network": servers, "database": servers}
        self._deck = Deck(names, self._chance, sizes, seconds_max=seconds_max)
        self.struck: list[Struck] = []

    async def run(self, seconds: float) -> None:
        """For so long; a fault that is under way then is carried to its end."""
        ends_at = self._journal.now() + seconds
        for drawn in self._deck.rounds():
            await asyncio.sleep(self._chance.uniform(*CALM_SECONDS))
            if self._journal.now() >= ends_at:
                return
            await asyncio.gather(*[self._strike(one) for one in drawn])

    async def _strike(self, drawn: Drawn) -> None:
        await asyncio.sleep(drawn.delay)
        struck = Struck(name=drawn.name, where=drawn.where, begun_at=self._journal.now())
        self._journal.say(f"{drawn.name}: {drawn.where} for {drawn.seconds:.1f} s")
        self.struck.append(struck)
        occasion = Occasion(
            self._box, index=drawn.index, seconds=drawn.seconds, chance=random.Random(self._chance.random())
        )
        try:
            await FAULTS[drawn.name].strike(occasion)
        except Exception as error:  # noqa: BLE001 - a fault that cannot be carried out, or undone, is told
            self._journal.blame(f"{drawn.name}: {type(error).__name__}: {error}")
        struck.ended_at = self._journal.now()
