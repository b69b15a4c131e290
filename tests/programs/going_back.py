"""A workflow with a child from before a signal and one from after it: for resets to that signal, also under kills."""

import asyncio
from datetime import timedelta
from typing import Any

from perdure import activity, workflow


@activity.defn(start_to_close_timeout=timedelta(seconds=10), retry_policy="standard")
async def does(name: str) -> str:
    return name


@workflow.defn
async def stays() -> None:
    """Ends when its parent does."""
    await asyncio.Event().wait()


@workflow.defn
async def goes_back() -> list[str]:
    """A step and a child; when it is told something, another child, always of the same id; then it is told the end."""
    told = workflow.signal_channel("told", str)
    mine = workflow.info().workflow_id
    got = [await does("one")]
    children = [await stays.with_options(id=f"{mine}-kept").start()]
    got.append(await told.receive())
    children.append(await stays.with_options(id=f"{mine}-late").start())
    got.append(await told.receive())
    return got


@workflow.defn
async def hands_on(left: int) -> str:
    """So many runs, each of which ends when it is told something; gives what the last one was told."""
    word = await workflow.signal_channel("told", str).receive()
    if left:
        workflow.continue_as_new(left - 1)
    return word


WORKFLOWS: list[workflow.Workflow[..., Any]] = [goes_back, stays, hands_on]
ACTIVITIES: list[object] = [does]
