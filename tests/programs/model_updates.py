"""Workflows that live on updates: a cart that an update may start, and handlers that end at every possible moment."""

import asyncio
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.exceptions import ApplicationError
from perdure.workflow import HandlerUnfinishedPolicy

LONG = 60.0

add_item = workflow.Update[[str], int]("add_item")
check_out = workflow.Update[[], list[str]]("check_out")
slow = workflow.Update[[str], str]("slow")
unimportant = workflow.Update[[], None]("unimportant")
go = workflow.Signal[None]("go")


@activity.defn(start_to_close_timeout=timedelta(seconds=10))
async def price(item: str) -> int:
    return len(item)


@workflow.defn
async def cart(owner: str) -> list[str]:
    """Takes items until it is checked out; the check-out is answered though the body returns first."""
    items: list[str] = []
    closing = returned = False

    @add_item.handler
    async def _(item: str) -> int:
        if not await price(item):
            raise ApplicationError("nothing", type="Nothing")
        items.append(item)
        return len(items)

    @add_item.validator
    def _(item: str) -> None:
        if item == "brick":
            raise ValueError("no bricks")

    @check_out.handler
    async def _() -> list[str]:
        nonlocal closing
        closing = True
        await workflow.wait_condition(lambda: returned)
        return items

    await workflow.wait_condition(lambda: closing)
    returned = True
    return [owner, *items]


@workflow.defn
async def returns_at_once(value: int) -> int:
    """Done before anything can be said to it, but for what came with its start."""

    @workflow.update
    def double() -> int:
        return 2 * value

    return value


@workflow.defn
async def leaves() -> str:
    """Ends while handlers run: on one it says so, on the other it need not."""

    @slow.handler
    async def _(text: str) -> str:
        await asyncio.sleep(LONG)
        return text

    @unimportant.handler(unfinished_policy=HandlerUnfinishedPolicy.ABANDON)
    async def _() -> None:
        await asyncio.sleep(LONG)

    await go.channel().receive()
    return "left"


@workflow.defn
async def waits_for_handlers() -> list[str]:
    """Ends when all handlers have; each knows its own update, in every task that it starts."""
    seen: list[str] = []
    told = False

    async def note() -> None:
        await asyncio.sleep(0.01)
        info = workflow.current_update()
        assert info is not None
        seen.append(f"{info.name} {info.id}")

    @slow.handler
    async def _(text: str) -> str:
        nonlocal told
        told = True
        await asyncio.gather(note(), note())
        return text.upper()

    await workflow.wait_condition(lambda: told)
    await workflow.wait_condition(workflow.all_handlers_finished)
    assert workflow.current_update() is None
    return seen


@workflow.defn
async def hands_on(run: int) -> int:
    """Goes on as new at each word; an update that meets that moment is the next run's."""

    @workflow.update
    async def which_run() -> int:
        await asyncio.sleep(0.01)
        return run

    await go.channel().receive()
    await workflow.wait_condition(workflow.all_handlers_finished)
    if run < 3:
        workflow.continue_as_new(run + 1)
    return run


@workflow.defn
async def holds_on() -> str:
    """Holds its handlers until it is told to let go."""
    let_go = False

    @slow.handler
    async def _(text: str) -> str:
        await workflow.wait_condition(lambda: let_go)
        return text.upper() + str(await price(text))

    await go.channel().receive()
    await workflow.wait_condition(lambda: not workflow.all_handlers_finished())
    let_go = True
    await workflow.wait_condition(workflow.all_handlers_finished)
    return "done"


@workflow.defn
async def oversteps() -> None:
    """A validator that does more than look."""

    @workflow.update(name="set")
    def put(value: int) -> None: ...

    @put.validator
    def _(value: int) -> None:
        _ = price.start(str(value))

    await asyncio.sleep(LONG)


WORKFLOWS: list[workflow.Workflow[..., Any]] = [
    cart,
    returns_at_once,
    leaves,
    waits_for_handlers,
    hands_on,
    holds_on,
    oversteps,
]
ACTIVITIES: list[object] = [price]
