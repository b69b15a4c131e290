"""A worker on a scripted service, introduced and ready for tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from perdure._service import Service as ClientService
from perdure.client import Client
from perdure.converter import DataConverter
from perdure_proto.tasks import AnyCompletion
from perdure_worker.worker import Worker
from tests.unit.worker.service import Arrived, Service, serve
from tests.unit.worker.wired import connected


class Serving:
    """A service, and the worker that it has just met."""

    def __init__(self, service: Service, worker: Worker) -> None:
        self.service = service
        self.worker = worker
        self.poll: Arrived[Any]

    async def meet(self) -> None:
        (await self.service.polls.get()).answer()
        self.poll = await self.service.polls.get()

    async def give(self, *tasks: Any, pushes: Sequence[Any] = ()) -> None:
        """Answers the open poll and takes the next."""
        self.poll.answer(*tasks, pushes=tuple(pushes))
        self.poll = await self.service.polls.get()

    async def next_completions(self) -> tuple[AnyCompletion, ...]:
        """What the worker hands in next; it is told that it is durable."""
        respond = await self.service.responds.get()
        respond.answer()
        completions: tuple[AnyCompletion, ...] = respond.request.completions
        return completions

    async def next_completion(self) -> AnyCompletion:
        (completion,) = await self.next_completions()
        return completion


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Serving]:
    """Runs a worker with these options; what it does while it stops is not answered but for its leaving."""
    async with serve() as service, connected(service.address) as connection:
        client = Client(ClientService(connection, "default", identity="test", converter=DataConverter()))
        async with Worker(client, **options) as worker:
            one = Serving(service, worker)
            await one.meet()
            yield one
