"""A session, its poller and its responder, wired to a scripted service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from perdure._cluster import Cluster
from perdure._connection import ConnectionOptions
from perdure.exceptions import RPCError
from perdure_proto.tasks import ActivityTask, PollAnswer, RespondAnswer, WorkerInfo
from perdure_worker.exchange import Exchange
from perdure_worker.poller import Poller
from perdure_worker.responder import Responder
from perdure_worker.session import Session
from perdure_worker.shares import Shares
from perdure_worker.slots import Slots
from tests.unit.worker.service import Service, serve

QUEUE = "/api/v1/namespaces/default/task-queues/default"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


class Wired:
    """What a worker is made of below its tasks."""

    polling: asyncio.Task[None]

    def __init__(self, service: Service, connection: Cluster) -> None:
        self.service = service
        self.held: tuple[str, ...] = ()
        self.taken: asyncio.Queue[PollAnswer | RespondAnswer] = asyncio.Queue()
        self.slots = Slots(workflows=10, activities=10)
        self.session = Session(lambda: WorkerInfo(identity="test", held=self.held))
        exchange = Exchange(connection, pause=no_pause)
        take = self.taken.put_nowait
        share = Shares(self.slots).join()
        self.poller = Poller(self.session, exchange, share, queue_path=QUEUE, take=take)
        self.responder = Responder(self.session, exchange, share, queue_path=QUEUE, take=take)

    async def introduce(self) -> None:
        """Answers the introduction."""
        (await self.service.polls.get()).answer()
        await self.taken.get()


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Cluster]:
    connection = Cluster(address, ConnectionOptions())
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def wired() -> AsyncIterator[Wired]:
    """The poller runs; nothing is introduced yet."""
    async with serve() as service, connected(service.address) as connection:
        parts = Wired(service, connection)
        parts.polling = asyncio.create_task(parts.poller.run())
        try:
            yield parts
        finally:
            parts.responder.stop()
            parts.polling.cancel()
            with suppress(asyncio.CancelledError, RPCError):
                await parts.polling


def activity_task(token: str, **fields: object) -> ActivityTask:
    """A task of an activity that needs no more than its token."""
    values = {
        "token": token,
        "workflow_id": "w",
        "run_id": "r",
        "workflow_type": "hello",
        "activity_id": "1",
        "activity_type": "greet",
        "scheduled_time": NOW,
        "current_attempt_scheduled_time": NOW,
        "started_time": NOW,
        **fields,
    }
    return ActivityTask(**values)  # type: ignore[arg-type] # a test names what it changes
