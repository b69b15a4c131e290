"""A workflow that does a little of everything that is traced."""

import asyncio
from datetime import timedelta
from typing import Any

from opentelemetry import trace

from perdure import activity, workflow
from perdure.contrib.opentelemetry import completed_span
from tests.programs import signs

MINUTE = timedelta(minutes=1)

approve = workflow.Signal[None]("approve")
add = workflow.Update[[int], int]("add")
total = workflow.Query[[], int]("total")


@activity.defn(start_to_close_timeout=MINUTE)
async def charge(amount: int) -> int:
    return amount


@activity.defn(start_to_close_timeout=MINUTE)
def trace_seen() -> str:
    """In a thread, the span of the attempt is current."""
    return f"{trace.get_current_span().get_span_context().trace_id:032x}"


@activity.defn(start_to_close_timeout=MINUTE, retry_policy="none")
async def declines() -> None:
    raise ValueError("no funds")


@activity.defn(start_to_close_timeout=MINUTE)
async def asks() -> str:
    """Is ended from elsewhere."""
    signs.give(f"{activity.info().activity_id} left")
    activity.raise_complete_async()


@workflow.defn
async def receives() -> int:
    """A channel, and a waitpoint."""
    item = await workflow.signal_channel("items", int).receive()
    wait = workflow.waitpoint("more", int)

    @workflow.query
    def token() -> str:
        return wait.token

    return item + await wait


@workflow.defn
async def updated() -> None:
    """Waits for one update."""
    done = False

    @workflow.update
    def once() -> None:
        nonlocal done
        done = True

    await workflow.wait_condition(lambda: done)


@workflow.defn
async def order(runs: int) -> str:
    """Waits for an approval in its first run, and goes on in another."""
    if runs > 1:
        await is_approved()
        workflow.continue_as_new(runs - 1)
    await charge.local(3)
    return await trace_seen()


async def is_approved() -> None:
    approved, paid = False, 0

    @approve.handler
    def _() -> None:
        nonlocal approved
        completed_span("approved", attributes={"by": "Ada"})
        approved = True

    @add.handler
    async def _(amount: int) -> int:
        nonlocal paid
        paid += await charge(amount)
        return paid

    @add.validator
    def _(amount: int) -> None:
        if amount < 0:
            raise ValueError("negative")

    @total.handler
    def _() -> int:
        return paid

    await asyncio.sleep(0.01)
    await workflow.wait_condition(lambda: approved)


@workflow.defn
async def has_a_child() -> None:
    child = await order.start(2)
    await child.signal(approve)
    await child


@workflow.defn
async def is_declined() -> None:
    await declines()


WORKFLOWS: list[workflow.Workflow[..., Any]] = [order, is_declined, has_a_child, receives, updated]
ACTIVITIES: list[object] = [charge, trace_seen, declines, asks]
