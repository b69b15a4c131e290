"""Activities as workflow code sees them: scheduled by the call, settled by the event that closes them.

Local ones run in this worker; the record of each is the marker that holds its result. It must not know how attempts
are run.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from msgspec import Raw, structs

from perdure._runtime import ActivityRequest
from perdure.exceptions import ConversionError
from perdure_proto import events as ev
from perdure_proto.codec import encoder
from perdure_proto.commands import ScheduleActivityTask, StartTimer
from perdure_proto.events import AnyEvent, MarkerRecorded
from perdure_proto.failures import ActivityFailure, CanceledFailure, Failure, RetryState
from perdure_worker.futures import Started
from perdure_worker.outcome import LocalActivity, LocalActivityResult
from perdure_worker.replay.machines.activity import ActivityMachine
from perdure_worker.replay.machines.marker import LocalActivityDetails, LocalActivityMachine, local_activity_details
from perdure_worker.replay.machines.timer import TimerMachine

if TYPE_CHECKING:
    from perdure_worker.run import Run

MESSAGES: Final[dict[type, str]] = {
    ev.ActivityTaskFailed: "Activity task failed",
    ev.ActivityTaskTimedOut: "Activity task timed out",
    ev.ActivityTaskCanceled: "Activity task cancelled",
}
Closing: TypeAlias = ev.ActivityTaskFailed | ev.ActivityTaskTimedOut | ev.ActivityTaskCanceled


class Asked(NamedTuple):
    """A local activity as it was asked for, and when in the workflow's time."""

    activity: LocalActivity
    at: datetime


