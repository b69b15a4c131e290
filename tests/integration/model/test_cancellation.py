"""Workflows that are asked to stop: shields, moments, endings, clean-ups, and the reasons that everybody hears."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from perdure.activity import ActivityCancellationType
from perdure.client import WorkflowHandle
from perdure.exceptions import ApplicationError, CancelledError, RPCError, WorkflowFailureError
from perdure_proto import events as ev
from perdure_worker import Worker
from tests.integration.model.stack import Stack, one_stimulus, stack_of
from tests.programs import model_cancellation as program
from tests.programs import signs

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

REASON = "no longer needed"
SHORT = timedelta(seconds=1)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


@asynccontextmanager
async def worker_on(stack: Stack, queue: str) -> AsyncIterator[None]:
    """A worker that a test starts and stops as it needs it."""
    cached = stack.cached
    options: dict[str, Any] = {"workflows": program.WORKFLOWS, "activities": program.ACTIVITIES}
    async with Worker(stack.client, task_queue=queue, max_cached_workflows=cached, **options):
        yield


async def until(handle: WorkflowHandle[Any], *event_types: str) -> None:
    """Follow a history past events of these types, in this order."""
    wanted = list(event_types)
    async for event in handle.events(follow=True):
        if wanted and event.event_type == wanted[0]:
            del wanted[0]
        if not wanted:
            return


async def until_told(handle: WorkflowHandle[Any]) -> None:
    """The workflow has run since it was asked to stop."""
    await until(handle, "WorkflowExecutionCancelRequested", "WorkflowTaskCompleted")


async def failure(handle: WorkflowHandle[Any]) -> BaseException | None:
    """Why it gives no result."""
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    return caught.value.cause


async def is_cancelled(handle: WorkflowHandle[Any]) -> bool:
    """Whether it closes as cancelled, and its failure says so."""
    return isinstance(await failure(handle), CancelledError) and (await handle.describe()).status == "CANCELED"


# Shields.


@pytest.mark.parametrize("what", ["activity", "local"])
async def test_a_shielded_activity_is_used_after_the_cancellation(stack: Stack, what: str) -> None:
    """It is not asked to stop, and the workflow goes on with its result."""
    handle = await stack.client.start_workflow(
        "shields", what, "", id=stack.new_id(), task_queue=stack.task_queue, task_timeout=SHORT
    )
    await signs.seen(f"{handle.id} runs")
    await handle.cancel(reason=REASON)
    await until_told(handle)
    program.gates[handle.id].set()
    assert ["done", REASON] == await handle.result()


async def test_a_shielded_child_is_used_after_the_cancellation(stack: Stack) -> None:
    """It does not hear of it, and can still be told other things."""
    child_id = stack.new_id()
    handle = await stack.client.start_workflow(program.shields, "child", child_id, task_queue=stack.task_queue)
    await signs.seen(f"{child_id} there")
    await handle.cancel(reason=REASON)
    await until_told(handle)
    child = stack.client.get_workflow_handle(child_id)
    assert not (await child.describe()).cancel_requested
    await child.signal(program.go, "went on")
    assert ["went on", REASON] == await handle.result()


@one_stimulus
async def test_a_shielded_signal_is_sent_though_the_request_came_first(stack: Stack) -> None:
    """The body runs to rest before it hears of the request, so the signal is on its way."""
    target = await stack.client.start_workflow(program.waits, id=stack.new_id(), task_queue=stack.task_queue)
    await signs.seen(f"{target.id} there")
    queue = stack.new_id()
    handle = await stack.client.start_workflow(program.shields, "signal", target.id, task_queue=queue)
    await handle.cancel(reason=REASON)
    async with worker_on(stack, queue):
        assert ["sent", REASON] == await handle.result()
    assert "from afar" == await target.result()


# Moments.


@one_stimulus
async def test_a_workflow_cancelled_before_its_first_task_cleans_up(stack: Stack) -> None:
    """No worker was there yet: it begins, hears of it where it waits, and cleans up."""
    queue = stack.new_id()
    handle = await stack.client.start_workflow(program.cleans_up, "finally", id=stack.new_id(), task_queue=queue)
    await handle.cancel(reason=REASON)
    described = await handle.describe()
    assert ("RUNNING", True, REASON) == (described.status, described.cancel_requested, described.cancel_reason)
    async with worker_on(stack, queue):
        assert await is_cancelled(handle)


async def child_completes(stack: Stack, handle: WorkflowHandle[Any], child_id: str) -> None:
    await stack.client.get_workflow_handle(child_id).signal(program.go, "had it")
    await until(handle, "ChildWorkflowExecutionCompleted")


async def activity_completes(_: Stack, handle: WorkflowHandle[Any], __: str) -> None:
    program.gates[handle.id].set()
    await until(handle, "ActivityTaskCompleted")


async def condition_is_ready(_: Stack, handle: WorkflowHandle[Any], __: str) -> None:
    await handle.signal("ready")


async def cancel_comes(_: Stack, handle: WorkflowHandle[Any], __: str) -> None:
    await handle.cancel(reason=REASON)


Step = Callable[[Stack, WorkflowHandle[Any], str], Awaitable[None]]

# What ends the wait, and what the workflow says where the request came first: its child has ended by then, and the wait
# for its end goes on. Where the end came first it hears of the request all the same.
TOLD = f"told: {REASON}"
TOGETHER: list[tuple[str, Step, str]] = [
    ("condition", condition_is_ready, TOLD),
    ("activity", activity_completes, TOLD),
    ("child", child_completes, "had it"),
]


@pytest.mark.parametrize("first", ["request", "end"])
@pytest.mark.parametrize(("what", "ends", "expected"), TOGETHER, ids=lambda one: one if isinstance(one, str) else "")
async def test_the_request_comes_together_with_the_end_of_a_wait(
    stack: Stack, what: str, ends: Step, expected: str, first: str
) -> None:
    """Both are in the log before the workflow runs again, for it is paused meanwhile."""
    child_id = stack.new_id()
    handle = await stack.client.start_workflow(
        "meets", what, child_id, id=stack.new_id(), task_queue=stack.task_queue, result_type=str
    )
    if what == "condition":
        await until(handle, "WorkflowTaskCompleted")
    else:
        await signs.seen(f"{child_id} there" if what == "child" else f"{handle.id} runs")
        await until(handle, "WorkflowTaskCompleted")
    if what == "child":
        await until(handle, "ChildWorkflowExecutionStarted", "WorkflowTaskCompleted")
    await handle.pause()
    for step in (cancel_comes, ends) if first == "request" else (ends, cancel_comes):
        await step(stack, handle, child_id)
    await handle.unpause()
    assert (expected if first == "request" else TOLD) == await handle.result()


async def test_the_request_comes_together_with_a_fired_timer(stack: Stack) -> None:
    """The worker was stopped meanwhile; one that replays decides as one that has the workflow cached."""
    queue = stack.new_id()
    handle = await stack.client.start_workflow(program.meets, "timer", "", id=stack.new_id(), task_queue=queue)
    async with worker_on(stack, queue):
        await until(handle, "TimerStarted")
        await handle.pause()
    await handle.unpause()
    await until(handle, "TimerFired")
    await handle.cancel(reason=REASON)
    async with worker_on(stack, queue):
        assert f"told: {REASON}" == await handle.result()


# What it does then.


@one_stimulus
@pytest.mark.parametrize(("what", "error_type"), [("fails", "Stuck"), ("fails later", "ValueError")])
async def test_another_exception_fails_a_workflow_that_was_asked_to_stop(
    stack: Stack, what: str, error_type: str
) -> None:
    """Closed as failed and not as cancelled, and not tried again by its retry policy."""
    handle = await stack.client.start_workflow(
        "decides", what, id=stack.new_id(), task_queue=stack.task_queue, retry_policy=program.QUICK
    )
    await until(handle, "TimerStarted")
    await handle.cancel(reason=REASON)
    cause = await failure(handle)
    assert isinstance(cause, ApplicationError)
    assert (error_type, "FAILED") == (cause.type, (await handle.describe()).status)


@one_stimulus
async def test_a_workflow_that_stays_completes(stack: Stack) -> None:
    """It takes the request as advice."""
    handle = await stack.client.start_workflow("decides", "stays", id=stack.new_id(), task_queue=stack.task_queue)
    await until(handle, "TimerStarted")
    await handle.cancel(reason=REASON)
    assert "stayed" == await handle.result()
    assert "COMPLETED" == (await handle.describe()).status


@pytest.mark.parametrize(
    ("how", "status", "notes"),
    [
        ("finally", "CANCELED", ["cleaned", "cleaned more"]),
        ("in time", "CANCELED", ["cleaned"]),
        ("too slow", "FAILED", []),
        ("fails", "FAILED", []),
        ("group", "CANCELED", ["cleaned", "cleaned more"]),
    ],
)
async def test_what_cleans_up_runs_after_the_cancellation(
    stack: Stack, how: str, status: str, notes: list[str]
) -> None:
    """Each activity runs once; a clean-up that fails, or takes too long, is the workflow's failure."""
    handle = await stack.client.start_workflow("cleans_up", how, id=stack.new_id(), task_queue=stack.task_queue)
    await until(handle, "TimerStarted")
    await handle.cancel(reason=REASON)
    await failure(handle)
    assert status == (await handle.describe()).status
    assert [1] * len(notes) == [signs.calls[f"{handle.id} {name}"] for name in notes]


