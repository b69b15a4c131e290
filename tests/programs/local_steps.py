"""A workflow of local activities, for tests that kill its worker in the middle of one."""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from perdure import activity, workflow

BEGINS = "begins"


@activity.defn(start_to_close_timeout=timedelta(minutes=1))
async def step(name: str, gate: str) -> str:
    """Says that it begins, and never ends where there is a gate that is shut."""
    sys.stdout.write(f"{BEGINS} {name}\n")
    sys.stdout.flush()
    if gate and not Path(gate).exists():
        await asyncio.Event().wait()
    return name


@workflow.defn
async def steps(gate: str) -> list[str]:
    first = await step.local("first", "")
    await asyncio.sleep(0.01)
    second = await step.local("second", gate)
    return [first, second, await step.local("third", "")]
