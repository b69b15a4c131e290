"""Activities whose completion commits with rows of the user, and workflows that call them in every way."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.exceptions import ActivityError
from perdure_proto.options import RetryPolicy
from tests.programs import signs

MINUTE = timedelta(minutes=1)
QUICK = RetryPolicy(initial_interval=timedelta(milliseconds=20), maximum_attempts=4)
TABLE = "create table if not exists payments (order_id text not null, attempt int not null)"
INSERT = "insert into payments values ($1, $2)"


async def pay(conn: Any, order: str) -> int:
    """One row of the user, and the attempt that wrote it."""
    attempt = activity.info().attempt
    await conn.execute(INSERT, order, attempt)
    return attempt


@activity.defn(start_to_close_timeout=MINUTE, retry_policy=QUICK)
async def charges(order: str) -> str:
    async with activity.transaction() as conn:
        attempt = await pay(conn, order)
    return f"{order} by attempt {attempt}"


@activity.defn(start_to_close_timeout=MINUTE, retry_policy=QUICK)
async def stumbles(order: str, *, inside: bool) -> str:
    async with activity.transaction() as conn:
        attempt = await pay(conn, order)
        if inside and attempt == 1:
            raise RuntimeError("in the block")
    if attempt == 1:
        raise RuntimeError("after the block")
    return f"{order} by attempt {attempt}"


@activity.defn(start_to_close_timeout=MINUTE, retry_policy=QUICK)
async def gives_up(order: str) -> str:
    try:
        async with activity.transaction() as conn:
            await pay(conn, order)
            raise LookupError
    except LookupError:
        return "nothing paid"


@activity.defn(start_to_close_timeout=MINUTE, retry_policy=QUICK)
async def asks_twice(order: str) -> None:
    async with activity.transaction() as conn:
        await pay(conn, order)
    async with activity.transaction() as conn:
        await pay(conn, order)


@activity.defn(start_to_close_timeout=MINUTE, retry_policy=QUICK)
async def says_too_much(order: str) -> str:
    async with activity.transaction() as conn:
        await pay(conn, order)
    return "x" * 3_000_000


@activity.defn(start_to_close_timeout=MINUTE, retry_policy=QUICK)
def threaded(order: str) -> None:
    activity.transaction()


@activity.defn(start_to_close_timeout=MINUTE)
async def lingers(order: str) -> None:
    async with activity.transaction() as conn:
        await pay(conn, order)
        signs.give(order)
        await asyncio.Event().wait()


@workflow.defn
async def pays(order: str, how: str) -> str:
    return await workflow.execute_activity(
        how, args=[order], result_type=str, start_to_close_timeout=MINUTE, retry_policy=QUICK
    )


@workflow.defn
async def pays_after_a_stumble(order: str, inside: bool) -> str:
    return await stumbles(order, inside=inside)


@workflow.defn
async def pays_locally(order: str) -> str:
    return await charges.local(order)


@workflow.defn
async def pays_many(order: str, times: int) -> list[str]:
    return list(await asyncio.gather(*[charges(f"{order}-{number}") for number in range(times)]))


@workflow.defn
async def changes_its_mind(order: str) -> str:
    handle = lingers.start(order)
    await workflow.signal_channel("stop", bool).receive()
    handle.cancel()
    try:
        await handle
    except (ActivityError, asyncio.CancelledError):
        return "cancelled"
    return "paid"


WORKFLOWS: list[workflow.Workflow[..., Any]] = [pays, pays_after_a_stumble, pays_locally, pays_many, changes_its_mind]
ACTIVITIES: list[object] = [charges, stumbles, gives_up, asks_twice, says_too_much, threaded, lingers]
