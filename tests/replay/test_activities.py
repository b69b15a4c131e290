"""Activities in a workflow: scheduled by the call, settled by events, cancelled in three ways."""

import asyncio
from datetime import timedelta

import pytest

from perdure import activity, workflow
from perdure.exceptions import ActivityError, ApplicationError
from perdure_proto import commands as cmd
from tests.replay.service import Service, names

SECOND = timedelta(seconds=1)


@activity.defn(start_to_close_timeout=10 * SECOND)
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@workflow.defn
async def sequence(name: str) -> str:
    return await greet(await greet(name))


@workflow.defn
async def parallel() -> list[str]:
    return list(await asyncio.gather(*[greet(str(number)) for number in range(3)]))


@workflow.defn
async def caught() -> list[str]:
    try:
        await greet("x")
    except ActivityError as error:
        kind = error.cause.type if isinstance(error.cause, ApplicationError) else None
        return [error.activity_type, error.activity_id, error.retry_state or "", kind or ""]
    return []


@workflow.defn
async def named() -> int:
    options = greet.with_options(activity_id="mine", task_queue="other", summary="says hello")
    await options("x")
    return await workflow.execute_activity("count", args=[1], result_type=int, start_to_close_timeout=SECOND)


@workflow.defn
async def cancelled_at_once() -> str:
    handle = greet.start("x")
    handle.cancel()
    await asyncio.sleep(1)
    return str(handle.cancelled())


@workflow.defn
async def cancelled_later() -> str:
    handle = greet.start("x")
    await asyncio.sleep(1)
    handle.cancel()
    try:
        return await handle
    except asyncio.CancelledError:
        await asyncio.sleep(1)
        return "cancelled"


@workflow.defn
async def cancelled_and_awaited() -> str:
    handle = greet.with_options(cancellation_type="wait_cancellation_completed").start("x")
    await asyncio.sleep(1)
    handle.cancel()
    try:
        return await handle
    except asyncio.CancelledError:
        return "cancelled"


@workflow.defn
async def abandoned() -> str:
    handle = greet.with_options(cancellation_type="abandon").start("x")
    await asyncio.sleep(1)
    handle.cancel()
    await asyncio.sleep(1)
    return str(handle.cancelled())


@workflow.defn
async def timed_out() -> str:
    try:
        async with asyncio.timeout(5):
            return await greet("x")
    except TimeoutError:
        return "too slow"


@workflow.defn
async def waited() -> list[str]:
    first, second = greet.start("a"), greet.start("b")
    done, _ = await asyncio.wait([first, second])
    return [one.result() for one in done]


def test_a_result_is_the_argument_of_the_next() -> None:
    """Activities run one after the other, numbered in order."""
    service = Service(sequence, "Ada")
    assert ["ScheduleActivityTask"] == names(service.turn())
    service.complete("1", "one")
    (second,) = service.turn()
    assert isinstance(second, cmd.ScheduleActivityTask)
    assert ("2", b'["one"]') == (second.activity_id, bytes(second.input))
    service.complete("2", "two")
    assert ["CompleteWorkflowExecution"] == names(service.turn())
    assert "two" == service.result()
    service.check()


def test_results_that_arrive_in_any_order_find_their_calls() -> None:
    """Three at once are told apart by their event ids."""
    service = Service(parallel)
    assert 3 == len(service.turn())
    service.complete("3", "c")
    service.complete("1", "a")
    assert [] == service.turn()
    service.complete("2", "b")
    service.turn()
    assert ["a", "b", "c"] == service.result()
    service.check()


def test_a_failed_activity_raises_its_tree() -> None:
    """The error says which activity failed and why; its cause is what it raised."""
    service = Service(caught)
    service.turn()
    service.fail("1")
    service.turn()
    assert ["greet", "1", "MAXIMUM_ATTEMPTS_REACHED", "ValueError"] == service.result()
    service.check()


