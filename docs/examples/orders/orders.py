"""An order: reserve the goods, wait until somebody approves, charge, leave time for second thoughts, ship.

Each call to the shop may fail, before or after the shop did its work, and each process may be killed at any line. The
workflow below says nothing of all that. What keeps it right: steps that are done are never run again, a step that
failed is repeated under its retry policy, and each step carries a key by which the shop knows a repetition.
"""

import asyncio
import os
from dataclasses import dataclass
from datetime import timedelta

import aiohttp

from perdure import ApplicationError, RetryPolicy, activity, workflow

SHOP_URL = os.environ.get("SHOP_URL", "http://127.0.0.1:8080")
SECOND_THOUGHTS_SECONDS = 2

# A worker that dies takes its calls with it: after this long such a call is made again elsewhere.
ATTEMPT = timedelta(seconds=5)
# The shop fails one call in five: soon again, then slower, for as long as it takes.
PERSISTENT = RetryPolicy(initial_interval=timedelta(seconds=0.2), maximum_interval=timedelta(seconds=5))


@dataclass
class Order:
    id: str
    item: str
    quantity: int
    cents: int


@dataclass
class Approval:
    by: str
    ok: bool = True


@dataclass
class Receipt:
    """What the shop called each step; empty for a step that was not taken."""

    order_id: str
    outcome: str
    reservation: str
    charge: str = ""
    shipment: str = ""


approve = workflow.Signal[Approval]("approve")
status = workflow.Query[[], str]("status")


@workflow.defn
async def fulfil_order(order: Order) -> Receipt:
    step = "reserving"

    @status.handler
    def _status() -> str:
        return step

    reservation = await reserve(order)

    step = "waiting for approval"
    approval = await approve.channel().receive()
    if not approval.ok:
        step = "releasing"
        await release(order)
        step = f"rejected by {approval.by}"
        return Receipt(order.id, "rejected", reservation)

    step = "charging"
    charged = await charge(order)

    step = "leaving time for second thoughts"
    await asyncio.sleep(SECOND_THOUGHTS_SECONDS)

    step = "shipping"
    shipment = await ship(order)

    step = "shipped"
    return Receipt(order.id, "shipped", reservation, charged, shipment)


@activity.defn(start_to_close_timeout=ATTEMPT, retry_policy=PERSISTENT)
async def reserve(order: Order) -> str:
    return await ask_shop("reserve", order)


@activity.defn(start_to_close_timeout=ATTEMPT, retry_policy=PERSISTENT)
async def charge(order: Order) -> str:
    return await ask_shop("charge", order)


@activity.defn(start_to_close_timeout=ATTEMPT, retry_policy=PERSISTENT)
async def ship(order: Order) -> str:
    return await ask_shop("ship", order)


@activity.defn(start_to_close_timeout=ATTEMPT, retry_policy=PERSISTENT)
async def release(order: Order) -> str:
    return await ask_shop("release", order)


async def ask_shop(step: str, order: Order) -> str:
    """Ask the shop for one step, and return what the shop calls it.

    The key is the same in every attempt: if an earlier one did the work and its answer was lost, the shop gives that
    answer again.
    """
    call = {"order": order.id, "item": order.item, "quantity": order.quantity, "cents": order.cents}
    headers = {"Idempotency-Key": f"{order.id}/{step}"}
    async with (
        aiohttp.ClientSession(SHOP_URL) as session,
        session.post(f"/{step}", json=call, headers=headers) as answer,
    ):
        if not answer.ok:
            ours = answer.status < 500  # our mistake: asking again would not help
            said = f"the shop answered {answer.status}: {await answer.text()}"
            raise ApplicationError(said, type="Refused" if ours else "OutOfOrder", non_retryable=ours)
        reference: str = (await answer.json())["reference"]
        return reference
