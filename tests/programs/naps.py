"""A workflow that waits for an instant, and one whose activity takes too long."""

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from perdure.exceptions import ActivityError

TIMEOUT_SECONDS = 1.0


@activity.defn(start_to_close_timeout=timedelta(seconds=TIMEOUT_SECONDS), retry_policy="none")
async def never_ends() -> None:
    await asyncio.Event().wait()


@workflow.defn
async def nap(seconds: float) -> None:
    await asyncio.sleep(seconds)


@workflow.defn
async def times_out() -> str:
    try:
        await never_ends()
    except ActivityError as error:
        return type(error.cause).__name__
    return "it ended"
