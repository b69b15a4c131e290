"""One attempt of an activity: what its code can ask for, and how it is asked to stop.

`heartbeat` and `is_cancelled` may be called from any thread; all else belongs to the worker's loop. An attempt is
cancelled at once: a coroutine by a cancellation of its task, a process by its death, a thread by a flag that it meets
at its next heartbeat, for threads cannot be interrupted safely. The first reason stays.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple, NoReturn

from msgspec import Raw, Struct

from perdure._runtime import ActivityRuntime
from perdure.activity import ActivityCancellationDetails, Info
from perdure.converter import DataConverter
from perdure.exceptions import RPCError
from perdure.metrics import MetricMeter
from perdure_proto.errors import Code
from perdure_proto.tasks import ActivityHeartbeat, ActivityTask, ActivityTransaction, CompletionResult, OutcomePlace
from perdure_worker import faults
from perdure_worker.activity_info import details_of, info_of
from perdure_worker.completions import Completions
from perdure_worker.heartbeats import Heartbeats, Timers, interval_of
from perdure_worker.process_pool import Stop
from perdure_worker.registry import RegisteredActivity
from perdure_worker.transaction import Database, Transaction

OUT_OF_TIME: Final = "TIMED_OUT"
WORKER_SHUTDOWN: Final = "WORKER_SHUTDOWN"


class Encoded(NamedTuple):
    """Details of a heartbeat as they travel."""

    raw: Raw
    encoding: str


class AttemptParts(Struct, frozen=True, kw_only=True):
    """What all attempts of a worker share."""

    converter: DataConverter
    completions: Completions
    timers: Timers
    namespace: str
    task_queue: str
    identity: str = ""
    database: Database
    call_soon_threadsafe: Callable[..., object]
    meter: MetricMeter = MetricMeter()


class Attempt:
    """An attempt that runs; the `ActivityRuntime` of its code."""

    def __init__(self, task: ActivityTask, activity: RegisteredActivity, parts: AttemptParts) -> None:
        self.task = task
        self.activity = activity
        self.work: asyncio.Future[object] | None = None
        """What runs: a task of the loop, or a call in a thread."""
        self.intercepted: ActivityRuntime | None = None
        """The runtime as its code sees it, where interceptors stand in between."""
        self.began = time.monotonic()
        self.deadline: asyncio.TimerHandle | None = None
        self.reason: str | None = None
        """Why it was asked to stop."""
        self.opened: Transaction | None = None
        """The transaction that its code asked for."""
        self._parts = parts
        self._info: Info | None = None
        self._heartbeats: Heartbeats[Encoded] | None = None
        self.stop = Stop()
        self._loop_thread = threading.get_ident()

    # ---- asked by the activity's code --------------------------------------------------------------------------

    def info(self) -> Info:
        """What the code may know of its attempt."""
        if self._info is None:
            parts = self._parts
            self._info = info_of(self.task, parts.converter, namespace=parts.namespace, task_queue=parts.task_queue)
        return self._info

    def heartbeat(self, details: tuple[object, ...]) -> None:
        """Says that the attempt goes on. In a thread it raises `asyncio.CancelledError` when it was asked to stop."""
        encoded = Encoded(*self._parts.converter.encode_values(details))
        if threading.get_ident() == self._loop_thread:
            self._beat(encoded)
            return
        self._parts.call_soon_threadsafe(self._beat, encoded)
        if self.stop.is_set():
            raise asyncio.CancelledError(self.reason)

    def is_cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self.stop.is_set()

    def metric_meter(self) -> MetricMeter:
        """Where its metrics go."""
        return self._parts.meter

    def cancellation_details(self) -> ActivityCancellationDetails | None:
        """Why it was asked to stop; None when it was not."""
        return None if self.reason is None else details_of(self.reason)

    def transaction(self) -> Transaction:
        """The one transaction that commits with the completion. Raises `ApplicationError` where there can be none."""
        if not self.activity.definition.is_async:
            raise faults.no_transaction(faults.ON_THE_LOOP)
        if self.opened is not None:
            raise faults.no_transaction("once in an activity, for it commits with the activity's completion")
        self.opened = Transaction(self._parts.database, self._allowed, self._parts.identity)
        return self.opened

    # ---- asked by the worker, on its loop ----------------------------------------------------------------------

    def cancel(self, reason: str) -> None:
        """Asks it to stop, at once; only the first reason counts."""
        if self.reason is not None:
            return
        self.reason = reason
        self.stop.set()
        if self.activity.definition.is_async and self.work is not None:
            self.work.cancel()

    def last_words(self) -> None:
        """Sends the latest details, which the next attempt resumes from."""
        if self._heartbeats is not None:
            self._heartbeats.last_words()

    def ended(self) -> None:
        """No deadline and no heartbeat comes after this."""
        if self.deadline is not None:
            self.deadline.cancel()
        if self._heartbeats is not None:
            self._heartbeats.stop()

    async def _allowed(self) -> OutcomePlace:
        """Asks the service, which makes sure first that whoever closes the activity knows of the transaction."""
        answered: asyncio.Future[CompletionResult] = asyncio.get_running_loop().create_future()

        def answer(result: CompletionResult) -> None:
            if not answered.done():
                answered.set_result(result)

        self._parts.completions.report(ActivityTransaction(token=self.task.token), answer)
        result = await answered
        if result.code is Code.TASK_NOT_FOUND:
            self.cancel("NOT_FOUND")
            await asyncio.sleep(0)  # here it is cancelled
        if result.place is None:
            raise RPCError(
                result.message or "the service knows no transactions", code=result.code or Code.NOT_SUPPORTED
            )
        return result.place

    def _beat(self, details: Encoded) -> None:
        if self.work is not None and self.work.done():
            return
        if self._heartbeats is None:
            interval = interval_of(self.task.heartbeat_timeout)
            self._heartbeats = Heartbeats(self._parts.timers, interval, self._send)
        self._heartbeats.beat(details)

    def _send(self, details: Encoded) -> None:
        heartbeat = ActivityHeartbeat(token=self.task.token, details=details.raw, encoding=details.encoding)
        self._parts.completions.report(heartbeat, self._answered)

    def _answered(self, result: CompletionResult) -> None:
        if result.cancel_requested:
            self.cancel("CANCEL_REQUESTED")
        elif result.code is Code.TASK_NOT_FOUND:
            self.cancel("NOT_FOUND")


class LocalAttempt:
    """An attempt of a local activity; the `ActivityRuntime` of its code. Its heartbeats go nowhere."""

    def __init__(self, describe: Callable[[], Info], meter: MetricMeter) -> None:
        self._meter = meter
        self.stop = Stop()
        self.intercepted: ActivityRuntime | None = None
        self._describe = describe

    def info(self) -> Info:
        """What the code may know of its attempt."""
        return self._describe()

    def heartbeat(self, details: tuple[object, ...]) -> None:  # noqa: ARG002 - nothing is sent
        """Nobody waits for it; a thread learns here that it was asked to stop."""
        if self.stop.is_set():
            raise asyncio.CancelledError("CANCEL_REQUESTED")

    def is_cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self.stop.is_set()

    def metric_meter(self) -> MetricMeter:
        """Where its metrics go."""
        return self._meter

    def transaction(self) -> NoReturn:
        """A local activity's completion is in its workflow's task: there is nothing to commit it with."""
        raise faults.no_transaction("in a normal activity alone: call it without .local")

    def cancellation_details(self) -> ActivityCancellationDetails | None:
        """Why it was asked to stop; None when it was not."""
        return details_of("CANCEL_REQUESTED") if self.stop.is_set() else None
