"""The one workflow of the simulation: it does what its program says, step by step; and the activities it has.

A step is a list that begins with a word. Every wait of a program ends by itself, so that a world comes to rest.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, TypeAlias

from perdure import activity, workflow
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    FailureError,
)
from perdure_proto.options import RetryPolicy
from tests.simulation.richer import STEPS as RICHER
from tests.simulation.richer import do_try_again

Step: TypeAlias = list[Any]
Said: TypeAlias = list[Any]

RETRY = RetryPolicy(initial_interval=timedelta(seconds=0.5), maximum_attempts=4)
ERRORS = (ActivityError, ChildWorkflowError, ApplicationError, FailureError)


@activity.defn(start_to_close_timeout=timedelta(seconds=3), heartbeat_timeout=timedelta(seconds=2), retry_policy=RETRY)
async def work(value: int, fails: int, takes: float) -> int:
    """Fails so many times, then answers; each attempt takes a while. An attempt that takes too long times out."""
    attempt = activity.info().attempt
    if takes > 1.0:
        activity.heartbeat(attempt)
    await asyncio.sleep(takes)
    if attempt <= fails:
        raise ApplicationError(f"attempt {attempt}", type="Again")
    return value


class State:
    """What a program has heard."""

    def __init__(self) -> None:
        self.notes: Said = []
        self.total = 0
        self.said: Said = []


@workflow.defn(name="program")
async def program(steps: list[Step], carried: Said) -> Said:
    """Runs the steps; its result says what came of each."""
    state = State()

    @workflow.signal
    async def note(value: list[Any]) -> None:
        state.notes.append(value)

    @workflow.update
    async def add(value: int, takes: float) -> int:
        state.total += value
        total = state.total
        if takes < 0:
            await work(value, 0, -takes)
        elif takes:
            await asyncio.sleep(takes)
        return total

    @add.validator
    def _(value: int, takes: float) -> None:
        if value < 0:
            raise ValueError("negative")

    @workflow.query
    def total() -> int:
        return state.total

    state.said.extend(carried)
    await run_all(steps, state)
    await workflow.wait_condition(workflow.all_handlers_finished)
    return state.said


async def run_all(steps: list[Step], state: State) -> None:
    for place, step in enumerate(steps):
        if step[0] == "again":
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(steps[place + 1 :], state.said[-5:])
        if step[0] == "try_again":
            state.said.append(await do_try_again(state, *step[1:]))
            continue
        state.said.append(await run_one(step, state))


async def run_one(step: Step, state: State) -> Any:
    """What came of a step. Failures are results; a cancellation of the workflow ends it."""
    try:
        return await STEPS[step[0]](state, *step[1:])
    except CancelledError:
        raise
    except ERRORS as error:
        return f"{step[0]}: {type(error).__name__}"


async def do_work(_: State, value: int, fails: int, takes: float) -> int:
    return await work(value, fails, takes)


async def do_local(_: State, value: int, fails: int, takes: float) -> int:
    return await work.local(value, fails, takes)


async def do_sleep(_: State, seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


async def do_wait(state: State, notes: int, seconds: float) -> str:
    try:
        await workflow.wait_condition(lambda: len(state.notes) >= notes, timeout=seconds)
    except TimeoutError:
        return "waited in vain"
    return "heard"


async def do_receive(_: State, seconds: float) -> Any:
    channel = workflow.signal_channel("items", list[Any])
    try:
        return await channel.receive(timeout=seconds)
    except TimeoutError:
        return "nothing received"


async def do_all(state: State, *branches: list[Step]) -> Said:
    """Branches side by side."""
    return list(await asyncio.gather(*(branch_of(branch, state) for branch in branches)))


async def branch_of(steps: list[Step], state: State) -> Said:
    return [await run_one(step, state) for step in steps]


async def do_drop(state: State, seconds: float, step: Step) -> Any:
    """A step that is given up after a while."""
    try:
        async with asyncio.timeout(seconds):
            return await run_one(step, state)
    except TimeoutError:
        return "dropped"


async def do_child(_: State, workflow_id: str, steps: list[Step], policy: str) -> Any:
    return await program.with_options(id=workflow_id, parent_close_policy=policy)(steps, [])  # type: ignore[arg-type]


async def do_leave_child(_: State, workflow_id: str, steps: list[Step], policy: str) -> str:
    """A child that is started and not waited for."""
    child = program.with_options(id=workflow_id, parent_close_policy=policy)  # type: ignore[arg-type]
    return f"left {(await child.start(steps, [])).id}"


async def do_stop_child(_: State, seconds: float, workflow_id: str, steps: list[Step], options: dict[str, Any]) -> Any:
    """A child that is given up after a while."""
    try:
        async with asyncio.timeout(seconds):
            return await program.with_options(id=workflow_id, **options)(steps, [])
    except TimeoutError:
        return "dropped"


async def do_signal(_: State, workflow_id: str, name: str, value: list[Any]) -> str:
    await workflow.external(workflow_id).signal(name, value)
    return "signalled"


async def do_cancel(_: State, workflow_id: str) -> str:
    await workflow.external(workflow_id).cancel()
    return "asked"


async def do_fail(_: State) -> None:
    raise ValueError("as the program says")


STEPS: dict[str, Any] = {
    "work": do_work,
    "local": do_local,
    "sleep": do_sleep,
    "wait": do_wait,
    "receive": do_receive,
    "all": do_all,
    "drop": do_drop,
    "child": do_child,
    "leave_child": do_leave_child,
    "signal": do_signal,
    "cancel": do_cancel,
    "fail": do_fail,
    "stop_child": do_stop_child,
    **RICHER,
}
