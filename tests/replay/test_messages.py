"""Signals: handlers, channels, and what nobody took."""

import asyncio
import logging
from dataclasses import dataclass

import pytest

from perdure import workflow
from perdure_proto import commands as cmd
from tests.replay.service import Service, names


@dataclass
class Approval:
    ok: bool


approve = workflow.Signal[Approval]("approve")


@workflow.defn
async def collector(count: int) -> list[str]:
    seen: list[str] = ["body"]

    @workflow.signal
    async def add(value: str) -> None:
        seen.append(value)
        await asyncio.sleep(0)
        seen.append(value.upper())

    @workflow.signal
    def now(value: str) -> None:
        seen.append(value)

    await workflow.wait_condition(lambda: len(seen) >= count)
    await workflow.wait_condition(workflow.all_handlers_finished)
    return seen


@workflow.defn
async def late_handler() -> list[str]:
    seen: list[str] = []
    await asyncio.sleep(1)

    @workflow.signal
    def add(value: str) -> None:
        seen.append(value)

    seen.append("declared")
    await workflow.wait_condition(lambda: len(seen) == 3)
    return seen


@workflow.defn
async def dynamic() -> list[str]:
    seen: list[str] = []

    @workflow.signal(dynamic=True)
    def any_signal(name: str, args: list[object]) -> None:
        seen.append(f"{name}{args}")

    await workflow.wait_condition(lambda: len(seen) == 2)
    return seen


@workflow.defn
async def approval() -> bool:
    decision = await approve.channel().receive()
    return decision.ok


@workflow.defn
async def mailbox(count: int) -> list[int]:
    channel = workflow.signal_channel("items", int)
    taken = []
    async for item in channel:
        taken.append(item)
        if len(taken) == count:
            break
    return taken


@workflow.defn
async def impatient() -> list[object]:
    channel = workflow.signal_channel("items", int)
    seen: list[object] = []
    try:
        await channel.receive(timeout=5)
    except TimeoutError:
        seen.append("timeout")
    try:
        channel.receive_nowait()
    except asyncio.QueueEmpty:
        seen.append("empty")
    seen.append(await channel.receive())
    return seen


@workflow.defn
async def both() -> None:
    workflow.signal_channel("x", int)

    @workflow.signal
    def x(value: int) -> None: ...


@workflow.defn
async def cancelled_receive() -> list[int]:
    """The receive is cancelled in the very turn in which its value came."""
    channel = workflow.signal_channel("items", int)
    first = asyncio.create_task(channel.receive())

    @workflow.signal
    def stop() -> None:
        first.cancel()

    await asyncio.wait([first])
    return [channel.receive_nowait(), channel.receive_nowait()]


@workflow.defn
async def cancelled_receivers() -> list[int]:
    """Several receives are cancelled in the very turn in which their values came."""
    channel = workflow.signal_channel("items", int)
    tasks = [asyncio.create_task(channel.receive()) for _ in range(3)]

    @workflow.signal
    def stop() -> None:
        for task in tasks:
            task.cancel()

    await asyncio.wait(tasks)
    return [channel.receive_nowait() for _ in range(4)]


@workflow.defn
async def generation(number: int) -> None:
    channel = workflow.signal_channel("items", int)
    await channel.receive()
    await asyncio.sleep(1)
    workflow.continue_as_new(number + 1)


@workflow.defn
async def failing_handler() -> None:
    @workflow.signal
    async def explode() -> None:
        raise ValueError("no")

    await asyncio.sleep(1)


@workflow.defn
async def wrong_handler() -> None:
    @workflow.signal
    def explode() -> None:
        _ = None.missing  # type: ignore[attr-defined]

    await asyncio.sleep(1)


def test_handlers_run_in_the_order_of_history() -> None:
    """Async and plain handlers begin in order of arrival, each in a step of its own."""
    service = Service(collector, 6)
    service.turn()
    service.signal("add", "a")
    service.signal("now", "b")
    service.signal("add", "c")
    service.turn()
    assert ["body", "a", "b", "c", "A", "C"] == service.result()
    service.check()


def test_the_body_runs_before_the_first_signal() -> None:
    """Signals that came with the start are delivered when the body rests."""
    service = Service(collector, 3)
    service.signal("add", "a")
    service.turn()
    assert ["body", "a", "A"] == service.result()
    service.check()


