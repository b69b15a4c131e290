"""Activities: how attempts run, end, beat and are cancelled."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

from msgspec import Raw

from perdure import activity
from perdure.exceptions import ApplicationError
from perdure_proto.failures import ApplicationFailure, TimeoutFailure
from perdure_proto.tasks import (
    ActivityHeartbeat,
    ActivityTaskCancellation,
    ActivityTaskCompletion,
    ActivityTaskDetached,
    ActivityTaskFailure,
    AnyCompletion,
    CancelActivity,
    CompletionResult,
    TaskReturned,
)
from tests.unit.worker.wired import activity_task
from tests.unit.worker.workers import serving

SECONDS = timedelta(seconds=10)


@activity.defn(start_to_close_timeout=SECONDS)
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@activity.defn(name="greet", start_to_close_timeout=SECONDS)
def greet_in_thread(name: str) -> str:
    return f"{threading.current_thread().name.partition('_')[0]}: {name}"


async def test_coroutine_returns_its_result() -> None:
    """An `async def` runs on the worker's loop, and its result is handed in."""
    async with serving(activities=[greet]) as one:
        await one.give(activity_task("a", input=Raw(b'["Ada"]')))
        assert ActivityTaskCompletion(token="a", result=Raw(b'"Hello, Ada!"')) == await one.next_completion()


async def test_function_runs_in_a_thread() -> None:
    """A `def` runs in a thread of the worker."""
    async with serving(activities=[greet_in_thread]) as one:
        await one.give(activity_task("a", input=Raw(b'["Ada"]')))
        completion = await one.next_completion()
        assert ActivityTaskCompletion(token="a", result=Raw(b'"perdure-activity: Ada"')) == completion


async def test_argument_that_does_not_fit_fails_for_good() -> None:
    """An argument of another type fails the activity, and no attempt is repeated."""
    async with serving(activities=[greet]) as one:
        await one.give(activity_task("a", input=Raw(b"[3]")))
        completion = await one.next_completion()
        assert isinstance(completion, ActivityTaskFailure)
        info = completion.failure.info
        assert isinstance(info, ApplicationFailure)
        assert ("INVALID_ARGUMENT", True) == (info.type, info.non_retryable)


async def test_exception_fails_the_attempt() -> None:
    """What an activity raises becomes the failure of its attempt, with its type."""

    @activity.defn
    async def charge() -> None:
        raise ApplicationError("declined", type="Declined", non_retryable=True)

    async with serving(activities=[charge]) as one:
        await one.give(activity_task("a", activity_type="charge"))
        completion = await one.next_completion()
        assert isinstance(completion, ActivityTaskFailure)
        assert "declined" == completion.failure.message
        assert ApplicationFailure(type="Declined", non_retryable=True) == completion.failure.info


async def test_result_that_cannot_be_written_fails_the_attempt() -> None:
    """A result that does not fit its annotation is a failure, not silence."""

    @activity.defn
    async def lie() -> int:
        return "seven"  # type: ignore[return-value] # the lie

    async with serving(activities=[lie]) as one:
        await one.give(activity_task("a", activity_type="lie"))
        assert isinstance(await one.next_completion(), ActivityTaskFailure)


async def test_thread_may_raise_what_a_future_cannot_hold() -> None:
    """StopIteration out of a thread is a failure like any other."""

    @activity.defn
    def stop() -> None:
        raise StopIteration

    async with serving(activities=[stop]) as one:
        await one.give(activity_task("a", activity_type="stop"))
        completion = await one.next_completion()
        assert isinstance(completion, ActivityTaskFailure)
        assert ApplicationFailure(type="StopIteration") == completion.failure.info


async def test_dynamic_activity_takes_any_type() -> None:
    """A dynamic activity gets the list of plain arguments of whatever was asked for."""

    @activity.defn(dynamic=True)
    async def anything(args: list[object]) -> str:
        return f"{activity.info().activity_type}{args}"

    async with serving(activities=[anything]) as one:
        await one.give(activity_task("a", activity_type="unheard", input=Raw(b"[1,2]")))
        assert ActivityTaskCompletion(token="a", result=Raw(b'"unheard[1, 2]"')) == await one.next_completion()


