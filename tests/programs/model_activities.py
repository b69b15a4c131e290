"""Activities as users write them, and workflows that call them in every way."""

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.exceptions import ActivityError, ApplicationError, CancelledError
from perdure.exceptions import TimeoutError as PerdureTimeoutError
from perdure_proto.options import RetryPolicy
from tests.programs import signs

LONG_SECONDS = 60.0
MOMENT = timedelta(seconds=0.3)
MINUTE = timedelta(minutes=1)
QUICK = RetryPolicy(initial_interval=timedelta(milliseconds=20), maximum_attempts=4)
NOBODY = "a-queue-that-nobody-polls"


@dataclass
class Item:
    """An argument with parts."""

    name: str
    cents: int


@dataclass
class Bill:
    """A result with parts."""

    items: list[Item]
    total: int
    gift: bool


@activity.defn(start_to_close_timeout=MINUTE)
async def bill(items: list[Item], rebate: int, *, gift: bool = False) -> Bill:
    return Bill(items, sum(item.cents for item in items) - rebate, gift)


@activity.defn(start_to_close_timeout=MINUTE)
def threaded(text: str) -> str:
    activity.heartbeat(text)
    return f"{text} {activity.info().attempt}"


class Bank:
    """An activity may be a method."""

    def __init__(self, currency: str) -> None:
        self._currency = currency

    @activity.defn(start_to_close_timeout=MINUTE)
    async def charge(self, cents: int) -> str:
        return f"{cents} {self._currency}"


@activity.defn(start_to_close_timeout=MINUTE, retry_policy=QUICK)
async def fails_until(attempt: int) -> int:
    found = activity.info().attempt
    if found < attempt:
        raise ValueError(f"attempt {found}")
    return found


@activity.defn(start_to_close_timeout=MINUTE, retry_policy=QUICK)
async def refuses(kind: str) -> None:
    raise ApplicationError("no", 42, type=kind, non_retryable=kind == "Final")


@activity.defn(start_to_close_timeout=MINUTE, retry_policy=RetryPolicy(initial_interval=timedelta(hours=1)))
async def asks_for_patience() -> int:
    if activity.info().attempt == 1:
        raise ApplicationError("soon", next_retry_delay=timedelta(milliseconds=20))
    return activity.info().attempt


@activity.defn
async def hangs_at_first() -> int:
    if activity.info().attempt == 1:
        await asyncio.sleep(LONG_SECONDS)
    return activity.info().attempt


@activity.defn
async def falls_silent() -> list[int]:
    """Gives a sign of life once, then none; the next attempt goes on from there."""
    info = activity.info()
    if info.attempt == 1:
        activity.heartbeat(3, 4)
        await asyncio.sleep(LONG_SECONDS)
    return [info.attempt, *info.heartbeat_details]


@activity.defn(start_to_close_timeout=MINUTE)
async def cancellable(ending: str) -> str:
    """Waits to be cancelled, and ends as it is told."""
    signs.give(activity.info().workflow_id)
    try:
        await asyncio.sleep(LONG_SECONDS)
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        assert details is not None
        signs.give(f"{activity.info().workflow_id} {'asked' if details.cancel_requested else 'otherwise'}")
        if ending == "returns":
            return "cleaned up"
        raise
    return "not cancelled"


@activity.defn(start_to_close_timeout=MINUTE)
def cancellable_thread() -> str:
    signs.give(activity.info().workflow_id)
    while not activity.is_cancelled():
        time.sleep(0.01)
    signs.give(f"{activity.info().workflow_id} asked")
    return "stopped by itself"


@activity.defn(start_to_close_timeout=MINUTE)
async def until_released() -> str:
    """Is not to be cancelled: ends soon by itself."""
    signs.give(activity.info().workflow_id)
    await asyncio.sleep(MOMENT.total_seconds())
    return "ran to its end"


@activity.defn(start_to_close_timeout=MINUTE, retry_policy=QUICK)
async def local_work(fail_until: int) -> int:
    signs.give(f"{activity.info().workflow_id} local")
    assert activity.info().is_local
    if activity.info().attempt < fail_until:
        raise ValueError("again")
    return activity.info().attempt


@workflow.defn
async def bills(rebate: int) -> Bill:
    """Several arguments, by position and by name."""
    return await bill([Item("tea", 300), Item("pot", 4200)], rebate, gift=True)


@workflow.defn
async def calls_in_every_form() -> list[str]:
    named = await workflow.execute_activity(
        "threaded", args=["by name"], result_type=str, start_to_close_timeout=MINUTE
    )
    started = threaded.start("started")
    return [named, await threaded("called"), await started, await Bank.charge(5)]


