"""One activity that takes as long as it is told, for tests that stop its worker meanwhile."""

import asyncio
import sys
from datetime import timedelta

from perdure import activity, workflow

BEGUN = "work has begun"


@activity.defn(start_to_close_timeout=timedelta(seconds=30), retry_policy="standard")
async def work(seconds: float) -> int:
    """Gives the number of its attempt."""
    sys.stdout.write(f"{BEGUN}\n")
    sys.stdout.flush()
    attempt = activity.info().attempt
    await asyncio.sleep(0 if attempt > 1 else seconds)
    return attempt


@workflow.defn
async def slow(seconds: float) -> int:
    return await work(seconds)


@workflow.defn
async def quick(value: int) -> int:
    """Ends in its first task."""
    return value
