"""The workflows that are measured, as a user would write them. Activities return what they were given; a workflow gives
back what shows that each of its steps was done.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from perdure import activity, workflow

TEXT = "It weighs next to nothing, and nobody has ever asked what there is in it."


@dataclass
class Parcel:
    """About 100 bytes of JSON."""

    number: int
    text: str = TEXT


@dataclass
class Nap:
    """When it began and ended, in seconds of workflow time."""

    began: float
    ended: float


approve = workflow.Signal[Parcel]("approve")


@activity.defn(start_to_close_timeout=timedelta(seconds=30))
async def handle(parcel: Parcel) -> Parcel:
    return parcel


@workflow.defn
async def once(parcel: Parcel) -> Parcel:
    """One activity."""
    return await handle(parcel)


@workflow.defn
async def in_sequence(parcel: Parcel, steps: int) -> int:
    """Activities one after the other; the sum of the numbers that came back."""
    total = 0
    for step in range(steps):
        done = await handle(Parcel(parcel.number + step, parcel.text))
        total += done.number
    return total


@workflow.defn
async def in_sequence_locally(parcel: Parcel, steps: int) -> int:
    """The same with local activities."""
    total = 0
    for step in range(steps):
        done = await handle.local(Parcel(parcel.number + step, parcel.text))
        total += done.number
    return total


@workflow.defn
async def fan_out(width: int) -> list[int]:
    """Activities at once; the numbers that came back."""
    done = await asyncio.gather(*(handle(Parcel(number)) for number in range(width)))
    return [parcel.number for parcel in done]


@workflow.defn
async def wait_for_approval() -> Parcel:
    """A signal; what it carried."""
    return await approve.channel().receive()


@workflow.defn
async def nap(seconds: float) -> Nap:
    """A durable timer."""
    began = workflow.time()
    await asyncio.sleep(seconds)
    return Nap(began, workflow.time())
