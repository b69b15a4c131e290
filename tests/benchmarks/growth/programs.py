"""A workflow that grows as far as it is told to; a file of its own, as a user would give it to a worker."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure import activity, workflow

advance = workflow.Update[[int], int]("advance")


@activity.defn(start_to_close_timeout=timedelta(seconds=30))
async def step(text: str) -> str:
    return text


@workflow.defn
async def in_stages(text: str) -> None:
    """Activities one after the other, for ever: as many as each update asks for, which ends when they are done."""
    stretches: asyncio.Queue[int] = asyncio.Queue()
    wanted = done = 0

    @advance.handler
    async def more(steps: int) -> int:
        nonlocal wanted
        wanted += steps
        target = wanted
        stretches.put_nowait(steps)
        await workflow.wait_condition(lambda: done >= target)
        return done

    while True:
        for _ in range(await stretches.get()):
            assert text == await step(text)
            done += 1
