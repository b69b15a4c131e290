"""Workflows that are paused, reset and reopened: what they did is seen in what they return."""

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from tests.programs import signs

SOON = 0.05

add = workflow.Signal[int]("add")
total = workflow.Query[[], int]("total")
grow = workflow.Update[[int], int]("grow")
finish = workflow.Signal[None]("finish")


@activity.defn(start_to_close_timeout=timedelta(seconds=10))
async def step(name: str) -> str:
    signs.give(f"{activity.info().workflow_id} {name}")
    return name


@workflow.defn
async def counts() -> int:
    """Adds up what it is told, until it is told to finish."""
    state = 0
    done = asyncio.Event()

    @total.handler
    def _() -> int:
        return state

    @grow.handler
    async def _(by: int) -> int:
        nonlocal state
        state += by
        return state

    @add.handler
    def _(by: int) -> None:
        nonlocal state
        state += by

    @finish.handler
    def _() -> None:
        done.set()

    await done.wait()
    return state


@workflow.defn
async def sleeps() -> str:
    """Sleeps a moment, then does something."""
    await asyncio.sleep(SOON)
    return await step("slept")


@workflow.defn
async def two_steps() -> list[str]:
    """Two activities, a draw of chance before and after, and what it is told at the end."""
    told = workflow.signal_channel("told", str)
    return [await step("one"), str(workflow.random().random()), await step("two"), await told.receive()]


@workflow.defn
async def breaks() -> str:
    """Fails after its first step while the code is broken."""
    name = await step("begun")
    if is_broken:
        raise ValueError("a bug")
    return name


@workflow.defn
async def parks() -> str:
    """Its task fails while the code is broken."""
    name = await step("begun")
    if is_broken:
        raise NameError("a bug")
    return name


is_broken = True
WORKFLOWS = [counts, sleeps, two_steps, parks]
BROKEN = [breaks]
"""What failed does not replay on the code that mends it: those histories are no test of it."""
ACTIVITIES = [step]


def repair(*, broken: bool = False) -> None:
    """New code comes, or the old again."""
    global is_broken  # noqa: PLW0603 - the program is what changes
    is_broken = broken
