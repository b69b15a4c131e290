"""Runs local activities: in the workflow's own worker, retried here, told to the service only as the workflow's marker.

One task runs all attempts of one of them. Arguments are the values that the workflow passed. What ends it is a
`LocalActivityResult`: its value, or the failure of the last attempt. A pause that is longer than a workflow task is not
made here: the result says so, and the workflow's history keeps the timer.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, Final, Self

from msgspec import Struct, structs

from perdure._failures import failure_of
from perdure._runtime import current_activity
from perdure._worker_interceptor import Interceptor
from perdure.activity import Info
from perdure.converter import DataConverter
from perdure.metrics import MetricMeter
from perdure_proto.failures import (
    ApplicationFailure,
    CanceledFailure,
    Failure,
    RetryState,
    ServerFailure,
    TimeoutFailure,
)
from perdure_proto.options import RetryPolicy
from perdure_proto.tasks import WorkflowTask
from perdure_worker import faults
from perdure_worker.activity_context import LocalAttempt
from perdure_worker.activity_info import local_info_of
from perdure_worker.activity_interception import Chain
from perdure_worker.outcome import LocalActivity, LocalActivityResult
from perdure_worker.process_pool import ProcessPool
from perdure_worker.registry import RegisteredActivity, Registry

INTERVALS_TO_MAXIMUM: Final = 100
"""The longest interval is so many times the first, where the policy does not say."""

Ended = Callable[[LocalActivityResult], None]


class Unlimited:
    """The timeout of what has none."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def expired(self) -> bool:
        """It never is."""
        return False


UNLIMITED: Final = Unlimited()


class LocalParts(Struct, frozen=True, kw_only=True):
    """What running local activities needs."""

    registry: Registry
    converter: DataConverter
    threads: ThreadPoolExecutor
    processes: ProcessPool
    slots: asyncio.Semaphore
    namespace: str
    task_queue: str
    interceptors: Sequence[Interceptor] = ()
    meter: MetricMeter = MetricMeter()


class LocalActivities:
    """The local activities of a worker."""

    def __init__(self, parts: LocalParts) -> None:
        self._parts = parts

    def start(self, task: WorkflowTask, activity: LocalActivity, ended: Ended) -> asyncio.Task[LocalActivityResult]:
        """Runs it; `ended` is called once, also when the task that is returned is cancelled."""
        attempts = LocalAttempts(task, activity, self._parts)
        running = asyncio.get_running_loop().create_task(attempts.run(), context=contextvars.copy_context())
        running.add_done_callback(partial(attempts.report, ended))
        return running


