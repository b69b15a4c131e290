"""What befalls servers that share the shards, beside what befalls any host."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.scenario import Fault
from tests.simulation.shared.server import SharedServer
from tests.simulation.world import World


def leave(world: World, fault: Fault) -> None:
    """SIGTERM: it gives its shards away, answers, ends, and comes back a while later."""
    server = world.servers.get(fault.on)
    if isinstance(server, SharedServer) and not server.host.is_dead:
        server.leave()


def join(world: World, fault: Fault) -> None:
    """A server that was not there before."""
    world.start(fault.on)


def cut_apart(world: World, fault: Fault) -> None:
    """Two servers, named with a `|` between them, that do not reach each other."""
    pair = frozenset(fault.on.split("|"))
    world.network.apart.add(pair)
    world.network.later(fault.lasts, world.network.apart.discard, pair)


KINDS: dict[str, Callable[[World, Fault], None]] = {"leave": leave, "join": join, "cut apart": cut_apart}
