"""Local activities: told to the worker, recorded as markers, replayed from them."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from perdure import activity, workflow
from perdure.exceptions import ActivityError
from perdure_proto import commands as cmd
from perdure_proto.failures import ApplicationFailure, CanceledFailure, Failure
from tests.replay.service import Service, names


@activity.defn
async def rate(currency: str) -> float:
    return 0.0


@workflow.defn
async def converts() -> list[float]:
    return [await rate.local("EUR"), await rate.local("NOK")]


@workflow.defn
async def two_at_once() -> list[str]:
    order: list[str] = []

    async def ask(currency: str) -> None:
        await rate.local(currency)
        order.append(currency)
        await asyncio.sleep(1)

    await asyncio.gather(ask("EUR"), ask("NOK"))
    return order


@workflow.defn
async def caught() -> str:
    try:
        await rate.local("XXX")
    except ActivityError as error:
        return f"{error.activity_type} {error.activity_id} {error.cause}"
    return ""


@workflow.defn
async def impatient(kind: Any) -> str:
    local = rate.with_options(cancellation_type=kind)
    task = asyncio.ensure_future(local.local("EUR"))
    try:
        async with asyncio.timeout(5):
            await task
    except TimeoutError:
        return "too slow"
    return "done"


@workflow.defn
async def clock() -> float:
    before = workflow.time()
    await rate.local("EUR")
    return workflow.time() - before


def test_the_worker_is_told_once() -> None:
    """Each local activity is told when it is asked for; its result goes on within the task."""
    service = Service(converts)
    task = service.task()
    outcome = service.outcome = service.instance.activate(task)
    assert (["1"], 1) == ([one.activity_id for one in outcome.local_activities], outcome.local_pending)
    service.end_local("1", 1.5)
    assert ["2"] == [one.activity_id for one in service.outcome.local_activities]
    service.end_local("2", 2.5)
    assert 0 == service.outcome.local_pending
    assert ["RecordMarker", "RecordMarker", "CompleteWorkflowExecution"] == names(service.finish(task))
    assert [1.5, 2.5] == service.result()
    service.check()


def test_the_order_of_ends_is_the_order_of_markers() -> None:
    """Whatever ends first goes on first, on replay too."""
    service = Service(two_at_once)
    task = service.task()
    service.outcome = service.instance.activate(task)
    service.end_local("2", 1.0)
    service.end_local("1", 1.0)
    commands = service.finish(task)
    assert ["RecordMarker", "StartTimer", "RecordMarker", "StartTimer"] == names(commands)
    service.check()
    service.evict()
    service.fire_timer(1)
    service.fire_timer(2)
    service.turn()
    assert ["NOK", "EUR"] == service.result()
    service.check()


def test_a_failure_is_recorded_and_raised() -> None:
    """The last attempt's failure is the cause."""
    service = Service(caught)
    task = service.task()
    service.outcome = service.instance.activate(task)
    service.end_local("1", failure=Failure(message="unknown", info=ApplicationFailure(type="KeyError")))
    service.finish(task)
    assert "rate 1 KeyError: unknown" == service.result()
    service.check()


def test_a_long_one_outlives_its_task() -> None:
    """The task is completed to keep it alive; the result comes in the next one, with its time."""
    service = Service(clock)
    service.turn()
    service.instance.end_turn()
    task = service.task()
    service.outcome = service.instance.activate(task)
    assert [] == service.outcome.local_activities
    service.end_local("1", 1.0)
    assert ["RecordMarker", "CompleteWorkflowExecution"] == names(service.finish(task))
    assert 1.0 == service.result()
    service.check()


def test_a_result_between_two_tasks_is_kept() -> None:
    """What ends while no task is open is told to the workflow in the next."""
    service = Service(clock)
    service.turn()
    service.instance.end_turn()
    service.end_local("1", 1.0)
    assert ["RecordMarker", "CompleteWorkflowExecution"] == names(service.turn())
    assert 1.0 == service.result()
    service.check()


def test_one_without_a_marker_runs_again() -> None:
    """A worker that replays starts what history does not show as ended."""
    service = Service(converts)
    service.turn()
    service.instance.end_turn()
    service.evict()
    task = service.task()
    outcome = service.instance.activate(task)
    assert ["1"] == [one.activity_id for one in outcome.local_activities]
    service.sent = task.started_event_id


@pytest.mark.parametrize("kind", ["try_cancel", "abandon"])
def test_a_cancelled_one_leaves_no_marker(kind: str) -> None:
    """The code that cancels it does so again on replay; what comes of it is ignored."""
    service = Service(impatient, kind)
    service.turn()
    service.instance.end_turn()
    service.fire_timer()
    task = service.task()
    outcome = service.outcome = service.instance.activate(task)
    assert ["1"] * (kind == "try_cancel") == outcome.local_cancelled
    assert ["CompleteWorkflowExecution"] == names(service.finish(task))
    service.end_local("1", 1.0)
    assert "too slow" == service.result()
    service.check()


