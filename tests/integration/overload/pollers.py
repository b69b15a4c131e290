"""Workers that only poll: each is a session of its own with one poll parked, and never completes what it gets."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Self

import aiohttp

from perdure_proto.codec import encoder
from perdure_proto.tasks import PollRequest, WorkerInfo
from tests.processes import ServerProcess

WORKFLOW_TYPE = "nobody"


class Poller:
    """One session. `got` has the workflow ids of its tasks."""

    def __init__(self, session: aiohttp.ClientSession, server: ServerProcess, queue: str, name: str) -> None:
        self._session = session
        self._url = f"{server.address}/api/v1/namespaces/default/task-queues/{queue}/poll"
        self._name = name
        self._sequence = 0

    async def introduce(self) -> None:
        """The server knows the session from now on."""
        worker = WorkerInfo(identity=self._name, workflow_types=(WORKFLOW_TYPE,))
        await self._poll(PollRequest(session=self._name, sequence=self._next(), worker=worker, wait=timedelta(0)))

    async def task(self) -> str:
        """Waits for one task, and gives the id of its workflow."""
        acknowledged = (self._sequence,)
        while True:
            request = PollRequest(
                session=self._name, sequence=self._next(), acknowledged=acknowledged, workflow_slots=1
            )
            answer = await self._poll(request)
            if answer.get("tasks"):
                workflow_id: str = answer["tasks"][0]["workflow_id"]
                return workflow_id
            acknowledged = (request.sequence,)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    async def _poll(self, request: PollRequest) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._url, data=encoder.encode(request), headers=headers) as answer:
            told: dict[str, Any] = await answer.json()
            assert 200 == answer.status, told
            return told


class Crowd:
    """So many pollers of a queue, each parked again after each task."""

    def __init__(self, session: aiohttp.ClientSession, server: ServerProcess, queue: str, count: int) -> None:
        self._pollers = [Poller(session, server, queue, f"{queue}-{number}") for number in range(count)]
        self._parked: list[asyncio.Task[None]] = []
        self.got: asyncio.Queue[str] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(poller.introduce() for poller in self._pollers))
        self._parked = [asyncio.create_task(self._take(poller)) for poller in self._pollers]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._parked:
            task.cancel()
        await asyncio.gather(*self._parked, return_exceptions=True)

    async def tasks(self, count: int) -> set[str]:
        """The workflow ids of the next tasks."""
        return {await self.got.get() for _ in range(count)}

    async def _take(self, poller: Poller) -> None:
        while True:
            self.got.put_nowait(await poller.task())