@workflow.defn
async def retries(attempt: int) -> int:
    return await fails_until(attempt)


@workflow.defn
async def is_refused(kind: str, non_retryable: tuple[str, ...] = ()) -> None:
    policy = RetryPolicy(
        initial_interval=timedelta(milliseconds=20), maximum_attempts=3, non_retryable_error_types=non_retryable
    )
    await refuses.with_options(retry_policy=policy)(kind)


@workflow.defn
async def is_patient() -> int:
    return await asks_for_patience()


@workflow.defn
async def times_out(kind: str) -> str:
    """Which deadline passed, and why it was not tried again."""
    once = hangs_at_first.with_options(retry_policy="none")
    calls = {
        "start_to_close": once.with_options(start_to_close_timeout=MOMENT),
        "schedule_to_close": once.with_options(schedule_to_close_timeout=MOMENT),
        "schedule_to_start": once.with_options(
            start_to_close_timeout=MINUTE, schedule_to_start_timeout=MOMENT, task_queue=NOBODY
        ),
        "heartbeat": once.with_options(start_to_close_timeout=MINUTE, heartbeat_timeout=MOMENT),
    }
    try:
        await calls[kind]()
    except ActivityError as error:
        passed = error.cause.type if isinstance(error.cause, PerdureTimeoutError) else None
        return f"{passed} {error.retry_state}"
    return "no timeout"


@workflow.defn
async def retries_after_timeout(kind: str) -> list[int]:
    if kind == "heartbeat":
        silent = falls_silent.with_options(start_to_close_timeout=MINUTE, heartbeat_timeout=MOMENT)
        return await silent.with_options(retry_policy=QUICK)()
    return [await hangs_at_first.with_options(start_to_close_timeout=MOMENT, retry_policy=QUICK)()]


@workflow.defn
async def gives_up_in_time() -> str:
    """All attempts together have less time than the next retry needs."""
    policy = RetryPolicy(initial_interval=timedelta(hours=1))
    try:
        await fails_until.with_options(schedule_to_close_timeout=MINUTE, retry_policy=policy)(9)
    except ActivityError as error:
        return str(error.retry_state)
    return "it was tried again"


go = workflow.Signal[None]("go")


@workflow.defn
async def cancels(cancellation_type: activity.ActivityCancellationType, ending: str) -> list[str]:
    """Cancels an activity when it is told to, and says what its await gave; ends after a last activity."""
    if ending == "ends by itself":
        handle = until_released.with_options(cancellation_type=cancellation_type).start()
    else:
        handle = cancellable.with_options(cancellation_type=cancellation_type).start(ending)
    await go.channel().receive()
    handle.cancel()
    try:
        said = [await handle]
    except asyncio.CancelledError:
        said = ["cancelled"]
    except ActivityError as error:
        said = ["cancelled" if isinstance(error.cause, CancelledError) else "failed"]
    return [*said, await threaded("after")]


@workflow.defn
async def cancels_a_thread() -> str:
    handle = cancellable_thread.with_options(cancellation_type="wait_cancellation_completed").start()
    await go.channel().receive()
    handle.cancel()
    return await handle


@workflow.defn
async def cancels_what_waits() -> str:
    """An activity that no worker has taken is cancelled without one."""
    handle = threaded.with_options(task_queue=NOBODY, cancellation_type="wait_cancellation_completed").start("x")
    await go.channel().receive()
    handle.cancel()
    try:
        return await handle
    except asyncio.CancelledError:
        return "cancelled"
    except ActivityError as error:
        return f"cancelled with {type(error.cause).__name__}"


@workflow.defn
async def works_locally(fail_until: int) -> list[int]:
    first = await local_work.local(fail_until)
    await asyncio.sleep(0.05)
    return [first, *await asyncio.gather(local_work.local(1), local_work.local(1))]


WORKFLOWS: list[workflow.Workflow[..., Any]] = [
    bills,
    calls_in_every_form,
    retries,
    is_refused,
    is_patient,
    times_out,
    retries_after_timeout,
    gives_up_in_time,
    cancels,
    cancels_a_thread,
    cancels_what_waits,
    works_locally,
]
ACTIVITIES: list[object] = [
    bill,
    threaded,
    Bank("EUR").charge,
    fails_until,
    refuses,
    asks_for_patience,
    hangs_at_first,
    falls_silent,
    cancellable,
    cancellable_thread,
    until_released,
    local_work,
]
