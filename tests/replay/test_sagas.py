"""Sagas: what is undone, in which order, and what the workflow ends with."""

import asyncio

import pytest

from perdure import activity, workflow
from perdure_proto import commands as cmd
from perdure_proto import events as ev
from tests.replay.service import Service, names


@activity.defn
async def book(what: str) -> None: ...


@activity.defn
async def cancel(what: str) -> None: ...


class FullError(Exception):
    pass


@workflow.defn
async def trip(parts: list[str], fails: str = "") -> None:
    async with workflow.saga() as saga:
        for part in parts:
            saga.compensate(cancel, part)
            await book(part)
        if fails == "value":
            raise FullError("no room")
        if fails == "program":
            _ = None.room  # type: ignore[attr-defined]
        if fails == "onward":
            workflow.continue_as_new([])


@workflow.defn
async def kinds() -> None:
    done: list[str] = []

    async def plain(what: str, *, loud: bool = False) -> None:
        done.append(what)
        await asyncio.sleep(1)
        done.append(what.upper() if loud else what)

    try:
        async with workflow.saga() as saga:
            saga.compensate(cancel.with_options(activity_id="mine"), "with options")
            saga.compensate(cancel.local, "local")
            saga.compensate(plain, "plain", loud=True)
            raise FullError("no room")
    except FullError:
        assert ["plain", "PLAIN"] == done


@workflow.defn
async def catches() -> str:
    try:
        async with workflow.saga() as saga:
            saga.compensate(cancel, "a")
            saga.compensate(cancel, "b")
            await book("c")
    except ExceptionGroup as group:
        kinds = {type(error).__name__ for error in group.exceptions}
        return f"{kinds} {len(group.exceptions)} errors, {group.message.partition('; and ')[2].partition(':')[0]}"
    return "nothing"


@workflow.defn
async def undoes_wrongly(repaired: bool) -> None:
    async def wrong() -> None:
        if not repaired:
            _ = None.room  # type: ignore[attr-defined]
        await cancel("b")

    async with workflow.saga() as saga:
        saga.compensate(cancel, "a")
        saga.compensate(wrong)
        saga.compensate(cancel, "c")
        raise FullError("no room")


@workflow.defn
async def in_time() -> str:
    try:
        async with asyncio.timeout(5):
            async with workflow.saga() as saga:
                saga.compensate(cancel, "a")
                raise FullError("no room")
    except TimeoutError:
        return "late"


def scheduled(service: Service) -> list[str]:
    """The inputs of the activities so far, in order."""
    return [f"{event.activity_type}{bytes(event.input).decode()}" for event in service.of(ev.ActivityTaskScheduled)]


def compensate(service: Service, *numbers: int) -> list[cmd.AnyCommand]:
    """Lets these activities complete, one by one; the commands of the last turn."""
    commands: list[cmd.AnyCommand] = []
    for number in numbers:
        service.complete(str(number))
        commands = service.turn()
    return commands


def test_nothing_is_undone_when_all_goes_well() -> None:
    """The block ends and its compensations are forgotten."""
    service = Service(trip, ["hotel"])
    service.turn()
    compensate(service, 1)
    assert ['book["hotel"]'] == scheduled(service)
    service.check()


def test_compensations_run_backwards() -> None:
    """One after the other, the last first; then the error of the block ends the workflow."""
    service = Service(trip, ["hotel", "car"], "value")
    service.turn()
    compensate(service, 1, 2)
    (command,) = compensate(service, 3, 4)
    assert ['book["hotel"]', 'book["car"]', 'cancel["car"]', 'cancel["hotel"]'] == scheduled(service)
    assert isinstance(command, cmd.FailWorkflowExecution)
    assert "no room" == command.failure.message
    service.check()


def test_a_step_that_failed_is_undone_too() -> None:
    """Its compensation was there before it, for it may have done its work."""
    service = Service(trip, ["hotel"])
    service.turn()
    service.fail("1")
    service.turn()
    assert ['book["hotel"]', 'cancel["hotel"]'] == scheduled(service)
    service.check()


