"""The trouble: kill -9 of a worker, of the history server and of Postgres, each while orders are open.

Nobody is warned. A while later whatever was killed is started again, as any supervisor would do it.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from demo_orders import Customers, Placed
from demo_processes import Process
from demo_stack import Stack

# An attentive supervisor takes about this long.
DOWN_SECONDS = 1.0


@dataclass
class Kill:
    """One kill and what followed; times are of the monotonic clock, 0 where it has not happened."""

    name: str
    killed_at: float
    open_orders: list[Placed]
    has_stand_in: bool
    """Whether another process does its work meanwhile."""
    back_at: float = 0.0

    def next_finished_at(self, orders: list[Placed]) -> float:
        """When the first order finished without the one that was killed; 0 if none did yet."""
        since = self.killed_at if self.has_stand_in else self.back_at
        return min((one.finished_at for one in orders if since and one.finished_at > since), default=0.0)

    @property
    def all_finished_at(self) -> float:
        """When the last of the orders that were open at the kill had finished; 0 if some did not."""
        times = [placed.finished_at for placed in self.open_orders]
        return max(times) if all(times) else 0.0


class Trouble:
    def __init__(self, stack: Stack, customers: Customers) -> None:
        self.kills: list[Kill] = []
        self._stack = stack
        self._victims = (stack.workers[0], stack.server, stack.postgres)
        self._customers = customers

    async def cause(self) -> None:
        """One kill after a quarter, a half and three quarters of the orders, each after the last was overcome."""
        count = len(self._customers.placed)
        for number, victim in enumerate(self._victims, 1):
            await self._customers.until_started(number * count // (len(self._victims) + 1))
            kill = await self._kill(victim)
            await self._customers.until_finished_after(kill.back_at)

    def faults(self) -> Iterator[str]:
        """What was not tried after all, in one line each."""
        spared = [victim.name for victim in self._victims[sum(1 for kill in self.kills if kill.back_at) :]]
        yield from (f"{name} was not killed and started again" for name in spared)
        yield from (f"no order was open when {kill.name} was killed" for kill in self.kills if not kill.open_orders)

    async def _kill(self, victim: Process) -> Kill:
        open_orders = [one for one in self._customers.placed if one.is_open]
        kill = Kill(victim.name, time.monotonic(), open_orders, has_stand_in=victim in self._stack.workers)
        self.kills.append(kill)
        victim.kill()
        await asyncio.sleep(DOWN_SECONDS)
        await victim.start_again()
        await self._stack.until_ready(victim)
        kill.back_at = time.monotonic()
        return kill
