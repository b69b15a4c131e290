"""Activities of another queue, in a backlog that a worker meets when all of them wait; and what each queue has run."""

import asyncio
from collections import defaultdict
from datetime import timedelta
from typing import Any

from perdure import Priority, activity, workflow

MINUTE = timedelta(minutes=1)
ran: defaultdict[str, list[str]] = defaultdict(list)
"""What ran, in order, by task queue."""


@activity.defn(start_to_close_timeout=MINUTE)
async def note(name: str) -> str:
    ran[activity.info().task_queue].append(name)
    return name


@activity.defn(start_to_close_timeout=MINUTE)
async def own_priority() -> Priority | None:
    return activity.info().priority


@workflow.defn
async def floods(queue: str, tasks: list[tuple[str, Priority]]) -> int:
    """All tasks at once."""
    calls = [note.with_options(task_queue=queue, priority=priority)(name) for name, priority in tasks]
    return len(await asyncio.gather(*calls))


@workflow.defn
async def inherits(asked: Priority | None) -> list[Priority | None]:
    """What an activity is given: its own over the workflow's, in this run and in the next."""
    found = await own_priority.with_options(priority=asked)()
    info = workflow.info()
    if info.continued_run_id is None:
        workflow.continue_as_new(asked)
    return [info.priority, found]


@workflow.defn
async def in_a_child() -> list[Priority | None]:
    """What a child that names a key of its own has from its parent."""
    return await inherits_here.with_options(priority=Priority(fairness_key="child"))()


@workflow.defn
async def inherits_here() -> list[Priority | None]:
    return [workflow.info().priority, await own_priority()]


WORKFLOWS: list[workflow.Workflow[..., Any]] = [floods, inherits, in_a_child, inherits_here]
ACTIVITIES: list[object] = [note, own_priority]
