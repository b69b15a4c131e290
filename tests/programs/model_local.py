"""Local activities as users write them: long ones, patient ones, mixed with others, cancelled."""

import asyncio
import threading
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.exceptions import ActivityError, ApplicationError
from perdure_proto.options import RetryPolicy
from tests.programs import signs

MINUTE = timedelta(minutes=1)
LONG_SECONDS = 60.0
MOMENT = timedelta(milliseconds=20)
PAUSE = timedelta(milliseconds=300)
TURNS = 4


def ran(what: str) -> None:
    signs.give(f"{activity.info().workflow_id} {what}")


@activity.defn(start_to_close_timeout=MINUTE)
async def takes(seconds: float) -> str:
    """For several workflow tasks."""
    ran("takes")
    await asyncio.sleep(seconds)
    return "took its time"


@activity.defn(start_to_close_timeout=MINUTE, retry_policy=RetryPolicy(initial_interval=PAUSE, backoff_coefficient=1.0))
async def fails_until(attempt: int) -> int:
    ran(f"attempt {activity.info().attempt}")
    if activity.info().attempt < attempt:
        raise ApplicationError("again")
    return activity.info().attempt


@activity.defn(start_to_close_timeout=MINUTE)
async def doubled(value: int) -> int:
    ran(f"doubled {value}")
    return 2 * value


@activity.defn(start_to_close_timeout=MINUTE)
def threaded(value: int) -> int:
    ran(f"threaded {value}")
    return 3 * value


@activity.defn(start_to_close_timeout=MINUTE)
async def hangs() -> str:
    ran("hangs")
    try:
        await asyncio.sleep(LONG_SECONDS)
    finally:
        ran("stopped")
    return "never"


@activity.defn(start_to_close_timeout=MINUTE)
def hangs_in_a_thread() -> str:
    ran("hangs")
    stopped = threading.Event()
    while not activity.is_cancelled():
        stopped.wait(0.01)
    ran("stopped")
    return "stopped by itself"


@workflow.defn
async def outlasts_its_task(seconds: float) -> str:
    return await takes.local(seconds)


@workflow.defn
async def is_patient(attempt: int) -> int:
    """Each pause is longer than the worker makes itself."""
    return await fails_until.with_options(local_retry_threshold=MOMENT).local(attempt)


@workflow.defn
async def gives_up(how: str) -> str:
    calls = {
        "attempts": RetryPolicy(initial_interval=MOMENT, maximum_attempts=3),
        "type": RetryPolicy(non_retryable_error_types=("Named",)),
        "time": RetryPolicy(initial_interval=timedelta(hours=1)),
    }
    local = fails_for_good.with_options(retry_policy=calls[how], schedule_to_close_timeout=MINUTE)
    try:
        await local.local()
    except ActivityError as error:
        return f"{error.retry_state} {error.cause}"
    return "no error"


@activity.defn(start_to_close_timeout=MINUTE)
async def fails_for_good() -> None:
    ran("fails")
    raise ApplicationError("no", type="Named")


@workflow.defn
async def mixes() -> list[int]:
    """Local and normal ones at once, in turns, with a timer between."""
    found: list[int] = []
    for turn in range(TURNS):
        found += await asyncio.gather(doubled.local(turn), doubled(turn), threaded.local(turn), threaded(turn))
        await asyncio.sleep(0.01)
    return found


go = workflow.Signal[None]("go")


@workflow.defn
async def cancels(kind: activity.ActivityCancellationType, what: str) -> str:
    """A signal reaches a workflow between two tasks: the first task ends although the local activity goes on."""
    options: dict[str, Any] = {"cancellation_type": kind}
    if what == "pauses":
        patient = RetryPolicy(initial_interval=timedelta(hours=1))
        local = fails_until.with_options(**options, retry_policy=patient)
        task = asyncio.ensure_future(local.local(9))
    elif what == "thread":
        task = asyncio.ensure_future(hangs_in_a_thread.with_options(**options).local())  # type: ignore[arg-type]
    else:
        task = asyncio.ensure_future(hangs.with_options(**options).local())  # type: ignore[arg-type]
    await go.channel().receive()
    task.cancel()
    try:
        return f"returned {await task}"
    except asyncio.CancelledError:
        return "cancelled"


WORKFLOWS: list[workflow.Workflow[..., Any]] = [outlasts_its_task, is_patient, gives_up, mixes, cancels]
ACTIVITIES: list[object] = [takes, fails_until, doubled, threaded, hangs, hangs_in_a_thread, fails_for_good]