async def test_heartbeat_details_of_the_last_attempt_are_there() -> None:
    """An attempt resumes from the details of the one before."""

    @activity.defn
    async def resume() -> int:
        return int(activity.info().heartbeat_details[0])

    async with serving(activities=[resume]) as one:
        await one.give(activity_task("a", activity_type="resume", attempt=2, heartbeat_details=Raw(b"[7]")))
        assert ActivityTaskCompletion(token="a", result=Raw(b"7")) == await one.next_completion()


async def test_first_heartbeat_is_sent_and_the_last_goes_before_the_failure() -> None:
    """Of many heartbeats the first is sent at once, and the last details reach the service before the failure."""

    @activity.defn
    def copy() -> None:
        for row in range(5):
            activity.heartbeat(row)
        raise ValueError("disk full")

    async with serving(activities=[copy]) as one:
        await one.give(activity_task("a", activity_type="copy", heartbeat_timeout=SECONDS))
        handed_in: list[AnyCompletion] = []
        while not handed_in or not isinstance(handed_in[-1], ActivityTaskFailure):
            handed_in.extend(await one.next_completions())
        beats = [one.details for one in handed_in if isinstance(one, ActivityHeartbeat)]
        assert [Raw(b"[0]"), Raw(b"[4]")] == beats


async def test_an_attempt_can_leave_the_worker() -> None:
    """Its slot is free at once, and the last details of its heartbeats go before the report; as a task or a thread."""

    @activity.defn
    async def leaves() -> None:
        activity.heartbeat(1)
        activity.heartbeat(2)
        activity.raise_complete_async()

    @activity.defn
    def leaves_a_thread() -> None:
        activity.raise_complete_async()

    async with serving(activities=[leaves, leaves_a_thread], max_concurrent_activities=1) as one:
        await one.give(activity_task("a", activity_type="leaves"))
        handed_in: list[AnyCompletion] = []
        while not handed_in or not isinstance(handed_in[-1], ActivityTaskDetached):
            handed_in.extend(await one.next_completions())
        beats = [each.details for each in handed_in[:-1] if isinstance(each, ActivityHeartbeat)]
        assert [Raw(b"[1]"), Raw(b"[2]")] == beats
        await one.give(activity_task("b", activity_type="leaves_a_thread"))
        assert ActivityTaskDetached(token="b") == await one.next_completion()


async def test_pushed_cancellation_reaches_a_coroutine_at_once() -> None:
    """An activity that waits is cancelled by a push, and its end is reported as a cancellation."""
    started = asyncio.Event()

    @activity.defn
    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    async with serving(activities=[wait]) as one:
        await one.give(activity_task("a", activity_type="wait"))
        await started.wait()
        await one.give(pushes=[CancelActivity(token="a")])
        assert ActivityTaskCancellation(token="a") == await one.next_completion()


async def test_pushed_cancellation_reaches_a_thread_at_its_next_heartbeat() -> None:
    """A thread that beats is interrupted there, and its end is reported as a cancellation."""
    started, go_on = threading.Event(), threading.Event()

    @activity.defn
    def work() -> None:
        started.set()
        go_on.wait()
        activity.heartbeat()

    async with serving(activities=[work]) as one:
        await one.give(activity_task("a", activity_type="work"))
        await asyncio.to_thread(started.wait)
        await one.give(pushes=[CancelActivity(token="a")])
        go_on.set()
        handed_in = [await one.next_completion() for _ in range(1)]
        if isinstance(handed_in[-1], ActivityHeartbeat):
            handed_in.append(await one.next_completion())
        assert ActivityTaskCancellation(token="a") == handed_in[-1]