def test_a_cancelled_block_is_undone() -> None:
    """And the workflow closes as cancelled."""
    service = Service(trip, ["hotel"])
    service.turn()
    service.request_cancel()
    assert ["RequestCancelActivityTask", "ScheduleActivityTask"] == names(service.turn())
    assert ["CancelWorkflowExecution"] == names(compensate(service, 2))
    service.check()


def test_compensations_are_shielded() -> None:
    """A cancellation that comes while they run is delivered after them."""
    service = Service(trip, ["hotel", "car"], "value")
    service.turn()
    compensate(service, 1, 2)
    service.request_cancel()
    assert [] == service.turn()
    assert ["CancelWorkflowExecution"] == names(compensate(service, 3, 4))
    assert 'cancel["hotel"]' == scheduled(service)[-1]
    service.check()


def test_a_timeout_during_compensation_is_not_lost() -> None:
    """It is a timeout when they are done."""
    service = Service(in_time)
    service.turn()
    service.fire_timer()
    assert [] == service.turn()
    compensate(service, 1)
    assert "late" == service.result()
    service.check()


def test_a_compensation_may_be_anything_to_await() -> None:
    """A plain `async def`, a local activity, an activity with options."""
    service = Service(kinds)
    service.turn()
    service.fire_timer()
    service.turn()
    service.end_local("1")
    (_, activity_command) = service.outcome.commands  # type: ignore[union-attr]
    assert isinstance(activity_command, cmd.ScheduleActivityTask)
    assert "mine" == activity_command.activity_id


def test_a_compensation_that_fails_keeps_none_from_running() -> None:
    """All errors go on together, that of the block first."""
    service = Service(catches)
    service.turn()
    for number in (1, 2, 3):
        service.fail(str(number))
        service.turn()
    assert ['book["c"]', 'cancel["b"]', 'cancel["a"]'] == scheduled(service)
    assert "{'ActivityError'} 3 errors, 2 of 2 compensations failed" == service.result()
    service.check()


def test_the_failure_names_the_compensations() -> None:
    """Nobody catches the group: what failed is in the workflow's message, the block's error is its cause."""
    service = Service(trip, ["hotel"], "value")
    service.turn()
    service.complete("1")
    service.turn()
    service.fail("2", message="hotel is closed")
    (command,) = service.turn()
    assert isinstance(command, cmd.FailWorkflowExecution)
    failure = command.failure
    assert "1 of 1 compensations failed: cancel: " in failure.message
    assert failure.cause is not None
    assert "no room" == failure.cause.message


def test_a_cancelled_block_with_a_failed_compensation_fails() -> None:
    """It is not closed as cancelled: somebody has to look."""
    service = Service(trip, ["hotel"])
    service.turn()
    service.request_cancel()
    service.turn()
    service.fail("2")
    assert ["FailWorkflowExecution"] == names(service.turn())
    service.check()


def test_a_program_error_undoes_nothing() -> None:
    """The workflow is parked and goes on with repaired code."""
    service = Service(trip, ["hotel"], "program")
    service.turn()
    service.complete("1")
    with pytest.raises(AttributeError, match="room"):
        service.turn()
    assert ['book["hotel"]'] == scheduled(service)


def test_a_program_error_in_a_compensation_parks_there() -> None:
    """What comes after it waits for repaired code too, so that a replay finds the same order."""
    service = Service(undoes_wrongly, False)
    service.turn()
    service.complete("1")
    with pytest.raises(AttributeError, match="room"):
        service.turn()
    assert ['cancel["c"]'] == scheduled(service)


def test_continue_as_new_undoes_nothing() -> None:
    """The block has not failed."""
    service = Service(trip, ["hotel"], "onward")
    service.turn()
    assert ["ContinueAsNewWorkflowExecution"] == names(compensate(service, 1))
    service.check()


def test_an_eviction_undoes_nothing() -> None:
    """A run that leaves memory in the middle of a block goes on elsewhere."""
    service = Service(trip, ["hotel", "car"], "value")
    service.turn()
    service.evict()
    service.complete("1")
    service.turn()
    service.evict()
    compensate(service, 2, 3, 4)
    assert ['book["hotel"]', 'book["car"]', 'cancel["car"]', 'cancel["hotel"]'] == scheduled(service)
