"""Timers: what asyncio waits for becomes durable."""

import asyncio
from datetime import timedelta

from perdure import workflow
from perdure_proto import commands as cmd
from tests.replay.service import EPOCH, Service, names


@workflow.defn
async def sleeper() -> list[float]:
    before = workflow.now()
    await asyncio.sleep(60)
    await workflow.sleep(timedelta(hours=1), summary="an hour")
    await asyncio.sleep(0)
    return [(workflow.now() - before).total_seconds(), workflow.time()]


@workflow.defn
async def started_and_cancelled() -> str:
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    return "done"


@workflow.defn
async def race() -> str:
    timers = {asyncio.create_task(asyncio.sleep(delay, str(delay))) for delay in (30, 10, 20)}
    done, rest = await asyncio.wait(timers, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.sleep(1)
    return ",".join([task.result() for task in done])


@workflow.defn
async def condition(limit: float) -> str:
    ready = False

    @workflow.signal
    def go() -> None:
        nonlocal ready
        ready = True

    try:
        await workflow.wait_condition(lambda: ready, timeout=limit)
    except TimeoutError:
        return "timed out"
    return "ready"


@workflow.defn
async def chained() -> list[str]:
    """Conditions that make each other true."""
    order: list[str] = []
    reached = 0

    async def wait_for(level: int) -> None:
        nonlocal reached
        await workflow.wait_condition(lambda: reached >= level)
        order.append(str(level))
        reached += 1

    waiting = [asyncio.create_task(wait_for(level)) for level in (2, 1, 0)]
    await asyncio.gather(*waiting)
    return order


def test_sleep_takes_workflow_time() -> None:
    """A sleep is a timer of its length, and time is that of the task."""
    service = Service(sleeper)
    assert [cmd.StartTimer(timer_id="1", start_to_fire_timeout=timedelta(minutes=1))] == service.turn()
    service.fire_timer(1)
    assert [cmd.StartTimer(timer_id="2", start_to_fire_timeout=timedelta(hours=1), summary="an hour")] == service.turn()
    service.fire_timer(2)
    service.turn()
    assert [3662.0, EPOCH.timestamp() + 3663.0] == service.result()
    service.check()


def test_a_timer_cancelled_before_it_was_sent_never_was() -> None:
    """Started and cancelled in one turn, it leaves no command."""
    service = Service(started_and_cancelled)
    assert ["CompleteWorkflowExecution"] == names(service.turn())
    service.check()


def test_timers_that_lost_a_race_are_cancelled_in_order() -> None:
    """The first that fires wins; the others are cancelled in order of creation."""
    service = Service(race)
    assert ["1", "2", "3"] == [one.timer_id for one in service.turn() if isinstance(one, cmd.StartTimer)]
    service.fire_timer(2)
    commands = service.turn()
    assert [cmd.CancelTimer(timer_id="1"), cmd.CancelTimer(timer_id="3")] == [
        one for one in commands if isinstance(one, cmd.CancelTimer)
    ]
    service.fire_timer(4)
    service.turn()
    assert "10" == service.result()
    service.check()


def test_a_condition_that_becomes_true_cancels_its_timeout() -> None:
    """The timer of a condition goes when the condition is met."""
    service = Service(condition, 10)
    assert ["StartTimer"] == names(service.turn())
    service.signal("go")
    assert ["CancelTimer", "CompleteWorkflowExecution"] == names(service.turn())
    assert "ready" == service.result()
    service.check()


def test_a_condition_can_time_out() -> None:
    """Where nothing made it true in time, TimeoutError is raised."""
    service = Service(condition, 10)
    service.turn()
    service.fire_timer()
    service.turn()
    assert "timed out" == service.result()
    service.check()


def test_a_signal_and_the_end_of_its_timeout_in_one_task() -> None:
    """What came first in history wins."""
    service = Service(condition, 10)
    service.turn()
    service.signal("go")
    service.fire_timer()
    service.turn()
    service.check()


def test_conditions_are_asked_until_none_becomes_true() -> None:
    """A condition that another one makes true is met in the same turn."""
    service = Service(chained)
    assert ["CompleteWorkflowExecution"] == names(service.turn())
    assert ["0", "1", "2"] == service.result()
    service.check()
