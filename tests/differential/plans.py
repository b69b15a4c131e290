"""Plans: scenarios of the simulation, made fit for real time and for being compared.

A plan is a scenario without faults: its actions are done one after the other, each when all before it has come to rest,
so their times do not matter. What two runs may not agree on is taken out of its programs. A wait is either short, and
then nothing but time can end it, or long, and then only a message can.

There are two kinds. In the plans of even seeds one stimulus is outstanding at a time: branches become a sequence, a
child begins with a long wait, a message goes only to who is at rest. In those of odd seeds branches, children and
dropped steps run side by side, and messages between executions go to one that does nothing but wait.

A step or an action that is not known here is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tests.simulation.generate import generate
from tests.simulation.program import Step
from tests.simulation.scenario import Action, Scenario

LONG_SECONDS: Final = 600.0
"""A wait that only a message ends."""
SHORT_SECONDS: Final = 0.03
ROOTS_MAX: Final = 2
ACTIONS_MAX: Final = 8
FAILS_MAX: Final = 1
"""A retry takes half a second of real time."""
SINK: Final = "sink"
NOBODY: Final = "nobody"
STARTS: Final = frozenset({"start", "signal_with_start"})
KNOWN: Final = STARTS | {"signal", "update", "query", "cancel", "terminate", "pause", "unpause", "reset"}
"""Actions that end without another one. (To wait for a result would be to wait for the next action.)"""


def plan(seed: int) -> Scenario:
    """The plan of a seed. Its client is named after it, so that plans can run beside each other."""
    generated = generate(str(seed))
    actions = sorted((one for script in generated.clients for one in script), key=lambda action: action.at)
    roots = sorted({action.on for action in actions if action.do in STARTS})[:ROOTS_MAX]
    chosen = [action for action in actions if action.on in roots and action.do in KNOWN]
    starts = [action for action in chosen if action.do in STARTS]
    others = [action for action in chosen if action not in starts][:ACTIONS_MAX]
    tamed = Tamed(f"p{seed}", roots, side_by_side=seed % 2 == 1)
    kept = [tamed.action(action) for action in chosen if action in starts or action in others]
    return Scenario(seed=f"p{seed}", clients=[[tamed.sink(), *kept]])


def is_side_by_side(scenario: Scenario) -> bool:
    """Whether more than one stimulus may be outstanding."""
    return int(scenario.seed[1:]) % 2 == 1


class Tamed:
    """Programs and actions of one plan."""

    def __init__(self, prefix: str, roots: list[str], *, side_by_side: bool) -> None:
        self._prefix = prefix
        self._roots = roots
        self._side_by_side = side_by_side

    def name(self, workflow_id: str) -> str:
        return f"{self._prefix}-{workflow_id}"

    def sink(self) -> Action:
        """The start of what messages may go to whenever they like."""
        return Action(at=0.0, do="start", on=self.name(SINK), values=[[["wait", 99, LONG_SECONDS]], "fail"])

    def action(self, action: Action) -> Action:
        values = list(action.values)
        if action.do in STARTS:
            values[0] = self.steps(values[0], action.on)
        elif action.do == "update":
            values[1] = max(min(values[1], SHORT_SECONDS), -SHORT_SECONDS)
        return Action(at=0.0, do=action.do, on=self.name(action.on), values=values)

    def steps(self, steps: list[Step], of: str) -> list[Step]:
        return [tamed for step in steps for tamed in self._step(step, of)]

    def _step(self, step: Step, of: str) -> Iterator[Step]:
        kind, *details = step
        match kind:
            case "work" | "local":
                value, fails, takes = details
                yield [kind, value, min(fails, FAILS_MAX), min(takes, SHORT_SECONDS)]
            case "sleep":
                yield [kind, min(details[0], SHORT_SECONDS)]
            case "wait":
                yield [kind, details[0], LONG_SECONDS if details[1] >= 1.0 else SHORT_SECONDS]
            case "receive":
                yield [kind, LONG_SECONDS if details[0] >= 2.0 else SHORT_SECONDS]
            case "again" | "fail":
                yield step
            case _ if self._side_by_side:
                yield from self._beside(step, of)
            case _:
                yield from self._in_turn(step, of)

    def _beside(self, step: Step, of: str) -> Iterator[Step]:
        kind, *details = step
        match kind:
            case "all":
                yield [kind, *(self.steps(branch, of) for branch in details)]
            case "drop":
                yield [kind, min(details[0], SHORT_SECONDS), _never_ends(details[1])]
            case "child":
                yield [kind, self.name(details[0]), self.steps(details[1], of), details[2]]
            case "leave_child":
                yield self._waiting_child(details, of, kind)
            case "signal":
                yield [kind, self.name(SINK), *details[1:]]
            case "cancel":
                yield [kind, self.name(NOBODY)]
            case _:
                pass

    def _in_turn(self, step: Step, of: str) -> Iterator[Step]:
        kind, *details = step
        match kind:
            case "all":
                for branch in details:
                    yield from self.steps(branch, of)
            case "drop":
                yield [kind, min(details[0], SHORT_SECONDS), ["sleep", LONG_SECONDS]]
            case "child":
                yield self._waiting_child(details, of, kind)
            case "leave_child":
                yield self._waiting_child(details, of, kind)
                yield ["receive", LONG_SECONDS]
            case "signal" | "cancel":
                # Never back to the sender: it would still be at work.
                target = details[0] if details[0] in self._roots and details[0] < of else NOBODY
                yield [kind, self.name(target), *details[1:]]
                if target != NOBODY:
                    yield ["receive", LONG_SECONDS]
            case _:
                pass

    def _waiting_child(self, details: list[Any], of: str, kind: str) -> Step:
        workflow_id, steps, policy = details
        return [kind, self.name(workflow_id), [["wait", 1, LONG_SECONDS], *self.steps(steps, of)], policy]


def _never_ends(step: Step) -> Step:
    """What is dropped must still run: a short sleep or a last failure could come first."""
    return ["work", step[1], 0, 2.5] if step[0] == "work" else ["sleep", LONG_SECONDS]
