"""Invariant 3, looked at while the world runs: state rebuilt from the log equals the live state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perdure_server.engine.api import EngineApi
from perdure_server.engine.rebuild import rebuild
from perdure_server.history.invariants import same_state
from perdure_server.history.state import STATE_VERSION
from tests.simulation.world import World

LOOK_EVERY: Final = 0.9
RUNS_MAX: Final = 3
"""So many runs of each server are compared at a time."""


def watch(world: World) -> None:
    """Compares now and then; what differs is kept as a finding of the world."""
    for server in world.servers.values():
        api = server.gate.api
        if api is not None and not server.host.is_dead and not server.host.is_frozen:
            fence = api.engine.committer.fence
            if world.model.tables.fences.get(fence.server) == fence.epoch:
                world.findings.extend(_differences(world, api))
    if world.loop.now < world.scenario.calm_at + 5.0:
        world.network.later(LOOK_EVERY, watch, world)


def _differences(world: World, api: EngineApi) -> Iterator[str]:
    looked = 0
    for execution in list(api.engine.residents.by_run.values()):
        shard_id, server = execution.key.shard_id, api.engine.committer.fence.server
        if not world.owns(server, shard_id) or execution.is_lost or execution.is_changing() or looked >= RUNS_MAX:
            continue
        run = execution.key.shard_id, execution.run_id
        stored = world.model._stored(run, STATE_VERSION)
        if stored is None:
            continue
        looked += 1
        differing = same_state(execution.state, rebuild(stored, execution.namespace).state)
        if differing:
            yield f"3 rebuilt state equals live state: run {execution.run_id} differs in {', '.join(differing)}"
