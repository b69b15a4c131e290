"""Plays the same plans on several sides and finds where they differ; makes such a plan smaller."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

from tests.differential.compare import difference, lines_of
from tests.differential.family import NoRestError
from tests.differential.plans import is_side_by_side
from tests.differential.play import play
from tests.differential.sides import ORDINARY, Place, Side, place_of
from tests.simulation.scenario import Scenario, read, write
from tests.simulation.shrink import smaller_ones

TRIES_MAX: Final = 60
TIMED_OUT: Final = '"timeout_type"'


class Finding(Struct, frozen=True):
    """A plan of which two sides gave different accounts."""

    scenario: Scenario
    side: Side
    difference: str

    def text(self) -> str:
        return f"== {self.scenario.seed}: {ORDINARY.name} ! {self.side.name} ==\n{self.difference}"

    def whole(self) -> str:
        """With the plan."""
        return f"{write(self.scenario)}\n{self.text()}"


class Contest:
    """Accounts of some plans by several sides."""

    def __init__(self, postgres: str, template: str, beside: int) -> None:
        self._postgres = postgres
        self._template = template
        self._beside = beside
        self._scenarios: dict[str, Scenario] = {}
        self.accounts: dict[str, dict[str, list[str]]] = {}
        """By side and plan."""

    async def hear(self, side: Side, scenarios: Sequence[Scenario], store: Any = None) -> None:
        """Plays all plans on a side."""
        async with place_of(side, self._postgres, self._template, store) as place:
            accounts = await self._play_all(scenarios, place)
        self._scenarios |= {one.seed: one for one in scenarios}
        self.accounts[side.name] = {one.seed: lines for one, lines in zip(scenarios, accounts, strict=True)}

    def findings(self, side: Side) -> list[Finding]:
        """Where a side differs from the ordinary one."""
        ordinary = self.accounts[ORDINARY.name]
        found = {seed: difference(ordinary[seed], lines) for seed, lines in self.accounts[side.name].items()}
        return [Finding(self._scenarios[seed], side, what) for seed, what in found.items() if what]

    def said(self, side: Side) -> str:
        """How much was compared."""
        accounts = self.accounts[side.name]
        lines = [line for account in accounts.values() for line in account]
        runs, operations, events = (sum(line.startswith(mark) for line in lines) for mark in "#> ")
        return f"{len(accounts)} programs, {operations} operations, {runs} runs, {events} events"

    async def shrunk(self, finding: Finding, store: Any = None, tries_max: int = TRIES_MAX) -> Finding:
        """The smallest plan that was found, within a number of tries, on which the two still differ."""
        async with (
            place_of(ORDINARY, self._postgres, self._template) as ordinary,
            place_of(finding.side, self._postgres, self._template, store) as other,
        ):
            places, tries = (ordinary, other), iter(range(tries_max))
            while (smaller := await _smaller(finding, places, tries)) is not None:
                finding = smaller
        return finding

    async def _play_all(self, scenarios: Sequence[Scenario], place: Place) -> list[list[str]]:
        slots = asyncio.Semaphore(self._beside)

        async def one(scenario: Scenario) -> list[str]:
            async with slots:
                return await _account_in_time(scenario, place)

        return await asyncio.gather(*map(one, scenarios))


async def _account_in_time(scenario: Scenario, place: Place) -> list[str]:
    """No plan has timeouts: where there is one, this machine stood still; the plan is played again, twice at most."""
    lines = await account_of(scenario, place)
    for number in (1, 2):
        if not any(TIMED_OUT in line for line in lines):
            break
        lines = await _account_again(scenario, place, f"late{number}")
    return lines


async def _smaller(finding: Finding, places: tuple[Place, Place], tries: Iterator[int]) -> Finding | None:
    """The first smaller plan on which the two still differ."""
    for scenario, number in zip(smaller_ones(finding.scenario), tries, strict=False):
        left, right = [await _account_again(scenario, place, number) for place in places]
        if what := difference(left, right):
            return Finding(scenario, finding.side, what)
    return None


async def _account_again(scenario: Scenario, place: Place, number: object) -> list[str]:
    """That of a plan whose workflow ids were used before: it goes by others."""
    mine, other = f"{scenario.seed}-", f"{scenario.seed}.{number}-"
    lines = await account_of(read(write(scenario).replace(f'"{mine}', f'"{other}')), place)
    return [line.replace(other, mine) for line in lines]


async def account_of(scenario: Scenario, place: Place) -> list[str]:
    """The account as it is compared; that of a plan that does not come to rest is what it waits for."""
    try:
        return lines_of(await play(scenario, place), in_order=not is_side_by_side(scenario))
    except NoRestError as error:
        return [f"no rest: {error}"]
