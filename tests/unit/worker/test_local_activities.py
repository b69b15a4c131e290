"""Local activities: retries and their end, without a service."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from msgspec import Raw

from perdure import activity
from perdure.converter import DataConverter
from perdure_proto.failures import ApplicationFailure, CanceledFailure, Failure, TimeoutFailure
from perdure_proto.options import RetryPolicy
from perdure_worker.local_activities import LocalActivities, LocalParts, delay_before_next
from perdure_worker.outcome import LocalActivity, LocalActivityResult
from perdure_worker.process_pool import ProcessPool
from perdure_worker.registry import Registry
from tests.unit.worker.histories import first_events, turn

AT_ONCE = timedelta(microseconds=1)
QUICK = RetryPolicy(initial_interval=AT_ONCE, maximum_interval=AT_ONCE, maximum_attempts=3)
TASK = turn("t1", first_events("hello"))


def start(act: Any, **fields: Any) -> tuple[asyncio.Task[Any], asyncio.Future[LocalActivityResult]]:
    parts = LocalParts(
        registry=Registry([], [act]),
        converter=DataConverter(),
        threads=ThreadPoolExecutor(1),
        processes=ProcessPool(DataConverter()),
        slots=asyncio.Semaphore(1),
        namespace="default",
        task_queue="default",
    )
    ended: asyncio.Future[LocalActivityResult] = asyncio.get_running_loop().create_future()
    values = {"activity_id": "1", "activity_type": act.name, "args": (), "kwargs": {}, "retry_policy": QUICK, **fields}
    return LocalActivities(parts).start(TASK, LocalActivity(**values), ended.set_result), ended


async def test_attempts_are_repeated_by_the_policy() -> None:
    """A failing attempt is repeated until one succeeds, and the result says which."""

    @activity.defn
    async def third_time() -> int:
        attempt = activity.info().attempt
        if attempt < 3:
            raise ValueError(str(attempt))
        return attempt

    _, ended = start(third_time)
    assert LocalActivityResult(activity_id="1", attempt=3, result=Raw(b"3")) == await ended


async def test_last_failure_is_reported() -> None:
    """When no attempt is left the failure of the last one is the result."""

    @activity.defn
    def fail() -> None:
        raise ValueError("no")

    _, ended = start(fail)
    result = await ended
    assert 3 == result.attempt
    assert result.failure is not None
    assert ApplicationFailure(type="ValueError") == result.failure.info


async def test_attempt_that_takes_too_long_times_out() -> None:
    """An attempt is cut at its start-to-close timeout."""

    @activity.defn
    async def hang() -> None:
        await asyncio.Event().wait()

    _, ended = start(hang, start_to_close_timeout=AT_ONCE, retry_policy=RetryPolicy(maximum_attempts=1))
    result = await ended
    assert result.failure is not None
    assert TimeoutFailure(timeout_type="START_TO_CLOSE") == result.failure.info


async def test_cancelled_one_ends_as_cancelled() -> None:
    """A cancellation is its end, also before it began."""

    @activity.defn
    async def hang() -> None:
        await asyncio.Event().wait()

    running, ended = start(hang)
    running.cancel()
    result = await ended
    assert result.failure is not None
    assert isinstance(result.failure.info, CanceledFailure)


@pytest.mark.parametrize(
    ("policy", "attempt", "info", "delay"),
    [
        (RetryPolicy(), 1, ApplicationFailure(), 1.0),
        (RetryPolicy(), 4, ApplicationFailure(), 8.0),
        (RetryPolicy(), 5_000, ApplicationFailure(), 100.0),
        (RetryPolicy(maximum_attempts=2), 2, ApplicationFailure(), None),
        (RetryPolicy(), 1, ApplicationFailure(non_retryable=True), None),
        (RetryPolicy(non_retryable_error_types=("Declined",)), 1, ApplicationFailure(type="Declined"), None),
        (RetryPolicy(), 1, ApplicationFailure(next_retry_delay=timedelta(seconds=7)), 7.0),
        (RetryPolicy(), 1, CanceledFailure(), None),
    ],
)
def test_delay_follows_the_policy(policy: RetryPolicy, attempt: int, info: Any, delay: float | None) -> None:
    """Each rule of the retry policy decides the pause, or that there is no next attempt."""
    assert delay == delay_before_next(policy, attempt, Failure(info=info))
