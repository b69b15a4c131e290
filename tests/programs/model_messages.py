"""Workflows that talk: signals by handler and by channel, queries, updates with validators."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.exceptions import ApplicationError

MOMENT = 0.05


@dataclass
class Approval:
    """What a signal carries."""

    by: str
    ok: bool


approve = workflow.Signal[Approval]("approve")
items = workflow.Signal[int]("items")
add = workflow.Update[[int], int]("add")
rename = workflow.Update[[str, int], str]("rename")
total = workflow.Query[[], int]("total")
last = workflow.Query[[int], list[int]]("last")


@activity.defn(start_to_close_timeout=timedelta(seconds=10))
async def echo(value: int) -> int:
    return value


@workflow.defn
async def account(opening: int) -> str:
    """Takes amounts until somebody decides."""
    amounts = [opening]
    decision: Approval | None = None

    @approve.handler
    def _(value: Approval) -> None:
        nonlocal decision
        decision = value

    @add.handler
    async def _(value: int) -> int:
        if value == 0:
            raise ApplicationError("nothing to add", value, type="Zero")
        amounts.append(await echo(value))
        return sum(amounts)

    @add.validator
    def _(value: int) -> None:
        if value < 0:
            raise ValueError("negative")

    @rename.handler
    def _(name: str, times: int) -> str:
        update = workflow.current_update()
        assert update is not None
        return f"{name * times} by {update.name}"

    @total.handler
    def _() -> int:
        return sum(amounts)

    @last.handler
    def _(count: int) -> list[int]:
        if count < 0:
            raise ValueError("count must not be negative")
        return amounts[-count:]

    @workflow.query
    def misbehaves() -> str:
        _ = echo.start(1)
        return "a query started an activity"

    await workflow.wait_condition(lambda: decision is not None)
    await workflow.wait_condition(workflow.all_handlers_finished)
    assert decision is not None
    return f"{sum(amounts)} {'approved' if decision.ok else 'refused'} by {decision.by}"


@workflow.defn
async def mailbox(count: int, wait_before: float) -> list[int]:
    """Collects what was sent before it looked, and after."""
    await asyncio.sleep(wait_before)
    found: list[int] = []
    async for item in items.channel():
        found.append(await echo(item))
        if len(found) == count:
            break
    return found


@workflow.defn
async def patient_receiver() -> list[str]:
    """What a channel gives when nothing is there, and what becomes of a value whose taker left."""
    channel = items.channel()
    said = []
    try:
        await channel.receive(timeout=timedelta(seconds=MOMENT))
    except TimeoutError:
        said.append("timeout")
    try:
        channel.receive_nowait()
    except asyncio.QueueEmpty:
        said.append("empty")
    leaving = asyncio.create_task(channel.receive())
    await asyncio.sleep(0)
    leaving.cancel()
    said.append(str(await channel.receive()))
    said.append(str(await channel.receive()))
    return said


@workflow.defn
async def untyped(expected: int) -> dict[str, Any]:
    """Handlers by decorator, one of them for all names."""
    heard: list[list[Any]] = []
    note = ""

    @workflow.signal
    async def told(text: str, *, loud: bool = False) -> None:
        nonlocal note
        await echo(1)
        note = text.upper() if loud else text

    @workflow.signal(dynamic=True)
    def _(name: str, args: list[Any]) -> None:
        heard.append([name, *args])

    @workflow.update(name="set")
    def set_note(text: str) -> str:
        nonlocal note
        note, old = text, note
        return old

    @set_note.validator
    def _(text: str) -> None:
        if not text:
            raise ApplicationError("say something", type="Empty")

    @workflow.query(name="note")
    def _() -> str:
        return note

    await workflow.wait_condition(lambda: len(heard) >= expected)
    await workflow.wait_condition(workflow.all_handlers_finished)
    return {"heard": heard, "note": note}


@workflow.defn
async def hears_badly() -> None:
    """A signal handler that raises ends the workflow."""

    @workflow.signal
    def told(text: str) -> None:
        raise ApplicationError(f"cannot bear {text!r}", type="Deaf")

    await asyncio.sleep(60)


@workflow.defn
async def waits_in_vain() -> str:
    try:
        await workflow.wait_condition(lambda: False, timeout=timedelta(seconds=MOMENT))
    except TimeoutError:
        return "timeout"
    return "it came true"


WORKFLOWS: list[workflow.Workflow[..., Any]] = [account, mailbox, patient_receiver, untyped, hears_badly, waits_in_vain]
ACTIVITIES: list[object] = [echo]