class LocalAttempts:
    """All attempts of one local activity."""

    def __init__(self, task: WorkflowTask, activity: LocalActivity, parts: LocalParts) -> None:
        self._task = task
        self._activity = activity
        self._parts = parts
        self._attempt = activity.attempt - 1
        self._policy = activity.retry_policy or RetryPolicy()
        self._clock = asyncio.get_running_loop().time
        self._expires_at = self._clock() + seconds(activity.schedule_to_close_timeout)
        self._longest_pause = seconds(activity.local_retry_threshold or task.task_timeout)

    async def run(self) -> LocalActivityResult:
        """Attempts until one succeeds or none is left."""
        while True:
            self._attempt += 1
            result = await self._try()
            if result.failure is None:
                return result
            delay = delay_before_next(self._policy, self._attempt, result.failure)
            if delay is None or self._clock() + delay >= self._expires_at:
                state = retry_state_of(self._policy, self._attempt, result.failure)
                return structs.replace(result, retry_state=state)
            if delay > self._longest_pause:
                return structs.replace(result, backoff=timedelta(seconds=delay))
            await asyncio.sleep(delay)

    def report(self, ended: Ended, running: asyncio.Task[LocalActivityResult]) -> None:
        """Tells how it ended, from a callback: what follows drives the workflow, which must not be in a task."""
        if running.cancelled():
            failure = Failure(message="Cancelled", info=CanceledFailure())
            ended(self._failed(failure))
        elif error := running.exception():
            ended(self._failed(faults.broken(error)))
        else:
            ended(running.result())

    async def _try(self) -> LocalActivityResult:
        """The time of an attempt begins when it has a slot, that of all of them together when the first one waits."""
        last = UNLIMITED if self._expires_at == float("inf") else asyncio.timeout_at(self._expires_at)
        limit = self._activity.start_to_close_timeout
        own = UNLIMITED if limit is None else asyncio.timeout(limit.total_seconds())
        try:
            async with last, self._parts.slots, own:
                activity = self._parts.registry.activity(self._activity.activity_type)
                value = await self._call(activity)
            raw, encoding = self._parts.converter.encode_value(value, activity.signature.result)
        except LookupError as error:
            return self._failed(faults.refused(str(error.args[0]), "NOT_FOUND"))
        except Exception as error:  # noqa: BLE001 - whatever user code raises is the attempt's failure
            if isinstance(error, TimeoutError) and last.expired():
                return self._failed(faults.out_of_time("SCHEDULE_TO_CLOSE"))
            if isinstance(error, TimeoutError) and own.expired():
                return self._failed(faults.out_of_time())
            return self._failed(failure_of(error, self._parts.converter))
        return LocalActivityResult(
            activity_id=self._activity.activity_id, attempt=self._attempt, result=raw, encoding=encoding
        )

    async def _call(self, activity: RegisteredActivity) -> Any:  # noqa: ANN401 - whatever the activity returns
        attempt = LocalAttempt(self._info, self._parts.meter)
        args, kwargs = self._activity.args, self._activity.kwargs
        if activity.definition.dynamic:
            converter = self._parts.converter
            given = converter.encode_args(args, kwargs)
            listed, kwargs = converter.decode_args(*given, activity.signature.parameters)
            args = (listed,)
        call = partial(activity.fn, *args, **kwargs)
        if not self._parts.interceptors:
            return await self._run(activity, attempt, call)
        chain = Chain(self._parts.interceptors, attempt, lambda inner: self._run(activity, attempt, inner))
        attempt.intercepted = chain.runtime
        return await chain.run(call, self._activity.headers or {})

    async def _run(self, activity: RegisteredActivity, attempt: LocalAttempt, call: partial[Any]) -> Any:  # noqa: ANN401 - as above
        if activity.definition.executor == "process":
            call = partial(self._parts.processes.run, activity, attempt, call.args, call.keywords)
        token = current_activity.set(attempt.intercepted or attempt)
        try:
            if activity.definition.is_async:
                return await call()
            context = contextvars.copy_context()
            return await asyncio.get_running_loop().run_in_executor(self._parts.threads, context.run, call)
        except asyncio.CancelledError:
            attempt.stop.set()
            raise
        finally:
            current_activity.reset(token)

    def _info(self) -> Info:
        parts = self._parts
        where = {"namespace": parts.namespace, "task_queue": parts.task_queue}
        return local_info_of(self._task, self._activity, self._attempt, **where)

    def _failed(self, failure: Failure) -> LocalActivityResult:
        return LocalActivityResult(activity_id=self._activity.activity_id, attempt=self._attempt, failure=failure)


def seconds(duration: timedelta | None) -> float:
    """A duration, or for ever."""
    return float("inf") if duration is None else duration.total_seconds()


def delay_before_next(policy: RetryPolicy, attempt: int, failure: Failure) -> float | None:
    """Seconds until the next attempt; None when there is none.

    >>> delay_before_next(RetryPolicy(), 3, faults.out_of_time())
    4.0
    """
    if not is_retryable(policy, failure) or (policy.maximum_attempts and attempt >= policy.maximum_attempts):
        return None
    info = failure.info
    if isinstance(info, ApplicationFailure) and info.next_retry_delay is not None:
        return max(info.next_retry_delay.total_seconds(), 0.0)
    first = policy.initial_interval.total_seconds()
    longest = seconds(policy.maximum_interval) if policy.maximum_interval else first * INTERVALS_TO_MAXIMUM
    return float(min(first * policy.backoff_coefficient ** min(attempt - 1, 1000), longest))


def retry_state_of(policy: RetryPolicy, attempt: int, failure: Failure) -> RetryState:
    """Why there is no next attempt; `TIMEOUT`: it would come too late.

    >>> retry_state_of(RetryPolicy(maximum_attempts=2), 2, faults.out_of_time())
    'MAXIMUM_ATTEMPTS_REACHED'
    """
    if not is_retryable(policy, failure):
        return "NON_RETRYABLE_FAILURE"
    reached = policy.maximum_attempts and attempt >= policy.maximum_attempts
    return "MAXIMUM_ATTEMPTS_REACHED" if reached else "TIMEOUT"


def is_retryable(policy: RetryPolicy, failure: Failure) -> bool:
    """Whether the failure, by itself, lets another attempt be made."""
    match failure.info:
        case ApplicationFailure() as info:
            return not (info.non_retryable or info.type in policy.non_retryable_error_types)
        case ServerFailure() as info:
            return not info.non_retryable
        case TimeoutFailure() as info:
            return info.timeout_type == "START_TO_CLOSE"
        case info:
            return not isinstance(info, CanceledFailure)
