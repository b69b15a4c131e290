"""The standard library's ways to wait, in workflows: durable, and the same on every replay."""

import asyncio
from datetime import timedelta
from typing import Any

from perdure import activity, workflow

TICK = 0.02
LONG = 60.0


@activity.defn(start_to_close_timeout=timedelta(seconds=10))
async def step(name: str) -> str:
    return name


async def named(name: str, ticks: int) -> str:
    await asyncio.sleep(ticks * TICK)
    return await step(name)


@workflow.defn
async def gathers() -> list[str]:
    return list(await asyncio.gather(named("a", 2), named("b", 1), step("c")))


@workflow.defn
async def waits_for_the_first() -> list[list[str]]:
    tasks = [asyncio.create_task(named(name, ticks), name=name) for name, ticks in (("slow", 20), ("fast", 1))]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return [[task.result() for task in done], [task.get_name() for task in pending]]


@workflow.defn
async def takes_as_completed() -> list[str]:
    return [await one for one in asyncio.as_completed([named("second", 6), named("first", 1)])]


@workflow.defn
async def groups() -> list[str]:
    said: list[str] = []

    async def fails() -> None:
        await asyncio.sleep(TICK)
        raise ValueError("one failed")

    async def is_cancelled() -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            said.append(await step("cancelled"))
            raise

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(is_cancelled())
            group.create_task(fails())
    except* ValueError as errors:
        said.append(str(errors.exceptions[0]))
    return said


@workflow.defn
async def has_deadlines() -> list[str]:
    said = []
    try:
        async with asyncio.timeout(TICK):
            await named("late", 100)
    except TimeoutError:
        said.append("timeout")
    try:
        await asyncio.wait_for(named("late", 100), TICK)
    except TimeoutError:
        said.append("wait_for")
    said.append(await asyncio.wait_for(step("in time"), LONG))
    return said


@workflow.defn
async def synchronises() -> list[str]:
    said: list[str] = []
    lock, event, few, queue = asyncio.Lock(), asyncio.Event(), asyncio.Semaphore(2), asyncio.Queue[str](1)

    async def work(name: str) -> None:
        async with few:
            await event.wait()
            async with lock:
                said.append(await named(name, 1))
                await queue.put(name)

    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(work(name))
        await asyncio.sleep(TICK)
        event.set()
        said.extend([f"got {await queue.get()}" for _ in "abc"])
    return said


@workflow.defn
async def shields() -> str:
    inner = asyncio.create_task(named("kept", 3))
    try:
        await asyncio.wait_for(asyncio.shield(inner), TICK)
    except TimeoutError:
        return await inner
    return "too quick"


@workflow.defn
async def sleeps() -> bool:
    began = workflow.time()
    await workflow.sleep(timedelta(seconds=TICK), summary="a nap")
    await asyncio.sleep(TICK)
    return workflow.time() - began >= 2 * TICK


WORKFLOWS: list[workflow.Workflow[..., Any]] = [
    gathers,
    waits_for_the_first,
    takes_as_completed,
    groups,
    has_deadlines,
    synchronises,
    shields,
    sleeps,
]
ACTIVITIES: list[object] = [step]
EXPECTED: dict[str, object] = {
    "gathers": ["a", "b", "c"],
    "waits_for_the_first": [["fast"], ["slow"]],
    "takes_as_completed": ["first", "second"],
    "groups": ["cancelled", "one failed"],
    "has_deadlines": ["timeout", "wait_for", "in time"],
    "synchronises": ["a", "b", "c", "got a", "got b", "got c"],
    "shields": "kept",
    "sleeps": True,
}
ONE_STIMULUS = frozenset({"sleeps", "has_deadlines"})
"""Programs in which chance does not decide what comes first."""
