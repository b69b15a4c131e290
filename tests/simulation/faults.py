"""What befalls the hosts of a world, when the scenario says so; and how each ends."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Final

from tests.simulation.scenario import Fault
from tests.simulation.shared import faults as shared
from tests.simulation.world import World

BREAK_SECONDS: Final = 0.2
"""So long nobody reaches a Postgres that fails over."""


def arrange(world: World) -> None:
    """Sets all faults up."""
    for fault in world.scenario.faults:
        if fault.at < world.scenario.calm_at:
            world.network.later(fault.at, _strike, world, fault)


def _strike(world: World, fault: Fault) -> None:
    if not world.is_calm:
        world.trace.note(fault.on or "world", f"fault: {fault.what}", fault.lasts or fault.steps or fault.amount)
        KINDS[fault.what](world, fault)


def kill(world: World, fault: Fault) -> None:
    """At one of its next steps, wherever it is then."""
    host = world.hosts.get(fault.on)
    if host is not None:
        host.steps_left = fault.steps


def freeze(world: World, fault: Fault) -> None:
    """SIGSTOP, and SIGCONT later."""
    host = world.hosts.get(fault.on)
    if host is None or host.is_frozen:
        return
    host.is_frozen = True

    def go_on() -> None:
        if host.is_frozen:
            world.trace.note(host.name, "goes on")
            world.loop.thaw(host)

    world.network.later(fault.lasts, go_on)


def cut_from_store(world: World, fault: Fault) -> None:
    """A server that does not reach Postgres; every server where none is named."""
    cut = [server for name, server in world.servers.items() if fault.on in ("", name)]
    for server in cut:
        server.store.is_cut = True

    def mend() -> None:
        for server in cut:
            server.store.is_cut = False

    world.network.later(fault.lasts, mend)


def cut_from_callers(world: World, fault: Fault) -> None:
    """A server that nobody reaches."""
    cut = [endpoint for endpoint in world.network.endpoints if endpoint.host.name == fault.on]
    for endpoint in cut:
        endpoint.is_cut = True

    def mend() -> None:
        for endpoint in cut:
            endpoint.is_cut = False

    world.network.later(fault.lasts, mend)


def jump_clock(world: World, fault: Fault) -> None:
    """A host whose clock is suddenly off."""
    host = world.hosts.get(fault.on)
    if host is not None:
        host.clock_error += fault.amount


def fail_over(world: World, fault: Fault) -> None:
    """Postgres fails over to a standby that lags: the last commits are gone, and every connection breaks."""
    tables = world.model.tables
    known = {name: deepcopy(value) for name, value in vars(tables).items() if name != "now"}

    def go_back() -> None:
        if not world.is_calm:
            vars(tables).update(known)
            cut_from_store(world, Fault(at=0.0, what="", lasts=BREAK_SECONDS))
            world.trace.note("world", "commits are lost", fault.lasts)

    world.network.later(fault.lasts, go_back)


KINDS: dict[str, Callable[[World, Fault], None]] = {
    "kill": kill,
    "freeze": freeze,
    "cut from store": cut_from_store,
    "cut from callers": cut_from_callers,
    "jump clock": jump_clock,
    **shared.KINDS,
    "fail over": fail_over,
}
