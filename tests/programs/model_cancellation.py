"""Workflows that are asked to stop: what they shield, what they do then, and who else hears of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta
from typing import Any, Literal

from perdure import activity, workflow
from perdure.exceptions import ActivityError, ApplicationError, CancelledError
from perdure_proto.options import RetryPolicy
from tests.programs import signs

MINUTE = timedelta(minutes=1)
LONG = 3600.0
MOMENT = 0.02
NOBODY = "nobody-takes-it"
QUICK = RetryPolicy(initial_interval=timedelta(seconds=MOMENT))

gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
"""By workflow id: opened, they let an activity end. Test and worker share a loop."""

go = workflow.Signal[str]("go")
seen = workflow.Query[[], str]("seen")


@activity.defn(start_to_close_timeout=MINUTE)
async def note(name: str) -> str:
    """Something short."""
    signs.give(f"{activity.info().workflow_id} {name}")
    return name


@activity.defn(start_to_close_timeout=MINUTE)
async def until_told(name: str) -> str:
    """Runs until the test lets it end; cancelled, it says how it was asked."""
    workflow_id = activity.info().workflow_id
    signs.give(f"{workflow_id} runs")
    try:
        await gates[workflow_id].wait()
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        assert details is not None
        signs.give(f"{workflow_id} {'asked' if details.cancel_requested else 'let go'}")
        raise
    return name


@activity.defn(start_to_close_timeout=MINUTE, retry_policy=RetryPolicy(initial_interval=timedelta(hours=1)))
async def fails_at_first() -> str:
    raise ValueError("not yet")


@activity.defn(start_to_close_timeout=MINUTE, retry_policy=RetryPolicy(maximum_attempts=1))
async def fails() -> None:
    raise ValueError("could not clean up")


@workflow.defn
async def waits(ending: Literal["raises", "returns"] = "raises") -> str:
    """A child, or the target of a signal: waits for a word, and may say why it was asked to stop."""
    try:
        await note("there")
        return await go.channel().receive()
    except asyncio.CancelledError:
        if ending == "raises":
            raise
        return f"stopped: {workflow.cancellation_reason()}"


# Shields.


@workflow.defn
async def shields(what: Literal["activity", "local", "child", "signal"], other_id: str) -> list[str]:
    """What is shielded ends, and its result is used after the cancellation."""
    inner = asyncio.ensure_future(_shielded(what, other_id))
    try:
        value = await asyncio.shield(inner)
        reason = "nothing"
    except asyncio.CancelledError:
        value = await inner
        reason = workflow.cancellation_reason() or ""
    return [await note(value), reason]


async def _shielded(what: str, other_id: str) -> str:
    match what:
        case "activity":
            return await until_told("done")
        case "local":
            return await until_told.local("done")
        case "child":
            return await waits.with_options(id=other_id)()
        case _:
            await workflow.external(other_id).signal(go, "from afar")
            return "sent"


# What happens together.


@workflow.defn
async def meets(what: Literal["condition", "timer", "child", "activity"], other_id: str) -> str:
    """Waits for one thing, and says whether it had it when it was asked to stop."""
    ready = False

    @workflow.signal(name="ready")
    def _ready() -> None:
        nonlocal ready
        ready = True

    try:
        match what:
            case "condition":
                await workflow.wait_condition(lambda: ready)
            case "timer":
                await asyncio.sleep(0.2)
            case "child":
                return await waits.with_options(id=other_id)()
            case "activity":
                return await until_told("done")
    except asyncio.CancelledError:
        return f"told: {workflow.cancellation_reason()}"
    return "had it"


# What it does then.


@workflow.defn
async def decides(what: str) -> str:
    """Asked to stop, it does what it was started for."""
    await note("begun")
    try:
        await asyncio.sleep(LONG)
    except asyncio.CancelledError:
        match what:
            case "stays":
                return "stayed"
            case "fails":
                raise ApplicationError("could not stop", type="Stuck") from None
            case "fails later":
                await note("tried")
                raise ValueError("could not stop") from None
            case _:
                raise
    return "was not asked"


@workflow.defn
async def cleans_up(how: Literal["finally", "in time", "too slow", "fails", "group"]) -> str:
    """It cleans up by activities, each of which runs though the workflow was asked to stop."""
    await note("begun")
    try:
        await asyncio.sleep(LONG)
    finally:
        match how:
            case "finally":
                await note("cleaned")
                await asyncio.sleep(MOMENT)
                await note("cleaned more")
            case "in time":
                async with asyncio.timeout(60):
                    await note("cleaned")
            case "too slow":
                async with asyncio.timeout(MOMENT):
                    await until_told("never")
            case "fails":
                await fails()
            case "group":
                async with asyncio.TaskGroup() as group:
                    group.create_task(note("cleaned"))
                    group.create_task(note("cleaned more"))
    return "was not asked"


@workflow.defn
async def hears_once() -> list[str | None]:
    """Counts how often it is told."""
    told: list[str | None] = []

    @seen.handler
    def _() -> str:
        return f"{len(told)}"

    while len(told) < 2:
        try:
            return [*told, await go.channel().receive()]
        except asyncio.CancelledError:
            told.append(workflow.cancellation_reason())
    return told


# Who else hears of it.


@workflow.defn
async def passes_on(child_id: str) -> list[str]:
    """An activity and a child are asked to stop with it."""
    handle = await waits.with_options(id=child_id).start("returns")
    held = until_told.with_options(cancellation_type="wait_cancellation_completed").start("done")
    try:
        await asyncio.gather(held, handle)
    except asyncio.CancelledError:
        return [await handle, "stopped" if held.cancelled() else "ended"]
    return []


@workflow.defn
async def leaves_child(child_id: str) -> None:
    """Ends while its child runs, which is asked to stop by its policy."""
    _ = await waits.with_options(id=child_id, parent_close_policy="request_cancel").start("returns")


# Activities in each state.


@workflow.defn
async def has_activity(
    state: Literal["not started", "running", "backing off"], how: activity.ActivityCancellationType
) -> str:
    """Says what the await of its activity gave when the workflow was asked to stop, and goes on."""
    try:
        match state:
            case "not started":
                await note.with_options(cancellation_type=how, task_queue=NOBODY)("never")
            case "running":
                await until_told.with_options(cancellation_type=how)("done")
            case "backing off":
                await fails_at_first.with_options(cancellation_type=how)()
    except asyncio.CancelledError:
        return await note("cancelled")
    except ActivityError as error:
        return "cancelled by its error" if isinstance(error.cause, CancelledError) else "failed"
    return await note("ended")


# Tasks within tasks.


@workflow.defn
async def nests(how: Literal["gather", "wait_for", "group", "wait", "task"]) -> str:
    """Everything within is asked to stop, and the workflow with it."""
    match how:
        case "gather":
            return str(await asyncio.gather(until_told("a"), asyncio.sleep(LONG)))
        case "wait_for":
            return await asyncio.wait_for(until_told("a"), LONG)
        case "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(until_told("a"))
                group.create_task(asyncio.sleep(LONG))
            return "ended"
        case "task":
            return await asyncio.create_task(_twice())
        case _:
            tasks = [asyncio.create_task(until_told("a"))]
            await asyncio.wait(tasks)
            return tasks[0].result()


async def _twice() -> str:
    async with asyncio.timeout(LONG):
        return await asyncio.create_task(until_told("a"))


WORKFLOWS: list[Any] = [
    waits,
    shields,
    meets,
    decides,
    cleans_up,
    hears_once,
    passes_on,
    leaves_child,
    has_activity,
    nests,
]
ACTIVITIES: list[Any] = [note, until_told, fails_at_first, fails]
