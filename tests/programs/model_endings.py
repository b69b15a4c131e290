"""How workflows end and go on: results, failures, cancellation, continue-as-new, parking, deadlines, retries; and what
they know of themselves.
"""

import asyncio
import random
import uuid
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.exceptions import ApplicationError
from perdure_proto.options import RetryPolicy
from tests.programs import signs

MOMENT = 0.02
LONG = 60.0

items = workflow.Signal[int]("items")
which_run = workflow.Update[[], int]("which_run")
slow_update = workflow.Update[[], str]("slow_update")


@activity.defn(start_to_close_timeout=timedelta(seconds=10))
async def note(name: str) -> str:
    signs.give(f"{activity.info().workflow_id} {name}")
    return name


@workflow.defn
async def fails(kind: str) -> None:
    """A plain exception is the workflow's failure."""
    if kind == "plain":
        raise ValueError("wrong")
    raise ApplicationError("no", {"limit": 3}, type=kind, non_retryable=kind == "Final")


@workflow.defn
async def fails_at_first() -> int:
    attempt = workflow.info().attempt
    if attempt < 3:
        raise ValueError(f"attempt {attempt}")
    return attempt


@workflow.defn
async def waits() -> str:
    await asyncio.sleep(LONG)
    return "waited"


@workflow.defn
async def cleans_up(kind: str) -> str:
    """Asked to stop, it does something first."""
    await note("begun")
    try:
        if kind == "shields":
            inner = asyncio.create_task(finishes())
            try:
                return await asyncio.shield(inner)
            except asyncio.CancelledError:
                return f"{await inner} in spite of {workflow.cancellation_reason()}"
        await asyncio.sleep(LONG)
    except asyncio.CancelledError:
        await note("cleaned")
        if kind == "stays":
            return "stayed"
        raise
    return "was not asked"


async def finishes() -> str:
    await asyncio.sleep(MOMENT)
    return await note("finished")


@workflow.defn
async def counts_down(number: int, *, seen: list[int]) -> list[int]:
    """A run for each number."""
    if number:
        workflow.continue_as_new(counts_down(number - 1, seen=[*seen, number]))
    return seen


@workflow.defn
async def takes_one_a_run(wanted: int, got: list[int]) -> list[int]:
    """What this run does not take goes on to the next."""
    got = [*got, await items.channel().receive()]
    if len(got) < wanted:
        workflow.continue_as_new(wanted, got)
    return got


@workflow.defn
async def leaves_an_update(run: int) -> int:
    """Goes on while a handler is under way."""

    @slow_update.handler
    async def _() -> str:
        await asyncio.sleep(LONG)
        return "too late"

    if run == 1:
        await workflow.wait_condition(lambda: not workflow.all_handlers_finished())
        workflow.continue_as_new(2)
    return run


@workflow.defn
async def tells_its_run(run: int) -> int:
    """Answers an update with the number of the run, then goes on in another."""
    told = False

    @which_run.handler
    def _() -> int:
        nonlocal told
        told = True
        return run

    if run == 1:
        await workflow.wait_condition(lambda: told)
        workflow.continue_as_new(2)
    await items.channel().receive()
    return run


@workflow.defn(name="repaired")
async def broken(value: int) -> int:
    """A bug that only says that the program is wrong."""
    await note("before")
    return value.nothing  # type: ignore[attr-defined, no-any-return]


@workflow.defn(name="repaired")
async def repaired(value: int) -> int:
    await note("before")
    return value


@workflow.defn
async def knows_itself() -> dict[str, Any]:
    """All that is the same on a replay, before and after a wait."""
    info = workflow.info()
    first = [workflow.random().random(), str(workflow.uuid4()), random.random(), str(uuid.uuid4())]
    began = workflow.now()
    await note("one")
    await asyncio.sleep(MOMENT)
    again = [workflow.random().random(), str(workflow.uuid4()), random.random(), str(uuid.uuid4())]
    await note("two")
    workflow.logger.info("said once")
    return {
        "values": [*first, *again],
        "type": info.workflow_type,
        "queue": info.task_queue,
        "memo": dict(info.memo),
        "waited": (workflow.now() - began).total_seconds() >= MOMENT,
    }


WORKFLOWS: list[workflow.Workflow[..., Any]] = [
    fails,
    fails_at_first,
    waits,
    cleans_up,
    counts_down,
    takes_one_a_run,
    leaves_an_update,
    tells_its_run,
    repaired,
    knows_itself,
]
ACTIVITIES: list[object] = [note]
QUICK = RetryPolicy(initial_interval=timedelta(milliseconds=20))
