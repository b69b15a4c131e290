"""An activity that says how far it came, for tests that kill its worker."""

import asyncio
import sys
from datetime import timedelta

from perdure import activity, workflow

CAME_SO_FAR = "it came so far"
HALF = 50


@activity.defn(start_to_close_timeout=timedelta(minutes=1), retry_policy="fast")
async def read() -> list[int]:
    """Comes half of the way in its first attempt, and the rest in the next; gives where that one began."""
    before: list[int] = list(activity.info().heartbeat_details)
    if not before:
        activity.heartbeat(HALF)
        sys.stdout.write(f"{CAME_SO_FAR}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()
    return [activity.info().attempt, *before]


@workflow.defn
async def reads() -> list[int]:
    return await read()