def test_one_whose_end_is_awaited_says_how_it_ended() -> None:
    """With `wait_cancellation_completed` the marker decides."""
    service = Service(impatient, "wait_cancellation_completed")
    service.turn()
    service.instance.end_turn()
    service.fire_timer()
    task = service.task()
    outcome = service.outcome = service.instance.activate(task)
    assert (["1"], 1) == (outcome.local_cancelled, outcome.local_pending)
    service.end_local("1", failure=Failure(message="Cancelled", info=CanceledFailure()))
    commands = service.finish(task)
    assert ["RecordMarker", "CompleteWorkflowExecution"] == names(commands)
    assert isinstance(commands[0], cmd.RecordMarker)
    assert "too slow" == service.result()
    service.check()


@workflow.defn
async def patient(kind: Any = "try_cancel", seconds: float = 3600.0) -> str:
    """Asks a local activity that may back off, and something else beside it."""
    options = rate.with_options(cancellation_type=kind, schedule_to_close_timeout=timedelta(minutes=10))
    task = asyncio.ensure_future(options.local("EUR"))
    try:
        async with asyncio.timeout(seconds):
            return str(await task)
    except TimeoutError:
        return "too slow"


FAILED = Failure(message="again", info=ApplicationFailure(type="Busy"))


def backed_off(service: Service, attempt: int, seconds: float) -> list[cmd.AnyCommand]:
    """A turn in which the local activity ends with a long pause."""
    task = service.task()
    service.outcome = service.instance.activate(task)
    service.end_local("1", failure=FAILED, attempt=attempt, backoff=timedelta(seconds=seconds))
    return service.finish(task)


@pytest.mark.parametrize("cached", [True, False])
def test_a_long_pause_is_a_durable_timer(cached: bool) -> None:
    """The marker says which attempt failed and for how long it pauses; the next one has what time is left."""
    service = Service(patient)
    commands = backed_off(service, 3, 120)
    assert ["StartTimer", "RecordMarker", "StartTimer"] == names(commands)
    assert isinstance(commands[1], cmd.RecordMarker)
    details = msgspec.json.decode(commands[1].details)
    assert ("1", 3, "PT120S") == (details["activity_id"], details["attempt"], details["backoff"])
    assert service.outcome is not None
    assert 0 == service.outcome.local_pending
    service.check()
    if not cached:
        service.evict()
    service.fire_timer(2)
    task = service.task()
    service.outcome = service.instance.activate(task)
    (again,) = service.outcome.local_activities
    assert ("1", 4) == (again.activity_id, again.attempt)
    assert again.schedule_to_close_timeout is not None
    assert timedelta(minutes=8) >= again.schedule_to_close_timeout
    service.end_local("1", 1.5, attempt=4)
    assert ["RecordMarker", "CancelTimer", "CompleteWorkflowExecution"] == names(service.finish(task))
    assert "1.5" == service.result()
    service.check()


def test_it_may_pause_again_and_again() -> None:
    """Each pause is a marker and a timer of its own, and a replay runs nothing of it."""
    service = Service(patient)
    backed_off(service, 1, 60)
    service.fire_timer(2)
    assert ["RecordMarker", "StartTimer"] == names(backed_off(service, 2, 60))
    service.fire_timer(3)
    service.evict()
    task = service.task()
    service.outcome = service.instance.activate(task)
    assert [3] == [one.attempt for one in service.outcome.local_activities]
    service.end_local("1", 1.0, attempt=3)
    service.finish(task)
    service.check()


@pytest.mark.parametrize("kind", ["try_cancel", "wait_cancellation_completed", "abandon"])
def test_one_that_pauses_is_cancelled_at_once(kind: str) -> None:
    """Nobody runs it, so nobody is waited for: its timer is cancelled."""
    service = Service(patient, kind, 5.0)
    backed_off(service, 1, 60)
    service.fire_timer(1)
    assert ["CancelTimer", "CompleteWorkflowExecution"] == names(service.turn())
    assert "too slow" == service.result()
    service.check()


def test_the_marker_says_why_it_was_not_tried_again() -> None:
    """The retry state of the error is that of the marker."""
    service = Service(gives_up)
    task = service.task()
    service.outcome = service.instance.activate(task)
    service.end_local("1", failure=FAILED, retry_state="TIMEOUT")
    service.finish(task)
    assert "TIMEOUT" == service.result()
    service.check()


@workflow.defn
async def gives_up() -> str:
    try:
        await rate.local("EUR")
    except ActivityError as error:
        return str(error.retry_state)
    return ""