class ActivityCalls:
    """The activities that one run has started."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._asked: dict[str, Asked] = {}
        """Local activities that have not ended, by activity id."""
        self._untold: dict[str, LocalActivity] = {}
        self._to_cancel: list[str] = []
        self._running: set[str] = set()

    def start(self, request: ActivityRequest) -> asyncio.Future[Any]:
        """An activity, or a local one, begins with the call."""
        self._run.require_commands(f"activity {request.activity_type}")
        future = Started(self, self._run.loop, self._run.loop.next_creation_hash())
        future.result_type = request.result_type
        future.cancellation_type = request.cancellation_type
        begin = self._start_local if request.local else self._schedule
        future.machine = begin(request, future)
        return future

    def _schedule(self, request: ActivityRequest, future: Started) -> ActivityMachine:
        args, kwargs, encoding = self._run.converter.encode_args(request.args, request.kwargs, request.arg_types)
        execution = self._run.execution
        number = execution.next_activity_id()
        command = ScheduleActivityTask(
            activity_id=request.activity_id or number,
            activity_type=request.activity_type,
            task_queue=request.task_queue or "",
            input=args,
            kwargs=kwargs,
            encoding=encoding,
            schedule_to_close_timeout=request.schedule_to_close_timeout,
            schedule_to_start_timeout=request.schedule_to_start_timeout,
            start_to_close_timeout=request.start_to_close_timeout,
            heartbeat_timeout=request.heartbeat_timeout,
            retry_policy=request.retry_policy,
            priority=request.priority,
            concurrency_key=request.concurrency_key or "",
            concurrency_max=request.concurrency_max,
            summary=request.summary or "",
            header=dict(request.headers) if request.headers else {},
        )
        return execution.schedule_activity(command, future)

    def _start_local(self, request: ActivityRequest, future: Started) -> LocalActivityMachine:
        if request.concurrency_max is not None:
            raise ValueError(f"{request.activity_type}: a local activity takes no part in concurrency limits")
        self._run.converter.encode_args(request.args, request.kwargs, request.arg_types)  # what does not fit fails here
        number = self._run.execution.next_activity_id()
        activity_id = request.activity_id or number
        machine = self._run.execution.run_local_activity(activity_id, request.activity_type, future)
        asked = LocalActivity(
            activity_id=activity_id,
            activity_type=request.activity_type,
            args=request.args,
            kwargs=request.kwargs,
            start_to_close_timeout=request.start_to_close_timeout,
            schedule_to_close_timeout=request.schedule_to_close_timeout,
            retry_policy=request.retry_policy,
            local_retry_threshold=request.local_retry_threshold,
            headers=request.headers,
        )
        self._untold[activity_id] = asked
        self._asked[activity_id] = Asked(asked, self._run.now)
        return machine

    def cancel_started(self, future: Started) -> bool:
        """Workflow code cancels an activity: what its cancellation type says happens."""
        if self._run.gone:
            return True
        self._run.require_commands("cancelling an activity")
        machine = future.machine
        if isinstance(machine, ActivityMachine):
            return self._run.execution.cancel_activity(machine, future.cancellation_type)
        if isinstance(machine, TimerMachine):  # a local activity between two attempts: nobody is to be waited for
            self._run.execution.cancel_timer(machine)
            return True
        return self._cancel_local(machine, future)

    def _cancel_local(self, machine: LocalActivityMachine, future: Started) -> bool:
        settled, stop = self._run.execution.cancel_local_activity(machine, future.cancellation_type)
        if settled:
            self._asked.pop(machine.name, None)
        untold = settled and self._untold.pop(machine.name, None) is not None
        if stop and not untold:
            self._to_cancel.append(machine.name)
        if settled:
            self._running.discard(machine.name)
        return settled

    # What history says.

    def close(self, event: AnyEvent) -> None:
        """An activity completed, failed, timed out or was cancelled."""
        future = self._run.execution.close_activity(event)
        if not isinstance(future, Started) or future.done():
            return
        match event:
            case ev.ActivityTaskCompleted():
                self._settle(future, event.result, event.encoding)
            case ev.ActivityTaskFailed() | ev.ActivityTaskTimedOut():
                self._fail(future, event, event.failure, event.retry_state)
            case ev.ActivityTaskCanceled() if not future.cancel_asked:
                info = CanceledFailure(details=event.details, encoding=event.encoding)
                self._fail(future, event, Failure(message="Cancelled", info=info), "CANCEL_REQUESTED")
            case _:
                future.end_cancelled()

    def _fail(self, future: Started, event: Closing, cause: Failure, retry_state: RetryState) -> None:
        info = ActivityFailure(
            scheduled_event_id=event.scheduled_event_id,
            started_event_id=event.started_event_id,
            activity_type=future.machine.activity_type,
            activity_id=future.machine.name,
            identity=getattr(event, "identity", ""),
            retry_state=retry_state,
        )
        self._raise(future, Failure(message=MESSAGES[type(event)], info=info, cause=cause))

    def replay_local(self, marker: MarkerRecorded) -> None:
        """A local activity ended here when this ran before."""
        self._end_local(local_activity_details(marker), bytes(marker.details), marker.failure)

    def end_local(self, result: LocalActivityResult) -> bool:
        """A local activity ended now; false when nobody waits for it any longer."""
        machine = self._run.execution.local_activity(result.activity_id)
        self._running.discard(result.activity_id)
        if machine is None:
            return False
        details = LocalActivityDetails(
            activity_id=result.activity_id,
            activity_type=machine.activity_type,
            attempt=result.attempt,
            result=result.result,
            encoding=result.encoding,
            backoff=result.backoff,
            retry_state=result.retry_state,
        )
        self._end_local(details, encoder.encode(details), result.failure)
        return True

    def _end_local(self, details: LocalActivityDetails, raw: bytes, failure: Failure | None) -> None:
        self._untold.pop(details.activity_id, None)
        future = self._run.execution.end_local_activity(details, Raw(raw), failure)
        assert isinstance(future, Started)
        asked = self._asked.pop(details.activity_id)
        if future.done():
            return
        if details.backoff is not None:
            self._back_off(future, asked, details)
        elif failure is None:
            self._settle(future, details.result, details.encoding)
        elif isinstance(failure.info, CanceledFailure):
            future.end_cancelled()
        else:
            info = ActivityFailure(
                scheduled_event_id=0,
                activity_type=details.activity_type,
                activity_id=details.activity_id,
                retry_state=_retry_state(details, failure),
            )
            self._raise(future, Failure(message="Local activity failed", info=info, cause=failure))

    def _back_off(self, future: Started, asked: Asked, details: LocalActivityDetails) -> None:
        """The pause before the next attempt is a durable timer: the worker forgets the activity meanwhile."""
        assert details.backoff is not None
        execution = self._run.execution
        command = StartTimer(
            timer_id=execution.next_timer_id(),
            start_to_fire_timeout=details.backoff,
            summary=f"before attempt {details.attempt + 1} of local activity {details.activity_type}",
        )
        future.machine = execution.start_timer(command, partial(self._begin_again, future, asked, details.attempt + 1))

    def _begin_again(self, future: Started, asked: Asked, attempt: int) -> None:
        """The pause is over. All attempts together have what is left of their time."""
        if future.done():
            return
        activity = asked.activity
        left = activity.schedule_to_close_timeout
        if left is not None:
            left = max(left - (self._run.now - asked.at), timedelta.resolution)
        again = structs.replace(activity, attempt=attempt, schedule_to_close_timeout=left)
        future.machine = self._run.execution.run_local_activity(activity.activity_id, activity.activity_type, future)
        self._untold[activity.activity_id] = again
        self._asked[activity.activity_id] = asked

    def _settle(self, future: Started, result: Raw, encoding: str) -> None:
        try:
            future.set_result(self._run.converter.decode_value(result, encoding, future.result_type))
        except ConversionError as error:
            named = ConversionError(f"the result of activity {future.machine.activity_type}: {error}")
            future.set_exception(named)

    def _raise(self, future: Started, failure: Failure) -> None:
        future.set_exception(self._run.exception_of(failure))

    # What the worker is told.

    def told(self) -> list[LocalActivity]:
        """The local activities to start now."""
        starting, self._untold = list(self._untold.values()), {}
        self._running.update([one.activity_id for one in starting])
        return starting

    def cancelled(self) -> list[str]:
        """The local activities to cancel now."""
        cancelling, self._to_cancel = self._to_cancel, []
        return cancelling

    def is_pending(self, activity_id: str) -> bool:
        """Whether workflow code waits for this local activity."""
        return self._run.execution.local_activity(activity_id) is not None

    @property
    def local_pending(self) -> int:
        """How many local activities run, or are to."""
        return len(self._running) + len(self._untold)


def _retry_state(details: LocalActivityDetails, failure: Failure) -> RetryState:
    """As the marker says; one of old says only that it failed."""
    if details.retry_state != "IN_PROGRESS":
        return details.retry_state
    return "NON_RETRYABLE_FAILURE" if getattr(failure.info, "non_retryable", False) else "MAXIMUM_ATTEMPTS_REACHED"