async def test_a_second_request_adds_nothing(stack: Stack) -> None:
    """The workflow hears of the first one, once; all are acknowledged, also after the close."""
    handle = await stack.client.start_workflow(program.hears_once, id=stack.new_id(), task_queue=stack.task_queue)
    await until(handle, "WorkflowTaskCompleted")
    for reason in (REASON, "again"):
        await handle.cancel(reason=reason)
    assert "1" == await handle.query(program.seen)
    await asyncio.gather(*[handle.cancel(reason="and again") for _ in range(5)])
    await handle.signal(program.go, "on")
    assert [REASON, "on"] == await handle.result()
    await handle.cancel(reason="too late")
    events = (await handle.fetch_history()).events
    assert [REASON] == [one.cause for one in events if isinstance(one, ev.WorkflowExecutionCancelRequested)]


async def test_a_closed_workflow_that_was_never_asked_cannot_be(stack: Stack) -> None:
    """The request is refused, for nothing can come of it."""
    handle = await stack.client.start_workflow(program.waits, id=stack.new_id(), task_queue=stack.task_queue)
    await handle.signal(program.go, "on")
    await handle.result()
    with pytest.raises(RPCError) as refused:
        await handle.cancel()
    assert "WORKFLOW_CLOSED" == refused.value.code


