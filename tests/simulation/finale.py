"""The end of a world: what is paused goes on, everything owed happens, and what was answered is asked for again."""

from __future__ import annotations

import asyncio

from tests.simulation.clients import SimulatedClient
from tests.simulation.connection import client_of
from tests.simulation.hosts import Host
from tests.simulation.journal import Journal
from tests.simulation.scenario import Action
from tests.simulation.world import PAUSED, REST_SECONDS_MAX, RUNNING, World

LOOK_SECONDS = 0.2
CRON = "cron"
"""What begins like this runs until somebody ends it."""


def finish(world: World) -> list[str]:
    """Runs to rest; says what did not happen."""
    loop, host = world.loop, Host("finale", world.loop)
    client = SimulatedClient("finale", client_of(world.network.route("finale"), "finale"), Journal(), loop, world.trace)
    unpausing = host.spawn(_unpause(world, client))
    rested = False
    while not rested and loop.now < world.scenario.calm_at + REST_SECONDS_MAX:
        loop.run_until(loop.now + LOOK_SECONDS)
        rested = world.is_at_rest()
    unpausing.cancel()
    if not rested:
        return [f"liveness: {what}" for what in unfinished(world)]
    return []


async def _unpause(world: World, client: SimulatedClient) -> None:
    while True:
        await asyncio.sleep(1.0)
        for row in list(world.model.tables.executions.values()):
            if row.status == PAUSED:
                await client.do(Action(at=0.0, do="unpause", on=row.workflow_id))
            elif row.status == RUNNING and row.workflow_id.startswith(CRON):
                await client.do(Action(at=0.0, do="terminate", on=row.workflow_id))
            elif row.status == RUNNING and any(
                each.control for each in world.model.tables.activities.get((row.shard_id, row.run_id), {}).values()
            ):
                await client.do(Action(at=0.0, do="unpause_activities", on=row.workflow_id))


def unfinished(world: World) -> list[str]:
    """What a world that does not come to rest still waits for."""
    tables = world.model.tables
    found = [
        f"{row.workflow_id} is still running" for row in tables.executions.values() if row.status in (RUNNING, PAUSED)
    ]
    found += [f"run {run[1]} is still owed something" for run, wake in tables.wakes.items() if wake.owed]
    found += [f"{each.client} waits for {each.do} {each.on}" for each in world.journal.operations if each.code == "?"]
    return found
