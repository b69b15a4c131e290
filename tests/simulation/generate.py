"""Scenarios from seeds: programs, what clients do with them, and at least five kinds of fault."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any, Final

from msgspec import structs

from perdure_server.config import EngineSettings
from tests.simulation.families import family, is_family
from tests.simulation.network import Weather
from tests.simulation.program import Step
from tests.simulation.richer_generate import enrich
from tests.simulation.scenario import Action, Fault, Scenario
from tests.simulation.shared.generate import shared
from tests.simulation.store import StoreWeather

CALM_AT: Final = 6.0
ROOTS_MAX: Final = 7
KINDS_MIN: Final = 5


FIRST: Final = "1"
"""The version of what seeds mean before `richer_generate` was: `61@1` is what 61 was then, when it found something."""


def generate(seed: str) -> Scenario:
    """The scenario of a seed."""
    name, _, version = seed.partition("@")
    if version == FIRST:
        return _plain(name)
    return family(name) if is_family(name) else enrich(_plain(name))


def _plain(seed: str) -> Scenario:
    random = Random(f"{seed}/scenario")
    roots = [f"w{number}" for number in range(random.randint(3, ROOTS_MAX))]
    clients = _clients(random, roots)
    scenario = Scenario(
        seed=seed,
        servers=random.choice([1, 2, 2, 3]),
        workers=random.choice([1, 2, 2, 3]),
        cached_workflows=random.choice([0, 1, 2, 100, 100]),
        slots=random.choice([1, 2, 5, 100]),
        engine=_engine(random),
        clients=clients,
        calm_at=CALM_AT,
    )
    return shared(_with_faults(random, scenario))


def _engine(random: Random) -> EngineSettings:
    """Windows so small that overflow, eviction and snapshots are walked through, or those of production."""
    if random.random() < 0.2:
        return EngineSettings()
    seconds = timedelta(seconds=1)
    return EngineSettings(
        cached_executions_max=random.choice([1, 3, 100]),
        idle_after=random.choice([0.1, 0.5, 1.0]) * seconds,
        evict_after=random.choice([0.2, 1.0, 5.0]) * seconds,
        snapshot_events=random.choice([5, 20, 200]),
        queue_window_max=random.choice([2, 5, 100]),
        batch_rows_max=random.choice([1, 3, 500]),
        look_ahead=random.choice([1.0, 5.0, 60.0]) * seconds,
        scan_every=random.choice([0.5, 2.0, 10.0]) * seconds,
        load_page=random.choice([2, 5, 500]),
        history_page_rows=random.choice([2, 5, 1000]),
        buffer_unacknowledged_for=random.choice([0.005, 0.05]) * seconds,
        activity_started_after=random.choice([0.1, 1.0]) * seconds,
        worker_lost_after=random.choice([2.0, 10.0]) * seconds,
    )


# ---- programs -------------------------------------------------------------------------------------------------


def _program(random: Random, roots: list[str], place: str, *, depth: int = 0) -> list[Step]:
    steps = [_step(random, roots, f"{place}-{number}", depth) for number in range(random.randint(2, 7 - 2 * depth))]
    if depth == 0 and random.random() < 0.05:
        steps.append(["fail"])
    return steps


def _step(random: Random, roots: list[str], place: str, depth: int) -> Step:
    kinds = ["work"] * 6 + ["sleep"] * 3 + ["wait"] * 2 + ["receive", "local", "signal", "signal", "cancel", "drop"]
    if depth < 2:
        kinds += ["all", "all", "child", "child", "leave_child"]
    if depth == 0:
        kinds += ["again"]
    kind = random.choice(kinds)
    return [kind, *_details(random, roots, place, (kind, depth))]


def _details(random: Random, roots: list[str], place: str, what: tuple[str, int]) -> list[Any]:
    kind, depth = what
    match kind:
        case "work":
            takes = random.choice([0.0, 0.0, 0.0, 0.01, 0.3, 1.5, 4.0])
            return [random.randint(0, 99), random.choice([0, 0, 0, 1, 2, 9 if takes < 1 else 0]), takes]
        case "local":
            return [random.randint(0, 99), random.choice([0, 0, 1]), random.choice([0.0, 0.1, 1.0])]
        case "sleep":
            return [random.choice([0.01, 0.2, 1.0, 2.0])]
        case "wait":
            return [random.randint(1, 4), random.choice([0.2, 1.0, 3.0])]
        case "receive":
            return [random.choice([0.5, 2.0])]
        case "signal":
            return [random.choice(roots), random.choice(["note", "items"]), [place, 0]]
        case "cancel":
            return [random.choice(roots)] if random.random() < 0.3 else ["nobody"]
        case "drop":
            inner = random.choice([["work", 1, 0, 2.5], ["sleep", 3.0], ["work", 1, 9, 0.1]])
            return [random.choice([0.0, 0.2, 1.0]), inner]
        case "all":
            return [_branch(random, roots, f"{place}.{n}", depth) for n in range(random.randint(2, 3))]
        case "child" | "leave_child":
            policy = random.choice(["terminate", "abandon", "request_cancel"])
            return [f"c{place}", _program(random, roots, place, depth=depth + 1), policy]
        case _:
            return []


def _branch(random: Random, roots: list[str], place: str, depth: int) -> list[Step]:
    return [_step(random, roots, f"{place}.{number}", depth + 1) for number in range(random.randint(1, 2))]


# ---- clients --------------------------------------------------------------------------------------------------


def _clients(random: Random, roots: list[str]) -> list[list[Action]]:
    scripts: list[list[Action]] = [[] for _ in range(random.randint(1, 3))]
    for root in roots:
        script = random.choice(scripts)
        for _ in range(1 if random.random() < 0.8 else 2):
            script.append(_start(random, roots, root))
    for _ in range(random.randint(8, 25)):
        random.choice(scripts).append(_action(random, roots))
    return scripts


def _start(random: Random, roots: list[str], root: str) -> Action:
    at = 1.0 + random.random() ** 2 * 3
    steps = _program(random, roots, f"{root}-{random.randrange(100)}")
    if random.random() < 0.15:
        return Action(at=at, do="signal_with_start", on=root, values=[steps])
    policy = random.choice(["fail", "fail", "use_existing", "terminate_existing"])
    return Action(at=at, do="start", on=root, values=[steps, policy])


def _action(random: Random, roots: list[str]) -> Action:
    kinds = ["signal"] * 8 + ["update"] * 5 + ["query"] * 2 + ["result"] * 3 + ["cancel", "terminate", "pause", "reset"]
    kind = random.choice(kinds)
    at = 1.2 + random.random() * 4
    values: list[Any] = []
    match kind:
        case "signal":
            values = [random.choice(["note", "note", "items"])]
        case "update":
            values = [random.choice([1, 2, 3, -1]), random.choice([0, 0, 0.2, -0.1])]
        case "reset":
            values = [random.choice(["first", "last"])]
        case "pause" if random.random() < 0.5:
            kind = "unpause"
        case _:
            pass
    return Action(at=at, do=kind, on=random.choice(roots), values=values)


# ---- faults ---------------------------------------------------------------------------------------------------

NETWORK: Final[dict[str, dict[str, float]]] = {
    "stragglers": {"straggle": 0.05},
    "lost requests": {"lose_request": 0.03},
    "lost answers": {"lose_answer": 0.04},
    "repeated requests": {"repeat": 0.05},
}
STORE: Final[dict[str, dict[str, float]]] = {
    "slow commits": {"slow": 0.03},
    "failed commits": {"unavailable": 0.05},
    "unknown commits": {"unknown": 0.05},
}
STRIKES: Final = ("kill server", "kill worker", "stop server", "stop worker", "no store", "cut server", "clock")


def _with_faults(random: Random, scenario: Scenario) -> Scenario:
    every = [*NETWORK, *STORE, *STRIKES]
    chosen = random.sample(every, random.randint(KINDS_MIN, len(every)))
    faults: list[Fault] = []
    for kind in STRIKES:
        if kind in chosen:
            faults += [_strike(random, scenario, kind) for _ in range(random.randint(1, 2))]
    weather = {name: value for kind in NETWORK if kind in chosen for name, value in NETWORK[kind].items()}
    store = {name: value for kind in STORE if kind in chosen for name, value in STORE[kind].items()}
    return structs.replace(
        scenario,
        faults=sorted(faults, key=lambda fault: fault.at),
        weather=Weather(**weather),
        store_weather=StoreWeather(**store),
    )


def _strike(random: Random, scenario: Scenario, kind: str) -> Fault:
    at = 1.0 + random.random() * 5
    server = f"server-{random.randrange(scenario.servers)}"
    worker = f"worker-{random.randrange(scenario.workers)}"
    match kind:
        case "kill server":
            return Fault(at=at, what="kill", on=server, steps=random.randrange(60))
        case "kill worker":
            return Fault(at=at, what="kill", on=worker, steps=random.randrange(60))
        case "stop server":
            return Fault(at=at, what="freeze", on=server, lasts=random.choice([0.2, 1.5, 4.0, 8.0]))
        case "stop worker":
            return Fault(at=at, what="freeze", on=worker, lasts=random.choice([0.2, 1.5, 4.0, 12.0]))
        case "no store":
            return Fault(
                at=at, what="cut from store", on=random.choice(["", server]), lasts=random.choice([0.3, 2.0, 5.0])
            )
        case "cut server":
            return Fault(at=at, what="cut from callers", on=server, lasts=random.choice([0.3, 3.0]))
        case _:
            off_by = random.choice([-90.0, -2.0, 2.0, 90.0])
            return Fault(at=at, what="jump clock", on=random.choice([server, worker]), amount=off_by)
