"""What needs more than a `stack` in the battery of the model, as functions that drive workflows to their end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from perdure_proto.options import RetryPolicy
from perdure_worker import Worker
from tests.integration.model import test_external
from tests.integration.model.stack import Stack
from tests.postgres import execute
from tests.programs import (
    model_children,
    model_eager,
    model_going_back,
    model_hosts,
    model_interceptors,
    model_tracing,
    model_transactions,
    signs,
)

Drive = Callable[..., Awaitable[None]]


async def a_message_arrives_or_finds_nobody(stack: Stack, what: str) -> None:
    """At a workflow that waits, then at one that is closed."""
    workflow_id = stack.new_id()
    other = await stack.client.start_workflow(
        model_children.waits, "returns", id=workflow_id, task_queue=stack.task_queue
    )
    await signs.seen(workflow_id)
    assert "there" == await test_external.told(stack, workflow_id, what)
    await other.result()
    assert test_external.NOT_FOUND == await test_external.told(stack, workflow_id, what)


async def eager_starts_and_turns(stack: Stack) -> None:
    """With local activities between, and over a chain."""
    queue = stack.task_queue
    local = model_eager.with_local
    await stack.client.execute_workflow(local, 3, task_queue=queue, request_eager_start=True)
    await stack.client.execute_workflow(model_eager.chained, 3, task_queue=queue, request_eager_start=True)


async def back_to_the_last_task(stack: Stack) -> None:
    """And then to the first, with what was told to both runs."""
    handle = await stack.client.start_workflow(model_going_back.counts, id=stack.new_id(), task_queue=stack.task_queue)
    await handle.execute_update(model_going_back.grow, 1)
    again = await handle.reset("last")
    await again.signal(model_going_back.add, 2)
    last = await again.reset("first")
    await last.signal(model_going_back.finish)
    assert 3 == await last.result()


async def paused_before_the_first_task(stack: Stack) -> None:
    """It begins when the pause is over, with what it was told meanwhile."""
    handle = await stack.client.start_workflow(model_going_back.counts, id=stack.new_id(), task_queue="later")
    await handle.pause()
    await handle.signal(model_going_back.add, 2)
    await handle.unpause()
    async with Worker(stack.client, task_queue="later", workflows=model_going_back.WORKFLOWS):
        await handle.signal(model_going_back.finish)
        assert 2 == await handle.result()


async def activities_are_controlled(stack: Stack) -> None:
    """Paused, reset and given other options before a worker has them: of that nothing is in the history."""
    options: dict[str, Any] = {"task_queue": "hands", "workflows": model_going_back.WORKFLOWS}
    handle = await stack.client.start_workflow(model_going_back.two_steps, id=stack.new_id(), task_queue="hands")
    async with Worker(stack.client, **options):
        while not (await handle.describe()).pending_activities:
            pass
        await handle.pause_activity("1")
        await handle.reset_activity("1", keep_paused=True)
        await handle.update_activity_options("1", retry_policy=RetryPolicy(maximum_attempts=3))
    async with Worker(stack.client, **options, activities=model_going_back.ACTIVITIES):
        await handle.unpause_activity("1")
        await handle.signal("told", "the end")
        await handle.result()


async def headers_go_everywhere(stack: Stack) -> None:
    """To activities, to the next run, to children and to others."""
    token = model_interceptors.tenant.set("Ada")
    try:
        await stack.client.execute_workflow(model_interceptors.tells, 2, task_queue=stack.task_queue)
        await stack.client.execute_workflow(model_interceptors.has_a_child, task_queue=stack.task_queue)
    finally:
        model_interceptors.tenant.reset(token)


async def an_order_is_traced(stack: Stack) -> None:
    """From end to end."""
    handle = await stack.client.start_workflow(model_tracing.order, 2, id=stack.new_id(), task_queue=stack.task_queue)
    await handle.execute_update(model_tracing.add, 4)
    await handle.signal(model_tracing.approve)
    await handle.result()


async def steps_stay_with_one_worker(stack: Stack) -> None:
    """On a queue of its own."""
    host = model_hosts.Host("host-a")
    workers = [
        Worker(stack.client, task_queue="shared", workflows=model_hosts.WORKFLOWS, activities=[host.reserve]),
        Worker(stack.client, task_queue=host.own_queue, activities=[host.download, host.read]),
    ]
    async with AsyncExitStack() as running:
        for worker in workers:
            await running.enter_async_context(worker)
        await stack.client.execute_workflow(model_hosts.stays, "f1", task_queue="shared")


async def with_a_bug(stack: Stack, test: Callable[[Stack], Awaitable[Any]]) -> None:
    """A test that begins with broken code and repairs it."""
    model_going_back.repair(broken=True)
    try:
        await test(stack)
    finally:
        model_going_back.repair()


async def with_payments(stack: Stack, test: Drive, *args: object) -> None:
    """A test whose activities write rows of the user."""
    await execute(stack.database_url, model_transactions.TABLE)
    await test(stack, *args)