# Who else hears of it, and why.


async def test_children_and_activities_hear_of_it(stack: Stack) -> None:
    """The child with the reason, the activity in its cancellation details; the workflow waits for both."""
    child_id = stack.new_id()
    handle = await stack.client.start_workflow(
        program.passes_on, child_id, id=stack.new_id(), task_queue=stack.task_queue
    )
    await signs.seen(f"{handle.id} runs")
    await signs.seen(f"{child_id} there")
    await handle.cancel(reason=REASON)
    assert [f"stopped: {REASON}", "stopped"] == await handle.result()
    await signs.seen(f"{handle.id} asked")
    assert REASON == (await stack.client.get_workflow_handle(child_id).describe()).cancel_reason


async def test_a_child_hears_that_its_parent_has_closed(stack: Stack) -> None:
    """The policy is the reason."""
    child_id = stack.new_id()
    await stack.client.execute_workflow(program.leaves_child, child_id, task_queue=stack.task_queue)
    assert "stopped: by parent close policy" == await stack.client.get_workflow_handle(child_id).result()


async def test_the_reason_is_shown(stack: Stack) -> None:
    """In a description, over HTTP, on the command line, and by the error of the result."""
    queue = stack.new_id()
    handle = await stack.client.start_workflow(program.waits, id=stack.new_id(), task_queue=queue)
    address = stack.client.service.connection.address
    assert (0, f"asked {handle.id} to stop\n") == await perdure(address, "cancel", handle.id, "--reason", REASON)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{address}/api/v1/namespaces/default/workflows/{handle.id}") as answer,
    ):
        told = await answer.json()
    assert (True, REASON) == (told["cancel_requested"], told["cancel_reason"])
    _, said = await perdure(address, "describe", handle.id)
    assert f"yes: {REASON}" in said
    async with worker_on(stack, queue):
        assert REASON == str(await failure(handle))
    status, said = await perdure(address, "result", handle.id)
    assert status
    assert f"WORKFLOW_CANCELED: {handle.id}: CancelledError: {REASON}" in said


async def perdure(address: str, *words: str) -> tuple[int | None, str]:
    """The command line, in a process of its own: its exit status, and what it printed."""
    command = (sys.executable, "-m", "perdure.cli", "workflow", *words)
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, "PERDURE_ADDRESS": address}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


# Activities, in each state and of each type.


@pytest.mark.parametrize("how", ["try_cancel", "wait_cancellation_completed", "abandon"])
@pytest.mark.parametrize("state", ["not started", "running", "backing off"])
async def test_an_activity_is_cancelled_with_its_workflow(
    stack: Stack, state: str, how: ActivityCancellationType
) -> None:
    """Wherever it stands; the workflow goes on as the cancellation type says."""
    handle = await stack.client.start_workflow(
        "has_activity", state, how, id=stack.new_id(), task_queue=stack.task_queue, result_type=str
    )
    while [pending_as(state)] != [one.state for one in (await handle.describe()).pending_activities]:
        pass
    if state == "running":
        await signs.seen(f"{handle.id} runs")
    await handle.cancel(reason=REASON)
    assert "cancelled" == await handle.result()
    kinds = [type(event) for event in (await handle.fetch_history()).events]
    assert (how != "abandon") == (ev.ActivityTaskCancelRequested in kinds)
    if state == "running":
        await signs.seen(f"{handle.id} {'let go' if how == 'abandon' else 'asked'}")
    elif how != "abandon":
        assert ev.ActivityTaskCanceled in kinds


def pending_as(state: str) -> str:
    return {"not started": "SCHEDULED", "running": "STARTED", "backing off": "BACKING_OFF"}[state]


# Tasks within tasks.


@pytest.mark.parametrize("how", ["gather", "wait_for", "group", "task", "wait"])
async def test_everything_within_is_asked_to_stop(stack: Stack, how: str) -> None:
    """All but what `asyncio.wait` waits for: its activity is let go by the close."""
    handle = await stack.client.start_workflow("nests", how, id=stack.new_id(), task_queue=stack.task_queue)
    await signs.seen(f"{handle.id} runs")
    await handle.cancel(reason=REASON)
    assert await is_cancelled(handle)
    await signs.seen(f"{handle.id} {'let go' if how == 'wait' else 'asked'}")
