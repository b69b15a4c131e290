"""More of what programs do: activities of every kind of timeout, heartbeats and end, and waitpoints.

Every wait ends by itself. What a step may come to is in `checks.said`.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final
from weakref import WeakKeyDictionary

from perdure import activity, workflow
from perdure.exceptions import ApplicationError
from perdure_proto.options import RetryPolicy

TWICE = RetryPolicy(initial_interval=timedelta(seconds=0.2), maximum_attempts=2)
FOUR_TIMES = RetryPolicy(initial_interval=timedelta(seconds=0.2), maximum_attempts=4)

tokens: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, bytes]] = WeakKeyDictionary()
"""Of attempts that somebody else is to end, by place, in each world."""


@activity.defn(
    start_to_close_timeout=timedelta(seconds=3), heartbeat_timeout=timedelta(seconds=1), retry_policy=FOUR_TIMES
)
async def count(upto: int) -> int:
    """Heartbeats how far it is; the first attempt fails halfway, the next goes on from there."""
    info = activity.info()
    done = info.heartbeat_details[0] if info.heartbeat_details else 0
    if not 0 <= done <= upto:
        raise ApplicationError(f"{done} is not among what it said", type="Wrong", non_retryable=True)
    for number in range(done, upto):
        await asyncio.sleep(0.15)
        activity.heartbeat(number + 1)
        if info.attempt == 1 and number == upto // 2:
            raise ApplicationError("halfway", type="Again")
    return upto


@activity.defn(start_to_close_timeout=timedelta(seconds=3), retry_policy=TWICE)
async def stubborn(how: str) -> str:
    """Cannot be done, or only late."""
    match how:
        case "final":
            raise ApplicationError("no", type="Final", non_retryable=True)
        case "later" if activity.info().attempt == 1:
            raise ApplicationError("later", type="Again", next_retry_delay=timedelta(seconds=0.7))
        case "later":
            return "late"
        case "again":
            raise ApplicationError("no", type="Again")
        case _:
            await asyncio.sleep(2.0)
            return "slow"


LIMITS: Final[dict[str, dict[str, Any]]] = {
    "attempt": {"start_to_close_timeout": timedelta(seconds=0.4)},
    "silent": {"heartbeat_timeout": timedelta(seconds=0.5)},
    "queue": {"task_queue": "nobody", "schedule_to_start_timeout": timedelta(seconds=0.5)},
    "again": {
        "schedule_to_close_timeout": timedelta(seconds=1.2),
        "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=0.3)),
    },
    "final": {},
    "later": {},
}
"""By what an activity comes to its end."""


@activity.defn(start_to_close_timeout=timedelta(seconds=2.5), retry_policy=TWICE)
async def asked(place: str) -> int:
    """Somebody else ends it, with the token of an attempt or by its ids."""
    loop = asyncio.get_running_loop()
    tokens.setdefault(loop, {})[place] = activity.info().task_token
    activity.raise_complete_async()


ACTIVITIES: Final = (count, stubborn, asked)


async def do_count(_: Any, upto: int) -> int:
    return await count(upto)


async def do_limit(_: Any, how: str) -> str:
    return await stubborn.with_options(**LIMITS[how])(how)


async def do_asked(_: Any, place: str) -> int:
    return await asked.with_options(activity_id=place)(place)


async def do_stop_work(_: Any, seconds: float, cancellation_type: Any, upto: int) -> Any:
    """An activity that is given up after a while."""
    try:
        async with asyncio.timeout(seconds):
            return await count.with_options(cancellation_type=cancellation_type)(upto)
    except TimeoutError:
        return "dropped"


async def do_waitpoint(_: Any, place: str, seconds: float) -> Any:
    try:
        return await workflow.waitpoint(place, int, timeout=seconds)
    except TimeoutError:
        return "nobody came"


async def do_try_again(_: Any, attempts: int) -> int:
    """Fails the run as long as the policy of its start lets it be tried again."""
    attempt = workflow.info().attempt
    if attempt < attempts:
        raise ApplicationError(f"run {attempt}", type="Again")
    return attempt


async def do_tell(_: Any, workflow_id: str, place: str, times: int) -> Any:
    """Several signals to one workflow at once: they come in the order in which they were sent, or none does."""
    handle = workflow.external(workflow_id)
    said = (handle.signal("note", [place, number]) for number in range(times))
    answers = await asyncio.gather(*said, return_exceptions=True)
    return ["signalled" if answer is None else type(answer).__name__ for answer in answers]


STEPS: Final[dict[str, Any]] = {
    "count": do_count,
    "limit": do_limit,
    "asked": do_asked,
    "stop_work": do_stop_work,
    "waitpoint": do_waitpoint,
    "tell": do_tell,
}
"""Without `try_again`, which ends a run: failures of the others are results."""
