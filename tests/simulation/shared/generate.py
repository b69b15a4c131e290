"""Which seeds have several owners, and what befalls these besides. Its draws move nobody else's."""

from __future__ import annotations

from random import Random
from typing import Final

from msgspec import structs

from tests.simulation.scenario import Fault, Scenario

STRIKES: Final = ("leave", "join", "cut apart", "store alone")
SHARE: Final = 0.5


def shared(scenario: Scenario) -> Scenario:
    """The scenario, with several owners for a share of the seeds."""
    random = Random(f"{scenario.seed}/shared")
    if random.random() >= SHARE:
        return scenario
    servers = random.choice([2, 2, 3])
    faults = [_among(random, fault, servers) for fault in scenario.faults]
    for kind in STRIKES:
        if random.random() < 0.5:
            faults += [_strike(random, kind, servers) for _ in range(random.randint(1, 2))]
    return structs.replace(scenario, is_shared=True, servers=servers, faults=sorted(faults, key=lambda fault: fault.at))


def _among(random: Random, fault: Fault, servers: int) -> Fault:
    name = f"server-{random.randrange(servers)}"
    return structs.replace(fault, on=name) if fault.on.startswith("server") else fault


def _strike(random: Random, kind: str, servers: int) -> Fault:
    at, names = 1.0 + random.random() * 5, [f"server-{number}" for number in range(servers)]
    match kind:
        case "leave":
            return Fault(at=at, what="leave", on=random.choice(names))
        case "join":
            return Fault(at=at, what="join", on=f"server-{servers + random.randrange(2)}")
        case "cut apart":
            pair = "|".join(random.sample(names, 2))
            return Fault(at=at, what="cut apart", on=pair, lasts=random.choice([0.3, 2.0, 5.0]))
        case _:
            return Fault(at=at, what="cut from store", on=random.choice(names), lasts=random.choice([0.5, 3.0, 6.0]))
