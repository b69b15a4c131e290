"""Tasks within tasks: who hears of the request, and who waits for whom."""

from __future__ import annotations

import asyncio

from perdure import workflow
from tests.replay.cancellation.story import story, to_the_end, work
from tests.replay.service import Service


@workflow.defn
async def gathers() -> list[str]:
    return list(await asyncio.gather(work("a"), work("b"), to_the_end("c")))


@story(gathers, "activity, activity, activity", "stop activity, stop activity, stop activity, cancelled")
def gather_ends_with_the_first_that_is_cancelled(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.turn()


@workflow.defn
async def gathers_to_the_end() -> list[str]:
    return [str(one) for one in await asyncio.gather(work("a"), to_the_end("b"), return_exceptions=True)]


@story(gathers_to_the_end, "activity, activity", "stop activity, stop activity", "cancelled")
def gather_that_collects_waits_for_all(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.turn()
    told.canceled("2")
    told.turn()


@workflow.defn
async def groups() -> str:
    async with asyncio.TaskGroup() as group:
        group.create_task(work("a"))
        group.create_task(to_the_end("b"))
    return "both"


@story(groups, "activity, activity", "stop activity, stop activity", "cancelled")
def a_group_waits_for_its_tasks(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.turn()
    told.complete("2", "in time")
    told.turn()


@workflow.defn
async def waits_for_tasks() -> str:
    tasks = [asyncio.create_task(work(name)) for name in "ab"]
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        await asyncio.wait(tasks)
    return " ".join([task.result() for task in tasks])


@story(waits_for_tasks, "activity, activity", "", "completed", result="a b")
def wait_does_not_cancel_what_it_waits_for(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.turn()
    told.complete("1", "a")
    told.complete("2", "b")
    told.turn()


@workflow.defn
async def has_a_task() -> str:
    async def inner() -> str:
        try:
            return await work("inner")
        except asyncio.CancelledError:
            return await work("inner clean")

    task = asyncio.create_task(inner())
    try:
        await work("outer")
    except asyncio.CancelledError:
        return await task
    return "was not asked"


@story(has_a_task, "activity, activity", "stop activity", "completed", result="goes on")
def a_task_that_is_not_awaited_is_not_cancelled(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.turn()
    told.complete("2", "goes on")
    told.turn()


@workflow.defn
async def awaits_a_task() -> str:
    async def inner() -> str:
        try:
            return await work("inner")
        except asyncio.CancelledError:
            return await work("clean")

    return await asyncio.create_task(inner())


@story(awaits_a_task, "activity", "stop activity, activity", "completed", result="clean")
def a_task_that_is_awaited_hears_of_it_first(told: Service) -> None:
    told.turn()
    told.request_cancel()
    told.turn()
    told.complete("2", "clean")
    told.turn()


@workflow.defn
async def works_to_the_end() -> str:
    value = await to_the_end("long")
    return f"{value}, {workflow.cancellation_reason()}"


@story(works_to_the_end, "activity", "stop activity", "completed", result="done, stop")
def a_wait_for_the_end_takes_the_cancellation_with_it(told: Service) -> None:
    told.turn()
    told.request_cancel("stop")
    told.turn()
    told.complete("1", "done")
    told.turn()


@story(works_to_the_end, "activity", "stop activity", "failed")
def a_wait_for_the_end_that_fails(told: Service) -> None:
    told.turn()
    told.request_cancel("stop")
    told.turn()
    told.fail("1")
    told.turn()