def test_options_travel_with_the_command() -> None:
    """An id, a queue and a summary of one's own are in the command; numbers go on counting."""
    service = Service(named)
    (first,) = service.turn()
    assert isinstance(first, cmd.ScheduleActivityTask)
    assert ("mine", "other", "says hello") == (first.activity_id, first.task_queue, first.summary)
    service.complete("mine", "x")
    (second,) = service.turn()
    assert isinstance(second, cmd.ScheduleActivityTask)
    assert ("2", "count") == (second.activity_id, second.activity_type)
    service.check()


def test_an_activity_cancelled_before_it_was_sent_never_was() -> None:
    """Scheduled and cancelled in one turn, it leaves no command."""
    service = Service(cancelled_at_once)
    assert ["StartTimer"] == names(service.turn())
    service.fire_timer()
    service.turn()
    assert "True" == service.result()
    service.check()


def test_try_cancel_asks_and_does_not_wait() -> None:
    """The await ends at once; what comes of the activity is ignored."""
    service = Service(cancelled_later)
    service.turn()
    service.fire_timer(1)
    commands = service.turn()
    assert ["RequestCancelActivityTask", "StartTimer"] == names(commands)
    assert cmd.RequestCancelActivityTask(scheduled_event_id=service.scheduled("1")) == commands[0]
    service.complete("1", "late")
    service.fire_timer(2)
    service.turn()
    assert "cancelled" == service.result()
    service.check()


def test_wait_cancellation_completed_waits_for_the_end() -> None:
    """The await ends when the activity does, with what came of it."""
    for close, expected in ((Service.canceled, "cancelled"), (lambda s: s.complete("1", "done"), "done")):
        service = Service(cancelled_and_awaited)
        service.turn()
        service.fire_timer(1)
        assert ["RequestCancelActivityTask"] == names(service.turn())
        close(service)
        service.turn()
        assert expected == service.result()
        service.check()


def test_an_abandoned_activity_is_not_asked() -> None:
    """Nobody tells the activity; its result is ignored."""
    service = Service(abandoned)
    service.turn()
    service.fire_timer(1)
    assert ["StartTimer"] == names(service.turn())
    service.complete("1", "late")
    service.fire_timer(2)
    service.turn()
    assert "True" == service.result()
    service.check()


def test_a_timeout_of_asyncio_cancels_the_activity() -> None:
    """`asyncio.timeout` is a durable timer, and its end asks the activity to stop."""
    service = Service(timed_out)
    assert ["StartTimer", "ScheduleActivityTask"] == names(service.turn())
    service.fire_timer(1)
    assert ["RequestCancelActivityTask", "CompleteWorkflowExecution"] == names(service.turn())
    assert "too slow" == service.result()
    service.check()


def test_a_result_in_time_cancels_the_timer() -> None:
    """The timer of a timeout that was not needed is cancelled."""
    service = Service(timed_out)
    service.turn()
    service.complete("1", "quick")
    assert ["CancelTimer", "CompleteWorkflowExecution"] == names(service.turn())
    service.check()


def test_sets_of_handles_iterate_in_order_of_creation() -> None:
    """What `asyncio.wait` returns is in order, whatever came first."""
    service = Service(waited)
    service.turn()
    service.complete("2", "b")
    service.complete("1", "a")
    service.turn()
    assert ["a", "b"] == service.result()
    service.check()


@pytest.mark.parametrize("turns", [1, 2])
def test_an_evicted_run_goes_on_after_a_replay(turns: int) -> None:
    """A worker that has to replay the whole history gives the same next commands."""
    service = Service(sequence, "Ada")
    service.turn()
    service.complete("1", "one")
    if turns == 2:
        service.turn()
        service.complete("2", "two")
    service.evict()
    assert [["ScheduleActivityTask"], ["CompleteWorkflowExecution"]][turns - 1] == names(service.turn())
    service.check()
