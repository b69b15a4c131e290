"""What must hold of a world: the invariants of the semantics, each a function that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.simulation.checks.acknowledged import (
    acknowledged_completions,
    acknowledged_signals,
    acknowledged_starts,
    acknowledged_updates,
    order_of_signals,
    results,
    starts_once,
)
from tests.simulation.checks.evidence import Evidence
from tests.simulation.checks.log import (
    children_seen_to_close,
    histories,
    identity,
    nothing_left_beside,
    replays,
    whole_rows,
)
from tests.simulation.world import World

Check = Callable[[Evidence], Iterator[str]]

CHECKS: dict[str, Check] = {
    "1 acknowledged starts are in the log": acknowledged_starts,
    "1 a start begins one run": starts_once,
    "1 acknowledged signals are in the log, once": acknowledged_signals,
    "1 acknowledged updates are in the log, once": acknowledged_updates,
    "1 acknowledged completions are in the log, once": acknowledged_completions,
    "2 rows of the log leave neither gap nor overlap": whole_rows,
    "2, 4 every history keeps its laws": histories,
    "5 at most one open run, the current one": identity,
    "6 nothing stays beside the log of what is closed": nothing_left_beside,
    "7 a replay gives the same commands": replays,
    "8 a parent sees each child close": children_seen_to_close,
    "8 a caller's signals keep their order": order_of_signals,
    "9 a result never changes": results,
}
"""Invariants by their numbers in the semantics; 3 is looked at while the world runs, 6 by its coming to rest."""


def check(world: World) -> list[str]:
    """All that is wrong at the end of a world."""
    evidence = Evidence(world)
    wrong = [f"{law}: {what}" for law, find in CHECKS.items() for what in find(evidence)]
    return wrong + [f"crash: {what}" for what in crashes(world)]


def crashes(world: World) -> Iterator[str]:
    """What died that nobody had killed."""
    for error in world.loop.errors:
        yield f"{error.get('host', '')}: {error.get('message')}: {error.get('exception')!r}"
    for host in [*world.hosts.values(), *world.past]:
        if host.failure is not None:
            yield f"{host.name}: {host.failure!r}"
    for failure in world.script_failures():
        yield f"a client: {failure!r}"
