"""More for a scenario: richer steps in the place of plain ones, and a client more.

It draws from a stream of its own, so what a seed meant before it still means, and more.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from msgspec import structs

from tests.simulation.richer import LIMITS
from tests.simulation.scenario import Action, Fault, Scenario

PLAIN: Final = ("work", "sleep", "wait", "local")
"""What gives its place to richer steps, so that scenarios stay as long as they are."""
SHARE: Final = 0.3
LOOKERS: Final = 0.3
STORMS: Final = 0.3
FAIL_OVERS: Final = 0.04
"""Of such a world only the log is looked at, so it is not one of many."""
STARTS: Final = ("start", "signal_with_start")


def enrich(scenario: Scenario) -> Scenario:
    """The same world with more in it."""
    random = Random(f"{scenario.seed}/richer")
    there: list[tuple[str, str, str]] = []
    roots = sorted({action.on for script in scenario.clients for action in script})
    clients = [[_enriched(random, action, roots, there) for action in script] for script in scenario.clients]
    clients.append(_client(random, roots, there))
    if random.random() < LOOKERS:
        clients.extend(_looker(random, roots) for _ in range(3))
    faults = list(scenario.faults)
    if random.random() < STORMS:
        faults += _storm(random, scenario)
        bad = {"slow": 0.1, "unknown": 0.05}
        scenario = structs.replace(scenario, store_weather=structs.replace(scenario.store_weather, **bad))
    if random.random() < FAIL_OVERS:
        faults.append(Fault(at=1.5 + random.random() * 3, what="fail over", lasts=random.choice([0.05, 0.3, 1.0])))
    return structs.replace(scenario, clients=clients, faults=sorted(faults, key=lambda fault: fault.at))


def _enriched(random: Random, action: Action, roots: list[str], there: list[tuple[str, str, str]]) -> Action:
    if action.do not in STARTS:
        return action
    steps, *others = action.values
    changed = []
    for number, step in enumerate(steps):
        place = f"r{action.on}-{random.randrange(1000)}-{number}"
        is_replaced = step[0] in PLAIN and random.random() < SHARE
        changed.append(_step(random, [action.on, *roots], place, there) if is_replaced else step)
    return structs.replace(action, values=[changed, *others])


def _step(random: Random, roots: list[str], place: str, there: list[tuple[str, str, str]]) -> list[Any]:
    root = roots[0]
    match random.choice(
        ["count", "limit", "asked", "asked", "stop_work", "waitpoint", "waitpoint", "stop_child", "tell"]
    ):
        case "count":
            return ["count", random.choice([2, 5, 9])]
        case "limit":
            return ["limit", random.choice(list(LIMITS))]
        case "asked":
            there.append(("answer_activity", root, place))
            return ["asked", place]
        case "tell":
            return ["tell", random.choice(roots), place, random.choice([2, 3])]
        case "stop_work":
            kind = random.choice(["try_cancel", "wait_cancellation_completed", "abandon"])
            return ["stop_work", random.choice([0.0, 0.3, 1.0]), kind, random.choice([4, 9])]
        case "waitpoint":
            there.append(("resume", root, place))
            return ["waitpoint", place, random.choice([0.5, 2.0, 4.0])]
        case _:
            kinds = ["try_cancel", "wait_cancellation_completed", "wait_cancellation_requested", "abandon"]
            policy = random.choice(["terminate", "abandon", "request_cancel"])
            steps = random.choice([[["sleep", 1.0]], [["work", 1, 0, 0.3], ["sleep", 0.2]], [["count", 4]]])
            options = {"cancellation_type": random.choice(kinds), "parent_close_policy": policy}
            return ["stop_child", random.choice([0.0, 0.2, 2.0]), f"c{place}", steps, options]


def _looker(random: Random, roots: list[str]) -> list[Action]:
    """Who looks again and again, over a way of its own: at a server that was stopped, perhaps."""
    looks = [Action(at=1.5 + random.random() * 5, do="look", on=random.choice(roots)) for _ in range(12)]
    queries = [Action(at=1.5 + random.random() * 5, do="query", on=random.choice(roots)) for _ in range(2)]
    return looks + queries


def _storm(random: Random, scenario: Scenario) -> list[Fault]:
    """Servers die again and again at moments that nobody chose, or one stands still for long."""
    servers = [f"server-{number}" for number in range(scenario.servers)]
    if random.random() < 0.4:
        at = 1.1 + random.random()
        return [Fault(at=at, what="freeze", on=random.choice(servers), lasts=5.0 + random.random())]
    return [
        Fault(at=1.3 + random.random() * 4.5, what="kill", on=random.choice(servers), steps=random.randrange(200))
        for _ in range(random.randint(4, 7))
    ]


def _client(random: Random, roots: list[str], there: list[tuple[str, str, str]]) -> list[Action]:
    script = [_answer(random, *each) for each in there if random.random() < 0.8]
    script += [_action(random, roots) for _ in range(random.randint(3, 8))]
    if random.random() < 0.25:
        attempts = random.randint(2, 3)
        steps = [["work", 1, 0, 0.0], ["try_again", random.choice([attempts, attempts + 1])], ["sleep", 0.1]]
        script.append(Action(at=1.0 + random.random() * 3, do="start_retried", on="retried", values=[steps, attempts]))
    if random.random() < 0.1:
        steps = [["work", 1, 0, 0.0]]
        script.append(Action(at=1.0 + random.random() * 3, do="start_cron", on="cron", values=[steps]))
    return script


def _answer(random: Random, do: str, root: str, place: str) -> Action:
    at, value = 1.5 + random.random() * 3, random.randint(100, 199)
    values = [place, value, random.choice(["token", "ids"])] if do == "answer_activity" else [place, value]
    return Action(at=at, do=do, on=root, values=values)


def _action(random: Random, roots: list[str]) -> Action:
    at, root = 1.2 + random.random() * 4, random.choice(roots)
    match random.choice(["look", "look", "update_with_start", "pause", "unpause", "reset", "query", "query"]):
        case "update_with_start":
            steps = [["wait", 1, 0.5], ["work", 1, 0, 0.0]]
            value = random.choice([1, 2, 3, -1])
            return Action(at=at, do="update_with_start", on=root, values=[value, random.choice([0, 0.2, -0.1]), steps])
        case "pause" | "unpause" | "reset" as verb:
            return Action(at=at, do="control_activity", on=root, values=[verb])
        case "query":
            return Action(at=at, do="query", on=root)
        case _:
            return Action(at=at, do="look", on=root)
