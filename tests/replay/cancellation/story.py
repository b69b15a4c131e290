"""A story: one workflow that is asked to stop, and what else it is told; what it asks for, turn by turn.

It is told to a worker that has the workflow cached and to one that replays every task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final, NamedTuple

from perdure import activity, workflow
from perdure_proto import commands as cmd
from perdure_proto.tasks import UpdateDelivery
from tests.replay.service import Service

WORDS: Final[dict[type[cmd.Command], str]] = {
    cmd.ScheduleActivityTask: "activity",
    cmd.RequestCancelActivityTask: "stop activity",
    cmd.StartTimer: "timer",
    cmd.CancelTimer: "stop timer",
    cmd.StartChildWorkflowExecution: "child",
    cmd.RequestCancelExternalWorkflowExecution: "stop child",
    cmd.SignalExternalWorkflowExecution: "signal",
    cmd.RecordMarker: "marker",
    cmd.CompleteWorkflowExecution: "completed",
    cmd.FailWorkflowExecution: "failed",
    cmd.CancelWorkflowExecution: "cancelled",
    cmd.ContinueAsNewWorkflowExecution: "continued",
}

Tell = Callable[[Service], None]


class Forgetful(Service):
    """A service whose worker keeps nothing: each task brings the whole history."""

    def turn(self, *updates: UpdateDelivery) -> list[cmd.AnyCommand]:
        if self.sent:
            self.evict()
        return super().turn(*updates)


class Case(NamedTuple):
    """What is told to which program, what it asks for in each turn, and what it returns, if it does."""

    program: Any
    tell: Tell
    turns: list[str]
    result: object


CASES: dict[str, Case] = {}


def story(program: Any, *turns: str, result: object = None) -> Callable[[Tell], Tell]:
    """Enters a story, by the name of what tells it."""

    def enter(tell: Tell) -> Tell:
        CASES[tell.__name__] = Case(program, tell, list(turns), result)
        return tell

    return enter


@activity.defn(start_to_close_timeout=timedelta(minutes=1))
async def work(value: str) -> str:
    return value


@workflow.defn
async def child() -> str:
    return ""


go = workflow.Signal[str]("go")
to_the_end = work.with_options(cancellation_type="wait_cancellation_completed")


async def kept(waits: Awaitable[Any]) -> str:
    """Shields something, and waits for it all the same."""
    inner = asyncio.ensure_future(waits)
    try:
        value = await asyncio.shield(inner)
    except asyncio.CancelledError:
        value = f"{await inner} in spite of {workflow.cancellation_reason()}"
    return str(value)


def told_to(case: Case, kind: type[Service]) -> tuple[Service, list[list[cmd.AnyCommand]]]:
    """The story told to a service of this kind, and the commands of its turns."""
    turns: list[list[cmd.AnyCommand]] = []

    class Noting(kind):  # type: ignore[misc, valid-type] # it is one of two
        def turn(self, *updates: UpdateDelivery) -> list[cmd.AnyCommand]:
            turns.append(super().turn(*updates))
            return turns[-1]

    service = Noting(case.program)
    case.tell(service)
    return service, turns
