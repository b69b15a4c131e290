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
from tests.simulation.checks.between import heard_in_order, heard_once, told_is_heard
from tests.simulation.checks.evidence import Evidence
from tests.simulation.checks.log import (
    children_seen_to_close,
    histories,
    identity,
    nothing_left_beside,
    replays,
    whole_rows,
)
from tests.simulation.checks.reads import looks, queries
from tests.simulation.checks.said import answered_from_elsewhere, retried_runs, said
from tests.simulation.world import World

Check = Callable[[Evidence], Iterator[str]]

CHECKS: dict[str, Check] = {
    "1 acknowledged starts are in the log": acknowledged_starts,
    "1 a start begins one run": starts_once,
    "1 acknowledged signals are in the log, once": acknowledged_signals,
    "1 acknowledged updates are in the log, once": acknowledged_updates,
    "1 acknowledged completions are in the log, once": acknowledged_completions,
    "1 what ends activities and waitpoints from elsewhere is in the log": answered_from_elsewhere,
    "1 what one run tells another is in its log": told_is_heard,
    "1 what one run tells another comes once": heard_once,
    "2 rows of the log leave neither gap nor overlap": whole_rows,
    "2, 4 every history keeps its laws": histories,
    "5 at most one open run, the current one": identity,
    "6 nothing stays beside the log of what is closed": nothing_left_beside,
    "7 a replay gives the same commands": replays,
    "8 a parent sees each child close": children_seen_to_close,
    "8 a caller's signals keep their order": order_of_signals,
    "8 a run's signals keep their order": heard_in_order,
    "9 a result never changes": results,
    "a program's result is what its steps can come to": said,
    "a failed run is tried again as its policy says": retried_runs,
    "a look shows what is": looks,
    "a query sees what was acknowledged before": queries,
}
"""Invariants by their numbers in the semantics; 3 is looked at while the world runs, 6 by its coming to rest."""

LASTING = (
    "2 rows of the log leave neither gap nor overlap",
    "7 a replay gives the same commands",
)
"""What holds even where Postgres lost commits in a failover: what it had acknowledged may be gone, not be wrong."""


def check(world: World) -> list[str]:
    """All that is wrong at the end of a world."""
    evidence = Evidence(world)
    laws = LASTING if has_lost_commits(world) else tuple(CHECKS)
    wrong = [f"{law}: {what}" for law in laws for what in CHECKS[law](evidence)]
    return wrong + [f"crash: {what}" for what in crashes(world)]


def has_lost_commits(world: World) -> bool:
    """Whether Postgres failed over to a standby that lagged."""
    return any(fault.what == "fail over" for fault in world.scenario.faults)


def crashes(world: World) -> Iterator[str]:
    """What died that nobody had killed."""
    for error in world.loop.errors:
        yield f"{error.get('host', '')}: {error.get('message')}: {error.get('exception')!r}"
    for host in [*world.hosts.values(), *world.past]:
        if host.failure is not None:
            yield f"{host.name}: {host.failure!r}"
    for failure in world.script_failures():
        yield f"a client: {failure!r}"
