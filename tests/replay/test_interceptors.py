"""Interceptors of workflows: those that only look leave no trace in the log, and see replays as first runs."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from perdure import activity, workflow
from perdure_worker import (
    ExecuteWorkflowInput,
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    Replayer,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)
from perdure_worker.outcome import InstanceOptions
from perdure_worker.runtime import WorkflowInstance
from tests.replay.service import CONVERTER, RUN_ID, Service, names, update

seen: list[str] = []


class Looks(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        seen.append(f"run {list(input.args)} {workflow.is_replaying()}")
        return await super().execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        seen.append(f"{input.signal} {list(input.args)}")
        await super().handle_signal(input)

    async def handle_query(self, input: HandleQueryInput) -> Any:
        if input.query == "waits":
            await asyncio.sleep(0)  # virtual time
        return -await super().handle_query(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        seen.append(f"{input.update} {input.id}")
        return await super().handle_update_handler(input)


class Looking(Interceptor):
    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput, /
    ) -> type[WorkflowInboundInterceptor] | None:
        return Looks


class Breaks(WorkflowInboundInterceptor):
    def __init__(self, next: WorkflowInboundInterceptor) -> None:
        super().__init__(next)
        raise AttributeError("a mistake")


@activity.defn
async def step(value: int) -> int:
    return value


@workflow.defn
async def account(balance: int) -> int:
    done = False

    @workflow.update
    def put(amount: int) -> int:
        nonlocal balance
        balance += amount
        return balance

    @workflow.update
    async def take(amount: int) -> int:
        nonlocal balance
        balance -= await step(amount)
        return balance

    @workflow.signal
    def close() -> None:
        nonlocal done
        done = True

    @workflow.query
    def shown() -> int:
        return balance

    @workflow.query
    def waits() -> int:
        return balance

    await workflow.wait_condition(lambda: done)
    return balance


class Intercepted(Service):
    def new_instance(self) -> WorkflowInstance:
        options = InstanceOptions(converter=CONVERTER, interceptors=self.classes())
        return WorkflowInstance(self.workflow.definition, options, workflow_id="w-1", run_id=RUN_ID)

    def classes(self) -> tuple[type[WorkflowInboundInterceptor], ...]:
        return (Looks,)


def turns_of(service: Service) -> Sequence[list[str]]:
    """The same stimuli whatever stands around the code."""
    turns = [service.turn()]
    turns.append(service.turn(update("u-1", "take", 3), update("u-2", "put", 1)))
    service.complete("1", 3)
    service.signal("close")
    turns.append(service.turn())
    return [names(commands) for commands in turns]


def test_interceptors_that_look_change_no_history() -> None:
    """The commands are those of the bare workflow, and each history replays with and without them."""
    bare, intercepted = Service(account, 10), Intercepted(account, 10)
    assert turns_of(bare) == turns_of(intercepted)
    for interceptors in ([], [Looking()]):
        for events in (bare.events, intercepted.events):
            Replayer([account], interceptors=interceptors).replay(events)


def test_interceptors_see_each_message() -> None:
    """The run, its updates and its signals, in order, and again on replay."""
    service = Intercepted(account, 10)
    seen.clear()
    turns_of(service)
    first, seen[:] = list(seen), []
    assert ["run [10] False", "take u-1", "put u-2", "close []"] == first
    Replayer([account], interceptors=[Looking()]).replay(service.events)
    assert ["run [10] True", *first[1:]] == seen


def test_a_query_passes_through() -> None:
    """Its answer is what the interceptor makes of it, and one that waits is refused."""
    service = Intercepted(account, 10)
    service.turn()
    assert -10 == service.query("shown")
    with pytest.raises(AssertionError, match="handle_query"):
        service.query("waits")


def test_an_interceptor_that_breaks_fails_the_task() -> None:
    """The workflow is parked, as with a mistake of its own."""

    class Broken(Intercepted):
        def classes(self) -> tuple[type[WorkflowInboundInterceptor], ...]:
            return (Breaks,)

    with pytest.raises(AttributeError, match="a mistake"):
        Broken(account, 10).turn()
