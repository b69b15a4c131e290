"""Signals of channels pass the interceptors when they are taken: once, in the order of history, replayed alike."""

import asyncio
import contextlib
from contextvars import ContextVar

import pytest

from perdure import workflow
from perdure_proto import commands as cmd
from perdure_worker import (
    HandleSignalInput,
    Interceptor,
    Replayer,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)
from perdure_worker.outcome import InstanceOptions
from perdure_worker.runtime import WorkflowInstance
from tests.replay.service import CONVERTER, RUN_ID, Service

seen: list[str] = []
last: ContextVar[object] = ContextVar("last", default="nothing")


class Gate(WorkflowInboundInterceptor):
    """Keeps 13 back, refuses 0, doubles 21, and waits before it lets 5 pass."""

    async def handle_signal(self, input: HandleSignalInput) -> None:
        (value,) = input.args
        seen.append(f"{input.signal} {value}")
        last.set(value)
        match value:
            case 13:
                return
            case 0:
                raise ValueError("not 0")
            case 5:
                await asyncio.sleep(1)  # virtual time
            case 21:
                input.args = [42]
            case _:
                pass
        await super().handle_signal(input)
        assert value == last.get(), "what an interceptor sets stays its own"


class Gated(Interceptor):
    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput, /
    ) -> type[WorkflowInboundInterceptor] | None:
        return Gate


class Intercepted(Service):
    def new_instance(self) -> WorkflowInstance:
        options = InstanceOptions(converter=CONVERTER, interceptors=(Gate,))
        return WorkflowInstance(self.workflow.definition, options, workflow_id="w-1", run_id=RUN_ID)

    def replayed(self) -> list[str]:
        """What the interceptor sees when the whole history is replayed."""
        seen.clear()
        Replayer([self.workflow], interceptors=[Gated()]).replay(self.events)
        return list(seen)


@workflow.defn
async def takes(count: int) -> list[object]:
    channel = workflow.signal_channel("items", int)
    return [*[await channel.receive() for _ in range(count)], last.get()]


@workflow.defn
async def takes_at_once() -> list[object]:
    await asyncio.sleep(1)
    channel = workflow.signal_channel("items", int)
    taken: list[object] = []
    with contextlib.suppress(asyncio.QueueEmpty):
        while True:
            taken.append(channel.receive_nowait())
    return [*taken, last.get()]


@workflow.defn
async def gives_back() -> list[int]:
    """Three receive; the first two are cancelled, before and while an interceptor has their value."""
    channel = workflow.signal_channel("items", int)
    first, second = asyncio.create_task(channel.receive()), asyncio.create_task(channel.receive())

    @workflow.signal
    def stop(_: int) -> None:
        first.cancel()
        second.cancel()

    await asyncio.wait([first, second])
    return [await channel.receive(), await channel.receive()]


@workflow.defn
async def takes_one_and_goes_on() -> None:
    await workflow.signal_channel("items", int).receive()
    await asyncio.sleep(1)
    workflow.continue_as_new()


@pytest.fixture(autouse=True)
def forget() -> None:
    seen.clear()


def test_they_pass_in_the_order_of_history() -> None:
    """One by one as they are taken; what the interceptor makes of a value is what the channel gives."""
    service = Intercepted(takes, 3)
    service.turn()
    for item in (1, 21, 3):
        service.signal("items", item)
    service.turn()
    assert [1, 42, 3, "nothing"] == service.result()
    assert ["items 1", "items 21", "items 3"] == service.replayed()


def test_one_that_is_kept_back_is_used_up() -> None:
    """Whoever received it goes on waiting, before others that came later."""
    service = Intercepted(takes, 2)
    service.turn()
    for item in (13, 1, 13, 13, 2):
        service.signal("items", item)
    service.turn()
    assert [1, 2, "nothing"] == service.result()
    assert ["items 13", "items 1", "items 13", "items 13", "items 2"] == service.replayed()


def test_an_interceptor_may_wait() -> None:
    """The receive takes as long; the wait is durable."""
    service = Intercepted(takes, 2)
    service.turn()
    service.signal("items", 5)
    service.signal("items", 6)
    (timer,) = service.turn()
    assert isinstance(timer, cmd.StartTimer)
    service.fire_timer()
    service.turn()
    assert [5, 6, "nothing"] == service.result()
    assert ["items 5", "items 6"] == service.replayed()


def test_an_error_comes_out_of_receive() -> None:
    """It fails the workflow unless that catches it."""
    service = Intercepted(takes, 1)
    service.turn()
    service.signal("items", 0)
    (command,) = service.turn()
    assert isinstance(command, cmd.FailWorkflowExecution)
    assert "not 0" == command.failure.message
    assert ["items 0"] == service.replayed()


def test_receive_nowait_passes_them_too() -> None:
    """What is kept back is not there."""
    service = Intercepted(takes_at_once)
    service.turn()
    for item in (13, 21, 13):
        service.signal("items", item)
    service.fire_timer()
    service.turn()
    assert [42, "nothing"] == service.result()
    assert ["items 13", "items 21", "items 13"] == service.replayed()


def test_receive_nowait_cannot_wait() -> None:
    """The mistake parks the workflow, and says whose it is."""
    service = Intercepted(takes_at_once)
    service.turn()
    service.signal("items", 5)
    service.fire_timer()
    with pytest.raises(TypeError, match=r"Gate\.handle_signal\(\) waits"):
        service.turn()


def test_what_is_given_back_has_not_passed() -> None:
    """A receive that is cancelled before its step passes nothing; one that is cancelled in the wait begins anew."""
    service = Intercepted(gives_back)
    service.turn()
    service.signal("items", 5)
    service.turn()
    service.signal("stop", 1)
    service.signal("items", 6)
    service.turn()
    service.fire_timer(2)
    service.turn()
    assert [5, 6] == service.result()
    assert ["items 5", "stop 1", "items 5", "items 6"] == service.replayed()


def test_what_nobody_takes_passes_in_the_next_run() -> None:
    """It moves on unseen."""
    service = Intercepted(takes_one_and_goes_on)
    service.turn()
    service.signal("items", 1)
    left = service.signal("items", 2)
    service.turn()
    service.fire_timer()
    (command,) = service.turn()
    assert isinstance(command, cmd.ContinueAsNewWorkflowExecution)
    assert ((left,), ["items 1"]) == (command.unclaimed_signals, service.replayed())
