"""Runs one scenario to its end and says what is wrong with what it left."""

from __future__ import annotations

import gc
from random import Random

from msgspec import Struct

from tests.simulation import chance, faults
from tests.simulation.checks import check, has_lost_commits
from tests.simulation.checks.live import watch
from tests.simulation.finale import finish
from tests.simulation.loop import SimulatedLoop, StuckError
from tests.simulation.scenario import Scenario
from tests.simulation.world import World

AFTER_LOSS_SECONDS = 20.0


class Outcome(Struct):
    """How a world ended. `wrong` is empty for a good one."""

    seed: str
    wrong: list[str]
    events: int
    steps: int
    seconds: float
    """Of virtual time."""
    trace: list[str]
    digest: int
    """Of the whole trace: the same for every run of the scenario."""


def run(scenario: Scenario, *, keep_trace: bool = False) -> Outcome:
    """The outcome of a scenario."""
    gc.disable()  # what is collected would take steps at moments that no seed decides
    loop = SimulatedLoop(Random(f"{scenario.seed}/loop"))
    with chance.world_of(loop, scenario.seed):
        world = World(scenario, loop)
        wrong = _live(world)
        events = sum(
            row.last_event_id - row.first_event_id + 1
            for rows in world.model.tables.history.values()
            for row in rows.values()
        )
        lines = world.trace.lines() if wrong or keep_trace else []
        outcome = Outcome(scenario.seed, wrong, events, loop.steps, loop.now, lines, hash(tuple(lines)))
        _clear(world)
    return outcome


def _live(world: World) -> list[str]:
    try:
        faults.arrange(world)
        watch(world)
        world.begin()
        world.loop.run_until(world.scenario.calm_at)
        world.calm()
        if has_lost_commits(world):  # what is owed may be lost with the rest: the log alone is looked at
            world.loop.run_until(world.scenario.calm_at + AFTER_LOSS_SECONDS)
            return check(world)
        return finish(world) + world.findings + check(world)
    except StuckError as error:
        return [f"liveness: {error}"]


def _clear(world: World) -> None:
    """Lets go of everything, without a step more of anybody's."""
    world.loop.end()
    for worker in world.workers:
        if worker._assembly is not None:
            worker._assembly._cache.clear()
