"""A trip of several bookings, undone when one of them fails."""

import asyncio
from datetime import timedelta

from perdure import activity, workflow
from perdure.exceptions import ApplicationError
from perdure_proto.options import RetryPolicy

once = RetryPolicy(maximum_attempts=1)


@activity.defn(start_to_close_timeout=timedelta(seconds=10), retry_policy=once)
async def book(what: str) -> str:
    if what == "full":
        raise ApplicationError("no room", type="Full")
    if what == "slow":
        await asyncio.Event().wait()
    return what


@activity.defn(start_to_close_timeout=timedelta(seconds=10), retry_policy=once)
async def give_back(what: str) -> None:
    if what == "stuck":
        raise ApplicationError("they do not take it back", type="Stuck")


@workflow.defn
async def trip(parts: list[str]) -> list[str]:
    booked = []
    async with workflow.saga() as saga:
        for part in parts:
            saga.compensate(give_back.with_options(summary=f"undo {part}"), part)
            booked.append(await book(part))
    return booked


WORKFLOWS = (trip,)
ACTIVITIES = (book, give_back)
