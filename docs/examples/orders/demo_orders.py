"""The customers: they place orders, approve each a little later, and wait for the receipts.

They do nothing about the trouble: while the service is gone the client repeats each request, under one request id, so
that no order is started twice and no approval is lost.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from demo_stack import TASK_QUEUE
from orders import Approval, Order, Receipt, approve, fulfil_order, status

from perdure import Client
from perdure.exceptions import RPCError, WorkflowFailureError

PLACE_EVERY_SECONDS = 0.25
APPROVED_AFTER_SECONDS = (0.2, 2.0)
ITEMS = ("teapot", "lamp", "violin", "atlas", "kite")


@dataclass
class Placed:
    """One order and what its customer saw; times are of the monotonic clock, 0 where it has not happened."""

    order: Order
    approved_after: float
    started_at: float = 0.0
    approved_at: float = 0.0
    finished_at: float = 0.0
    receipt: Receipt | None = None
    failure: str = ""

    @property
    def seconds(self) -> float:
        """How long the order took."""
        return self.finished_at - self.started_at

    @property
    def is_open(self) -> bool:
        return bool(self.started_at) and not self.finished_at


class Customers:
    """All orders, and where they stand."""

    def __init__(self, client: Client, count: int, seed: int) -> None:
        chance = random.Random(seed)
        self.placed = [
            Placed(
                Order(f"order-{n:03}", chance.choice(ITEMS), chance.randint(1, 5), chance.randint(500, 50_000)),
                chance.uniform(*APPROVED_AFTER_SECONDS),
            )
            for n in range(1, count + 1)
        ]
        self._client = client
        self._changed = asyncio.Condition()

    async def shop(self) -> None:
        """Place all orders, one after the other, and see each through."""
        async with asyncio.TaskGroup() as tasks:
            for placed in self.placed:
                tasks.create_task(self._see_through(placed))
                await asyncio.sleep(PLACE_EVERY_SECONDS)

    async def until_started(self, count: int) -> None:
        await self._until(lambda: sum(1 for one in self.placed if one.started_at) >= count)

    async def until_finished_after(self, moment: float) -> None:
        """Wait until an order has finished later than that, or all have finished."""
        await self._until(lambda: max(self._finished()) > moment or all(self._finished()))

    async def ask_status(self, placed: Placed) -> str:
        """What an order itself says, for a report of those that are stuck."""
        try:
            async with asyncio.timeout(2):
                return await self._client.get_workflow_handle(placed.order.id).query(status)
        except (RPCError, TimeoutError) as error:
            return f"no answer ({type(error).__name__} {error})"

    async def count_attempts(self, placed: Placed) -> dict[str, int]:
        """How often each activity of an order was tried, by its name."""
        history = await self._client.get_workflow_handle(placed.order.id).fetch_history()
        scheduled = [event for event in history.events if event.event_type == "ActivityTaskScheduled"]
        started = [event for event in history.events if event.event_type == "ActivityTaskStarted"]
        names = {event.event_id: event.attributes["activity_type"] for event in scheduled}
        return {names[event.attributes["scheduled_event_id"]]: event.attributes["attempt"] for event in started}

    def _finished(self) -> list[float]:
        return [one.finished_at for one in self.placed]

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(holds)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _see_through(self, placed: Placed) -> None:
        try:
            await self._order(placed)
        except (WorkflowFailureError, RPCError) as error:
            placed.failure = str(error)
        placed.finished_at = time.monotonic()
        await self._tell()

    async def _order(self, placed: Placed) -> None:
        order = placed.order
        handle = await self._client.start_workflow(fulfil_order, order, id=order.id, task_queue=TASK_QUEUE)
        placed.started_at = time.monotonic()
        await self._tell()
        await asyncio.sleep(placed.approved_after)
        await handle.signal(approve, Approval(by="the demo"))
        placed.approved_at = time.monotonic()
        placed.receipt = await handle.result()
