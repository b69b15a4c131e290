"""Workflows of many turns, each of which brings one thing."""

import asyncio
from datetime import timedelta
from typing import Any

from perdure import activity, workflow

TICK = 0.01

add = workflow.Update[[int], int]("add")
total = workflow.Query[[], int]("total")
close = workflow.Signal[None]("close")


@activity.defn(start_to_close_timeout=timedelta(seconds=30))
async def same(number: int) -> int:
    return number


@activity.defn(start_to_close_timeout=timedelta(seconds=30))
def same_in_a_thread(number: int) -> int:
    return number


@workflow.defn
async def turns(count: int) -> int:
    """Chance decides the way, and it is the same on every replay."""
    done = 0
    for number in range(count):
        if workflow.patched(f"turn-{number % 2}"):
            await same(workflow.random().randrange(1, 2))
        await asyncio.sleep(TICK)
        await same_in_a_thread.local(number)
        done += await same_in_a_thread(1)
    return done


@workflow.defn
async def ledger() -> int:
    """Adds what its updates bring, each by way of an activity."""
    sum_so_far, closed = 0, False

    @add.handler
    async def _(amount: int) -> int:
        nonlocal sum_so_far
        sum_so_far += await same(amount)
        await asyncio.sleep(TICK)
        return sum_so_far

    @add.validator
    def _(amount: int) -> None:
        if amount < 0:
            raise ValueError("negative")

    @total.handler
    def _() -> int:
        return sum_so_far

    @close.handler
    def _() -> None:
        nonlocal closed
        closed = True

    await workflow.wait_condition(lambda: closed)
    return sum_so_far


@workflow.defn
async def fans_out(size: int) -> int:
    return sum(await asyncio.gather(*[same(1) for _ in range(size)]))


WORKFLOWS: list[workflow.Workflow[..., Any]] = [turns, ledger, fans_out]
ACTIVITIES: list[object] = [same, same_in_a_thread]