async def test_thread_sees_that_it_is_cancelled_and_why() -> None:
    """A thread that asks is told, and may end with a result."""
    started, go_on = threading.Event(), threading.Event()

    @activity.defn
    def look() -> list[bool]:
        before = activity.is_cancelled()
        started.set()
        go_on.wait()
        details = activity.cancellation_details()
        return [before, activity.is_cancelled(), details is not None and details.timed_out]

    async with serving(activities=[look]) as one:
        await one.give(activity_task("a", activity_type="look"))
        await asyncio.to_thread(started.wait)
        await one.give(pushes=[CancelActivity(token="a", reason="TIMED_OUT")])
        go_on.set()
        assert ActivityTaskCompletion(token="a", result=Raw(b"[false,true,true]")) == await one.next_completion()


async def test_cancellation_that_nobody_asked_for_is_a_failure() -> None:
    """A CancelledError out of user code alone does not cancel the activity."""

    @activity.defn
    async def give_up() -> None:
        raise asyncio.CancelledError

    async with serving(activities=[give_up]) as one:
        await one.give(activity_task("a", activity_type="give_up"))
        assert isinstance(await one.next_completion(), ActivityTaskFailure)


async def test_answer_to_a_heartbeat_cancels() -> None:
    """A service that says so in answer to a heartbeat cancels the attempt."""

    @activity.defn
    async def beat() -> None:
        activity.heartbeat()
        await asyncio.Event().wait()

    async with serving(activities=[beat]) as one:
        await one.give(activity_task("a", activity_type="beat"))
        (await one.service.responds.get()).results(CompletionResult(cancel_requested=True))
        assert ActivityTaskCancellation(token="a") == await one.next_completion()


async def test_attempt_ends_at_its_deadline() -> None:
    """An attempt that takes longer than it may is cancelled here too, as a timeout that may be retried."""

    @activity.defn
    async def hang() -> None:
        await asyncio.Event().wait()

    async with serving(activities=[hang]) as one:
        limit = timedelta(milliseconds=1)
        await one.give(activity_task("a", activity_type="hang", start_to_close_timeout=limit))
        completion = await one.next_completion()
        assert isinstance(completion, ActivityTaskFailure)
        assert TimeoutFailure(timeout_type="START_TO_CLOSE") == completion.failure.info


async def test_task_beyond_the_slots_goes_back() -> None:
    """What the service delivers beyond the free slots is returned at once."""
    go_on = asyncio.Event()

    @activity.defn
    async def wait() -> None:
        await go_on.wait()

    async with serving(activities=[wait], max_concurrent_activities=1) as one:
        tasks = [activity_task(token, activity_type="wait") for token in ("a", "b")]
        await one.give(*tasks)
        assert TaskReturned(token="b") == await one.next_completion()
        go_on.set()
        assert ActivityTaskCompletion(token="a") == await one.next_completion()


async def test_task_that_is_delivered_twice_runs_once() -> None:
    """A task that comes again while it runs is the same task."""
    runs: list[str] = []
    go_on = asyncio.Event()

    @activity.defn
    async def wait() -> None:
        runs.append(activity.info().activity_id)
        await go_on.wait()

    async with serving(activities=[wait]) as one:
        await one.give(activity_task("a", activity_type="wait"))
        await one.give(activity_task("a", activity_type="wait"))
        go_on.set()
        assert ActivityTaskCompletion(token="a") == await one.next_completion()
        assert ["1"] == runs


async def test_rate_holds_activities_back() -> None:
    """No more activities start in a second than the worker may start."""
    async with serving(activities=[greet], max_worker_activities_per_second=1) as one:
        tasks = [activity_task(token, input=Raw(b'["Ada"]')) for token in ("a", "b")]
        await one.give(*tasks)
        assert "a" == (await one.next_completion()).token
        leaving = asyncio.create_task(one.worker.shutdown())
        assert TaskReturned(token="b") == await one.next_completion()
        await leaving