def test_a_signal_waits_for_its_handler() -> None:
    """What came early is delivered when the handler is there, never inline."""
    service = Service(late_handler)
    service.signal("add", "a")
    service.turn()
    service.signal("add", "b")
    service.fire_timer()
    service.turn()
    assert ["declared", "a", "b"] == service.result()
    service.check()


def test_a_dynamic_handler_takes_the_rest() -> None:
    """It gets the name and the plain arguments."""
    service = Service(dynamic)
    service.signal("x", 1)
    service.signal("y", "z", True)
    service.turn()
    assert ["x[1]", "y['z', True]"] == service.result()
    service.check()


def test_a_channel_gives_typed_values() -> None:
    """A dataclass comes back as itself."""
    service = Service(approval)
    service.turn()
    service.signal("approve", Approval(ok=True))
    service.turn()
    assert service.result() is True
    service.check()


def test_a_channel_keeps_what_came_before_it_was_opened() -> None:
    """A mailbox holds everything of its name, in order."""
    service = Service(mailbox, 3)
    service.signal("items", 1)
    service.signal("items", 2)
    assert [] == service.turn()
    service.signal("items", 3)
    service.turn()
    assert [1, 2, 3] == service.result()
    service.check()


def test_a_receive_that_timed_out_loses_nothing() -> None:
    """The value that comes later is for the next receive."""
    service = Service(impatient)
    service.turn()
    service.fire_timer()
    service.turn()
    service.signal("items", 7)
    service.turn()
    assert ["timeout", "empty", 7] == service.result()
    service.check()


def test_a_cancelled_receive_gives_its_value_back() -> None:
    """A value that was handed out but not taken goes back to the front."""
    service = Service(cancelled_receive)
    service.turn()
    service.signal("stop")
    service.signal("items", 1)
    service.signal("items", 2)
    service.turn()
    assert [1, 2] == service.result()
    service.check()


def test_what_several_receives_give_back_keeps_its_order() -> None:
    """The mailbox is as if nobody had asked."""
    service = Service(cancelled_receivers)
    service.turn()
    service.signal("stop")
    for item in (1, 2, 3, 4):
        service.signal("items", item)
    service.turn()
    assert [1, 2, 3, 4] == service.result()
    service.check()


def test_a_value_that_does_not_fit_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged as an error, once, and the workflow goes on."""
    service = Service(mailbox, 1)
    service.turn()
    service.signal("items", "seven")
    service.signal("items", 7)
    with caplog.at_level(logging.ERROR, "perdure.workflow"):
        service.turn()
        service.check()
    assert [7] == service.result()
    assert ["signal 'items' (event 5) is dropped: argument 1: Expected `int`, got `str`"] == caplog.messages


def test_a_handler_and_a_channel_of_one_name_park_the_workflow() -> None:
    """It is a mistake of the program, and says so."""
    with pytest.raises(TypeError, match="signal 'x' has a channel"):
        Service(both).turn()


def test_signals_that_nobody_took_move_on() -> None:
    """Continue-as-new names the events that are to be recorded again, in order."""
    service = Service(generation, 1)
    other = service.signal("other", 1)
    service.signal("items", 1)
    left = service.signal("items", 2)
    service.turn()
    service.fire_timer()
    (command,) = service.turn()
    assert isinstance(command, cmd.ContinueAsNewWorkflowExecution)
    assert ((other, left), b"[2]") == (command.unclaimed_signals, bytes(command.input))
    service.check()


def test_an_error_in_a_signal_handler_fails_the_workflow() -> None:
    """A plain exception of a handler is one of the workflow."""
    service = Service(failing_handler)
    service.turn()
    service.signal("explode")
    (command,) = service.turn()
    assert isinstance(command, cmd.FailWorkflowExecution)
    assert "no" == command.failure.message
    service.check()


def test_a_program_error_in_a_signal_handler_parks_the_workflow() -> None:
    """One of the six fails the task."""
    service = Service(wrong_handler)
    service.turn()
    service.signal("explode")
    with pytest.raises(AttributeError, match="missing"):
        service.turn()


def test_a_closed_run_issues_nothing_more() -> None:
    """What runs after the closing command leaves no command."""

    @workflow.defn
    async def leaves() -> None:
        async def forget() -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(5)

        task = asyncio.create_task(forget())
        await asyncio.sleep(0)
        assert not task.done()

    service = Service(leaves)
    assert ["CompleteWorkflowExecution"] == names(service.turn())
    service.check()
