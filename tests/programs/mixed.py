"""A workflow of everything at once, for tests that kill what runs it: activities of both kinds, timers, a channel of
signals, an update, and several runs. It gives back all that it was told, so that nothing can be lost or doubled unseen.
"""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import timedelta

from perdure import activity, workflow

WORK_SECONDS = 0.05
PAUSE_SECONDS = 0.1


@dataclass
class Progress:
    """What goes on from run to run."""

    signals: list[int] = field(default_factory=list)
    updates: list[int] = field(default_factory=list)
    work: list[int] = field(default_factory=list)
    runs: int = 1


numbers = workflow.Signal[int]("numbers")
finish = workflow.Signal[None]("finish")
add = workflow.Update[[int], int]("add")
progress = workflow.Query[[], Progress]("progress")


@activity.defn(start_to_close_timeout=timedelta(seconds=5), retry_policy="aggressive")
async def double(value: int) -> int:
    await asyncio.sleep(WORK_SECONDS)
    return 2 * value


@activity.defn(start_to_close_timeout=timedelta(seconds=5), retry_policy="aggressive")
def treble(value: int) -> int:
    time.sleep(WORK_SECONDS)
    return 3 * value


@workflow.defn
async def mixed(rounds_a_run: int, state: Progress) -> Progress:
    """Works round after round until it is told to finish."""
    inbox = numbers.channel()
    finished = False

    @finish.handler
    def _() -> None:
        nonlocal finished
        finished = True

    @add.handler
    async def _(value: int) -> int:
        doubled = await double(value)
        state.updates.append(value)
        return doubled

    @progress.handler
    def _() -> Progress:
        return state

    async def collect() -> None:
        async for number in inbox:
            state.signals.append(number)

    collecting = asyncio.create_task(collect())
    for number in range(rounds_a_run):
        state.work += await asyncio.gather(double(number), treble(number))
        await asyncio.sleep(PAUSE_SECONDS)
        if finished:
            break
    await workflow.wait_condition(workflow.all_handlers_finished)
    if not finished:
        collecting.cancel()
        state.runs += 1
        workflow.continue_as_new(rounds_a_run, state)
    return state
