"""Carries a plan out on one side, one stimulus at a time, and gives an account of what came of it."""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from perdure.exceptions import RPCError
from tests.differential.family import Family, NoRestError
from tests.differential.rest import Run
from tests.differential.sides import Place
from tests.simulation.clients import SimulatedClient
from tests.simulation.journal import Journal, Operation
from tests.simulation.loop import SimulatedLoop
from tests.simulation.scenario import Action, Scenario
from tests.simulation.trace import Trace

CALL_SECONDS_MAX: Final = 30.0
NUDGES_MAX: Final = 3
"""So often an execution that still waits at the end is sent what it may wait for."""


class Account(Struct, kw_only=True):
    """What was seen: what clients were told, in their order, and every run, with what is said of it at the end."""

    operations: list[Operation]
    runs: list[Run]
    descriptions: dict[str, Any]


class _Silent:
    """No trace is kept: the histories are."""

    def note(self, who: str, what: str, *details: Any) -> None:
        """Nothing."""


async def play(scenario: Scenario, place: Place) -> Account:
    """The account of a plan."""
    player = Player(scenario.seed, place)
    for script in scenario.clients:
        for action in script:
            await player.do(action)
    await player.finish()
    return await player.account()


class Player:
    """A client that does one thing at a time, and then waits until all is at rest."""

    def __init__(self, name: str, place: Place) -> None:
        self._place = place
        self._client = client = place.client
        self._journal = Journal()
        self._family = Family(client)
        loop = cast(SimulatedLoop, asyncio.get_running_loop())  # it is asked for the time alone
        self._caller = SimulatedClient(name, client, self._journal, loop, cast(Trace, _Silent()))

    async def do(self, action: Action) -> None:
        await self._place.forget()
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                operation = await self._caller.do(action)
        except TimeoutError:
            raise NoRestError(f"no answer to {action.do} {action.on}") from None
        self._family.learn(operation.on, operation.run_id)
        await self._family.until_at_rest()

    async def finish(self) -> None:
        """Whoever still waits gets what it may wait for; whoever waits even then is terminated."""
        for do, values in (("unpause", []), *[("signal", [name]) for name in ["note", "items"] * NUDGES_MAX]):
            for run in self._family.open():
                if not run.is_closed:
                    await self.do(Action(at=0.0, do=do, on=run.workflow_id, values=values))
        while still_open := self._family.open():
            await self.do(Action(at=0.0, do="terminate", on=still_open[0].workflow_id))

    async def account(self) -> Account:
        runs = sorted(self._family.runs.values(), key=lambda run: (run.workflow_id, run.run_id))
        descriptions = {run.run_id: await self._described(run) for run in runs}
        return Account(operations=self._journal.operations, runs=runs, descriptions=descriptions)

    async def _described(self, run: Run) -> Any:
        try:
            answer = await self._client.service.describe(run.workflow_id, run.run_id)
        except RPCError as error:
            return str(error.code)
        return msgspec.to_builtins(answer)
