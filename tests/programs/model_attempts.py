"""Attempts of activities: what one leaves to the next, what ends them all, and cancellation in each of their states."""

import asyncio
from datetime import timedelta
from typing import Any, Literal

from perdure import activity, workflow
from perdure.exceptions import ActivityError, ApplicationError
from perdure.exceptions import TimeoutError as PerdureTimeoutError
from perdure_proto.options import RetryPolicy
from tests.programs import signs

Where = Literal["unsent", "waiting", "running", "backing off"]

MINUTE = timedelta(minutes=1)
LONG_SECONDS = 60.0
QUICK = RetryPolicy(initial_interval=timedelta(milliseconds=20), maximum_attempts=4)
HOURLY = RetryPolicy(initial_interval=timedelta(hours=1))
NOBODY = "a-queue-that-nobody-polls"


@activity.defn(start_to_close_timeout=MINUTE, retry_policy=QUICK)
async def counts_on() -> list[int]:
    """Fails until it has gone on from what the attempts before it said, twice."""
    before: list[int] = list(activity.info().heartbeat_details)
    if len(before) == 2:
        return before
    activity.heartbeat(*before, activity.info().attempt)
    raise RuntimeError("again")


@activity.defn(start_to_close_timeout=MINUTE)
async def fails_once(delay: float | None) -> int:
    signs.give(f"{activity.info().workflow_id} fails")
    if activity.info().attempt > 1:
        return activity.info().attempt
    later = None if delay is None else timedelta(seconds=delay)
    raise ApplicationError("once", next_retry_delay=later)


@activity.defn(start_to_close_timeout=MINUTE)
async def runs_on(ending: str) -> str:
    signs.give(f"{activity.info().workflow_id} runs")
    try:
        await asyncio.sleep(LONG_SECONDS)
    except asyncio.CancelledError:
        if ending == "fails":
            raise ApplicationError("could not stop") from None
        if ending == "returns":
            return "returned"
        raise
    return "not asked"


@activity.defn(start_to_close_timeout=timedelta(seconds=0.3))
async def hangs() -> None:
    await asyncio.sleep(LONG_SECONDS)


@workflow.defn
async def goes_on() -> list[int]:
    return await counts_on()


@workflow.defn
async def waits_as_told(delay: float) -> int:
    """The error says when the next attempt is; the policy would wait for an hour."""
    return await fails_once.with_options(retry_policy=HOURLY)(delay)


@workflow.defn
async def has_no_time(how: str) -> list[str]:
    """All attempts together have a deadline that is before the next of them could begin."""
    try:
        if how == "fails":
            await fails_once.with_options(retry_policy=HOURLY, schedule_to_close_timeout=MINUTE)(None)
        elif how == "asks for too long":
            await fails_once.with_options(schedule_to_close_timeout=MINUTE)(3600.0)
        else:
            await hangs.with_options(retry_policy=HOURLY, schedule_to_close_timeout=MINUTE)()
    except ActivityError as error:
        return [str(error.retry_state), *causes_of(error)]
    return ["no error"]


def causes_of(error: BaseException) -> list[str]:
    cause = error.__cause__
    if cause is None:
        return []
    name = str(cause.type) if isinstance(cause, PerdureTimeoutError) else type(cause).__name__
    return [name, *causes_of(cause)]


go = workflow.Signal[None]("go")


@workflow.defn
async def cancels_in(where: Where, kind: activity.ActivityCancellationType, ending: str = "") -> str:
    """Cancels an activity in one of its states; what its await gave."""
    options: dict[str, Any] = {"cancellation_type": kind, "retry_policy": HOURLY}
    if where == "waiting":
        handle: activity.ActivityHandle[Any] = runs_on.with_options(**options, task_queue=NOBODY).start(ending)
    elif where == "backing off":
        handle = fails_once.with_options(**options).start(None)
    else:
        handle = runs_on.with_options(**options).start(ending)
    if where != "unsent":
        await go.channel().receive()
    handle.cancel()
    try:
        return f"returned {await handle}"
    except asyncio.CancelledError:
        return "cancelled"
    except ActivityError as error:
        return f"{type(error.cause).__name__} {getattr(error.cause, 'details', ())} {error.retry_state}"


WORKFLOWS: list[workflow.Workflow[..., Any]] = [goes_on, waits_as_told, has_no_time, cancels_in]
ACTIVITIES: list[object] = [counts_on, fails_once, runs_on, hangs]
