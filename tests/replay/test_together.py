"""A cancellation that comes in one activation with the end of what is waited for: the order of history decides."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from tests.replay import others
from tests.replay.service import Service, names


@activity.defn(start_to_close_timeout=timedelta(minutes=1))
async def work() -> str:
    return ""


@workflow.defn
async def child() -> str:
    return ""


@workflow.defn
async def sleeps() -> str:
    await workflow.sleep(5)
    return "slept"


@workflow.defn
async def sleeps_by_asyncio() -> str:
    await asyncio.sleep(5)
    return "slept"


@workflow.defn
async def works() -> str:
    return await work()


@workflow.defn
async def works_to_the_end() -> str:
    return await work.with_options(cancellation_type="wait_cancellation_completed")()


@workflow.defn
async def has_child() -> str:
    return await child.with_options(id="c")()


@workflow.defn
async def tries_child() -> str:
    return await child.with_options(id="c", cancellation_type="try_cancel")()


@workflow.defn
async def waits() -> str:
    ready = False

    @workflow.signal(name="ready")
    def _ready() -> None:
        nonlocal ready
        ready = True

    await workflow.wait_condition(lambda: ready)
    return "ready"


def fire(service: Service) -> None:
    service.fire_timer()


def complete(service: Service) -> None:
    service.complete("1", "done")


def complete_child(service: Service) -> None:
    others.start(service)
    others.complete(service, "c", "done")


def refuse_child(service: Service) -> None:
    others.refuse(service)


def signal(service: Service) -> None:
    service.signal("ready")


# The workflow, what ends its wait, and how it closes when the cancellation came first.
CASES: list[tuple[Any, Callable[[Service], None], str]] = [
    (sleeps, fire, "CancelWorkflowExecution"),
    (sleeps_by_asyncio, fire, "CancelWorkflowExecution"),
    (works, complete, "CancelWorkflowExecution"),
    (works_to_the_end, complete, "CompleteWorkflowExecution"),
    (has_child, complete_child, "CompleteWorkflowExecution"),
    (has_child, refuse_child, "FailWorkflowExecution"),
    (tries_child, complete_child, "CancelWorkflowExecution"),
    (waits, signal, "CancelWorkflowExecution"),
]


@pytest.mark.parametrize(("parent", "end", "closes"), CASES, ids=lambda one: getattr(one, "name", ""))
def test_a_cancellation_before_the_end(parent: Any, end: Callable[[Service], None], closes: str) -> None:
    """Nothing is asked of what has ended: the service would write nothing, and a replay would not agree."""
    service = Service(parent)
    service.turn()
    service.request_cancel()
    end(service)
    assert [closes] == names(service.turn())
    service.check()


@pytest.mark.parametrize(("parent", "end", "closes"), CASES, ids=lambda one: getattr(one, "name", ""))
def test_a_cancellation_after_the_end(parent: Any, end: Callable[[Service], None], closes: str) -> None:
    """What is waited for has ended, and the workflow is told of the cancellation all the same."""
    service = Service(parent)
    service.turn()
    end(service)
    service.request_cancel()
    assert ["CancelWorkflowExecution"] == names(service.turn())
    service.check()
