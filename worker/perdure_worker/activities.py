"""Runs activity attempts and hands in how they ended.

An `async def` is a task of the worker's loop, a `def` a call in a thread; either way there is one future, and what
follows from its end is written once. Arguments come back as the annotated types, and what does not fit fails the
activity for good. The deadline of an attempt is held here too, though the service decides: an attempt that it has
closed is only a waste. A stopping worker gives back what has not begun.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, Final, NamedTuple

from msgspec import Struct, structs

from perdure._failures import failure_of
from perdure._runtime import CompleteAsyncError, current_activity
from perdure._worker_interceptor import Interceptor
from perdure.exceptions import ApplicationError, CancelledError, ConversionError
from perdure_proto.errors import Code
from perdure_proto.failures import Failure
from perdure_proto.tasks import (
    ActivityTask,
    ActivityTaskCancellation,
    ActivityTaskCompletion,
    ActivityTaskDetached,
    ActivityTaskFailure,
    AnyCompletion,
    CompletionResult,
    EagerTurn,
    TaskReturned,
)
from perdure_worker import faults
from perdure_worker.activity_context import OUT_OF_TIME, WORKER_SHUTDOWN, Attempt, AttemptParts
from perdure_worker.activity_interception import Chain
from perdure_worker.eager import EagerTurns
from perdure_worker.process_pool import ProcessPool
from perdure_worker.rate import TokenBucket
from perdure_worker.registry import RegisteredActivity, Registry
from perdure_worker.slots import Slots
from perdure_worker.telemetry import (
    ACTIVITY_ABANDONED,
    ACTIVITY_FAILED,
    ACTIVITY_STALE,
    TASK_RETURNED,
    TRANSACTION_UNDONE,
    log,
)
from perdure_worker.transaction import Transaction

CANCELLED_GRACE: Final = 1.0
"""Seconds that a cancelled attempt may take to come to its end when the worker stops."""


class Raised(NamedTuple):
    """What a thread came to when it raised; an exception itself could be one that a future cannot hold."""

    error: BaseException


class ActivityParts(Struct, frozen=True, kw_only=True):
    """What running activities needs."""

    registry: Registry
    attempts: AttemptParts
    slots: Slots
    eager: EagerTurns
    threads: ThreadPoolExecutor
    processes: ProcessPool
    bucket: TokenBucket | None
    interceptors: Sequence[Interceptor] = ()


class Activities:
    """The activity side of a worker."""

    def __init__(self, parts: ActivityParts) -> None:
        self._parts = parts
        self._timers = parts.attempts.timers
        self._converter = parts.attempts.converter
        self._running: dict[str, Attempt] = {}
        self._waiting: deque[ActivityTask] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._ending: set[asyncio.Task[None]] = set()

    def begin(self, task: ActivityTask) -> None:
        """Starts the attempt, or lets it wait for the rate that the worker keeps."""
        if self._parts.bucket is None:
            self._start(task)
        else:
            self._waiting.append(task)
            self._start_waiting(self._parts.bucket)

    def cancel(self, token: str, reason: str) -> None:
        """Asks an attempt to stop; one that has ended is left alone."""
        attempt = self._running.get(token)
        if attempt is not None:
            attempt.cancel(reason)

    @property
    def running(self) -> int:
        """How many attempts run."""
        return len(self._running)

    # ---- stopping ----------------------------------------------------------------------------------------------

    def give_back_waiting(self) -> None:
        """Hands back what has not begun."""
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            task = self._waiting.popleft()
            log.info(TASK_RETURNED, kind="ActivityTask", workflow_id=task.workflow_id, reason="the worker stops")
            self._hand_in(task, TaskReturned(token=task.token))

    async def finish(self, timeout: float) -> None:
        """Lets attempts go on for so long, then cancels them; those that do not end are reported as lost."""
        await self._all_ended(timeout)
        self.cancel_all()
        await self._all_ended(CANCELLED_GRACE)
        for attempt in list(self._running.values()):
            task = attempt.task
            log.warning(ACTIVITY_ABANDONED, activity_type=task.activity_type, activity_id=task.activity_id)
            self._close(attempt, ActivityTaskFailure(token=task.token, failure=faults.worker_stopped()))

    def cancel_all(self) -> None:
        """Asks every attempt to stop, because the worker does."""
        for attempt in list(self._running.values()):
            attempt.cancel(WORKER_SHUTDOWN)

    async def _all_ended(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                while self._running:
                    self._ended.clear()
                    await self._ended.wait()
        except TimeoutError:
            return

    # ---- one attempt -------------------------------------------------------------------------------------------

    def _start_waiting(self, bucket: TokenBucket) -> None:
        self._timer = None
        while self._waiting:
            delay = bucket.take(self._timers.time())
            if delay > 0:
                self._timer = self._timers.call_later(delay, self._start_waiting, bucket)
                return
            self._start(self._waiting.popleft())

    def _start(self, task: ActivityTask) -> None:
        try:
            activity = self._parts.registry.activity(task.activity_type)
            args, kwargs = self._arguments(task, activity)
        except (LookupError, ConversionError) as error:
            self._hand_in(task, ActivityTaskFailure(token=task.token, failure=self._unfit(error)))
            return
        attempt = Attempt(task, activity, self._parts.attempts)
        self._running[task.token] = attempt
        try:
            if self._parts.interceptors:
                attempt.work = self._intercepted(attempt, partial(activity.fn, *args, **kwargs))
            else:
                attempt.work = self._work(attempt, self._call(attempt, args, kwargs))
        except Exception as error:  # noqa: BLE001 - an async function may be a wrapper that raises when it is called
            attempt.work = asyncio.get_running_loop().create_future()
            attempt.work.set_exception(error)
        if task.start_to_close_timeout is not None:
            limit = task.start_to_close_timeout.total_seconds()
            attempt.deadline = self._timers.call_later(limit, attempt.cancel, OUT_OF_TIME)
        attempt.work.add_done_callback(partial(self._on_end, attempt))

    def _arguments(self, task: ActivityTask, activity: RegisteredActivity) -> tuple[list[Any], dict[str, Any]]:
        """A dynamic activity takes the list of all arguments, any other its own parameters."""
        types = activity.signature.parameters
        args, kwargs = self._converter.decode_args(task.input, task.kwargs, task.encoding, types)
        return ([args] if activity.definition.dynamic else args), kwargs

    def _unfit(self, error: Exception) -> Failure:
        """Another attempt would meet the same arguments; another worker may know the type."""
        if isinstance(error, LookupError):
            return failure_of(ApplicationError(str(error.args[0]), type=Code.NOT_FOUND), self._converter)
        refusal = ApplicationError(str(error), type=Code.INVALID_ARGUMENT, non_retryable=True)
        return failure_of(refusal, self._converter)

    def _call(self, attempt: Attempt, args: list[Any], kwargs: dict[str, Any]) -> Callable[[], Any]:
        activity = attempt.activity
        if activity.definition.executor == "process":
            return partial(self._parts.processes.run, activity, attempt, args, kwargs)
        return partial(activity.fn, *args, **kwargs)

    def _work(self, attempt: Attempt, call: Callable[[], Any]) -> asyncio.Future[Any]:
        context = contextvars.copy_context()
        context.run(current_activity.set, attempt.intercepted or attempt)
        loop = asyncio.get_running_loop()
        if attempt.activity.definition.is_async:
            return loop.create_task(call(), context=context)
        return loop.run_in_executor(self._parts.threads, context.run, in_thread, call)

    def _intercepted(self, attempt: Attempt, call: partial[Any]) -> asyncio.Future[Any]:
        chain = Chain(self._parts.interceptors, attempt, partial(self._unwrapped, attempt))
        attempt.intercepted = chain.runtime
        running = contained(chain.run(call, attempt.task.header))
        return asyncio.get_running_loop().create_task(running, context=contextvars.copy_context())

    async def _unwrapped(self, attempt: Attempt, call: partial[Any]) -> Any:  # noqa: ANN401 - as the activity does
        """The call, in a process where it belongs there, and what it raises as interceptors expect it."""
        if attempt.activity.definition.executor == "process":
            return await self._unraised(attempt, self._call(attempt, list(call.args), call.keywords))
        return await self._unraised(attempt, call)

    async def _unraised(self, attempt: Attempt, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - as above
        value = await self._work(attempt, call)
        if isinstance(value, Raised):
            raise value.error
        return value

    def _on_end(self, attempt: Attempt, work: asyncio.Future[Any]) -> None:
        if attempt.task.token not in self._running:
            return  # abandoned
        attempt.ended()
        completion = self._completion(attempt, work)
        if attempt.opened is not None:
            ending = asyncio.get_running_loop().create_task(self._end_transaction(attempt, attempt.opened, completion))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            return
        if isinstance(completion, ActivityTaskCompletion):
            completion = self._with_turn(attempt, completion)
        self._close(attempt, completion)

    def _completion(self, attempt: Attempt, work: asyncio.Future[Any]) -> AnyCompletion:
        error = error_of(work)
        if error is not None:
            return self._failed(attempt, error)
        try:
            raw, encoding = self._converter.encode_value(work.result(), attempt.activity.signature.result)
        except ConversionError as unfit:
            return self._failed(attempt, unfit)
        return ActivityTaskCompletion(token=attempt.task.token, result=raw, encoding=encoding)

    async def _end_transaction(self, attempt: Attempt, opened: Transaction, completion: AnyCompletion) -> None:
        """Law: the transaction has ended before the completion leaves."""
        if isinstance(completion, ActivityTaskCompletion) and opened.is_open:
            completion = await self._committed(attempt, opened, completion)
        else:
            await opened.roll_back()
        if attempt.task.token in self._running:
            self._close(attempt, completion)

    async def _committed(
        self, attempt: Attempt, opened: Transaction, completion: ActivityTaskCompletion
    ) -> AnyCompletion:
        try:
            verdict = await opened.commit(completion.result, completion.encoding)
        except Exception as error:  # noqa: BLE001 - whatever it was, the service finds out whether it has committed
            return self._failed(attempt, error)
        if verdict == "recorded":
            return self._with_turn(attempt, structs.replace(completion, recorded=True))
        task = attempt.task
        log.info(
            TRANSACTION_UNDONE,
            activity_type=task.activity_type,
            activity_id=task.activity_id,
            workflow_id=task.workflow_id,
            reason=verdict,
        )
        if verdict == "settled":
            return completion  # the service looks for itself what the attempt before has recorded
        if verdict == "sealed" and may_run_again(task):
            return TaskReturned(token=task.token)
        return ActivityTaskFailure(token=task.token, failure=faults.transaction_undone(verdict))

    def _with_turn(self, attempt: Attempt, completion: ActivityTaskCompletion) -> ActivityTaskCompletion:
        took = timedelta(seconds=time.monotonic() - attempt.began)
        return self._parts.eager.extend(attempt.task, completion, took) or completion

    def _failed(self, attempt: Attempt, error: BaseException) -> AnyCompletion:
        task = attempt.task
        if is_cancellation(error) and attempt.reason not in {None, OUT_OF_TIME, WORKER_SHUTDOWN}:
            raw, encoding = self._converter.encode_values(getattr(error, "details", ()))
            return ActivityTaskCancellation(token=task.token, details=raw, encoding=encoding)
        attempt.last_words()
        if isinstance(error, CompleteAsyncError):
            return ActivityTaskDetached(token=task.token)
        if is_cancellation(error) and attempt.reason == WORKER_SHUTDOWN and may_run_again(task):
            log.info(TASK_RETURNED, kind="ActivityTask", workflow_id=task.workflow_id, reason="the worker stops")
            return TaskReturned(token=task.token)
        log.warning(
            ACTIVITY_FAILED,
            activity_type=task.activity_type,
            activity_id=task.activity_id,
            attempt=task.attempt,
            workflow_id=task.workflow_id,
            run_id=task.run_id,
            error=f"{type(error).__name__}: {error}",
        )
        return ActivityTaskFailure(token=task.token, failure=self._failure(attempt, error))

    def _failure(self, attempt: Attempt, error: BaseException) -> Failure:
        if not is_cancellation(error):
            return failure_of(error, self._converter)
        match attempt.reason:
            case "TIMED_OUT":
                return faults.out_of_time()
            case "WORKER_SHUTDOWN":
                return faults.worker_stopped()
            case _:
                return faults.nobody_asked()

    def _close(self, attempt: Attempt, completion: AnyCompletion) -> None:
        del self._running[attempt.task.token]
        self._ended.set()
        self._hand_in(attempt.task, completion)

    def _hand_in(self, task: ActivityTask, completion: AnyCompletion) -> None:
        """Gives the slot back too: the request which carries the completion may ask for it."""
        then = partial(answered, task)
        if isinstance(completion, ActivityTaskCompletion) and completion.turn is not None:
            then = partial(self._answered_with_turn, task, completion.turn)
        self._parts.attempts.completions.submit(completion, then)
        self._parts.slots.give_activity()

    def _answered_with_turn(self, task: ActivityTask, turn: EagerTurn, result: CompletionResult) -> None:
        self._parts.eager.answered(task.run_id, turn, result)
        answered(task, result)


def in_thread(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the activity returns
    """The call in a thread; what it raises is a value here, since a future cannot hold every exception."""
    try:
        return call()
    except BaseException as error:  # noqa: BLE001 - also SystemExit ends only the attempt
        return Raised(error)


async def contained(running: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - as above
    """A task must not raise what would end the worker's loop."""
    try:
        return await running
    except (SystemExit, KeyboardInterrupt) as error:
        return Raised(error)


def error_of(work: asyncio.Future[Any]) -> BaseException | None:
    """What it raised, if it did."""
    if work.cancelled():
        return asyncio.CancelledError()
    error = work.exception()
    if error is None and isinstance(work.result(), Raised):
        raised: Raised = work.result()
        return raised.error
    return error


def may_run_again(task: ActivityTask) -> bool:
    """Whether an attempt that has begun may be handed back: who allows a single attempt means at most one."""
    attempts_max = task.retry_policy.maximum_attempts if task.retry_policy is not None else 0
    return not attempts_max or task.attempt < attempts_max


def is_cancellation(error: BaseException) -> bool:
    """Whether the attempt ended because it was asked to, or raises as if."""
    return isinstance(error, asyncio.CancelledError | CancelledError)


def answered(task: ActivityTask, result: CompletionResult) -> None:
    """The service may have closed the attempt meanwhile; then its end is no news."""
    if result.code is not None:
        log.info(
            ACTIVITY_STALE,
            activity_type=task.activity_type,
            activity_id=task.activity_id,
            workflow_id=task.workflow_id,
            code=result.code,
        )
