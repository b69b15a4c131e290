"""The running mix, seen from its callers: each sends, remembers what was acknowledged, and at the end asks for it."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Self

from perdure import Client
from perdure.client import WorkflowHandle
from tests.programs.mixed import Progress, add, finish, mixed, numbers

ROUNDS_A_RUN = 4
PATIENCE = timedelta(seconds=40)


class Acknowledged:
    """Counts what was acknowledged, and lets others wait for more."""

    def __init__(self) -> None:
        self.count = 0
        self._more = asyncio.Condition()

    async def one(self) -> None:
        async with self._more:
            self.count += 1
            self._more.notify_all()

    async def more(self, by: int) -> None:
        """Wait until so many more were acknowledged."""
        wanted = self.count + by
        async with asyncio.timeout(PATIENCE.total_seconds()), self._more:
            await self._more.wait_for(lambda: self.count >= wanted)


class Caller:
    """One workflow, and all that was acknowledged to the one who talks to it."""

    def __init__(self, client: Client, task_queue: str, acknowledged: Acknowledged) -> None:
        self._acknowledged = acknowledged
        self._client = client
        self._queue = task_queue
        self._handle: WorkflowHandle[Progress]
        self.id = f"mixed-{uuid.uuid4()}"
        self.sent = 0
        self.updates: list[int] = []

    async def start(self) -> None:
        self._handle = await self._client.start_workflow(
            mixed, ROUNDS_A_RUN, Progress(), id=self.id, task_queue=self._queue
        )

    async def talk(self, enough: asyncio.Event) -> None:
        """Signals and updates, one after the other, until it is enough."""
        while not enough.is_set():
            await self._handle.signal(numbers, self.sent)
            self.sent += 1
            await self._acknowledged.one()
            value = len(self.updates)
            assert 2 * value == await self._handle.execute_update(add, value)
            self.updates.append(value)
            await self._acknowledged.one()

    async def finish(self) -> Progress:
        await self._handle.signal(finish)
        return await self._handle.result()

    def check(self, result: Progress) -> None:
        """All that was acknowledged is there, once and in order, and so is each round of work."""
        assert list(range(self.sent)) == result.signals
        assert self.updates == result.updates
        rounds = len(result.work) // 2
        expected = [value for n in range(rounds) for value in (2 * (n % ROUNDS_A_RUN), 3 * (n % ROUNDS_A_RUN))]
        assert expected == result.work


class Load:
    """Several callers at once."""

    def __init__(self, client: Client, *, callers: int = 6, task_queue: str = "default") -> None:
        self.acknowledged = Acknowledged()
        self.callers = [Caller(client, task_queue, self.acknowledged) for _ in range(callers)]
        self._enough = asyncio.Event()
        self._talking: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await asyncio.gather(*(caller.start() for caller in self.callers))
        self._talking = [asyncio.create_task(caller.talk(self._enough)) for caller in self.callers]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._talking:
            task.cancel()
        await asyncio.gather(*self._talking, return_exceptions=True)

    async def finish(self) -> list[Progress]:
        """Stop talking, let each workflow end, and check what came out; raises what any call raised."""
        self._enough.set()
        async with asyncio.timeout(PATIENCE.total_seconds()):
            await asyncio.gather(*self._talking)
            results = await asyncio.gather(*(caller.finish() for caller in self.callers))
        for caller, result in zip(self.callers, results, strict=True):
            caller.check(result)
        return results
