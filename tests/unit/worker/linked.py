"""A worker on several scripted services of one cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from perdure import _cluster, activity
from perdure._service import Service as ClientService
from perdure.client import Client
from perdure.converter import DataConverter
from perdure_proto.cluster import ClusterAnswer, ClusterMember
from perdure_proto.ids import shard_of
from perdure_proto.tasks import PollRequest
from perdure_worker import assembly, links
from perdure_worker.worker import Worker
from tests.unit.worker.service import Arrived, Service, serve
from tests.unit.worker.wired import activity_task, connected

SHARDS = 4


class Linked:
    """The services by name, and the worker that finds them. The first one is where the client was told to go."""

    def __init__(self, hosts: AsyncExitStack) -> None:
        self.services: dict[str, Service] = {}
        self.listed: list[str] = []
        self.owners: list[str] = []
        self.polls: dict[str, Arrived[PollRequest]] = {}
        self.worker: Worker
        self._hosts = hosts
        self._each: dict[str, AsyncExitStack] = {}

    async def host(self, name: str) -> Service:
        """A service begins; the cluster does not list it yet."""
        each = self._each[name] = await self._hosts.enter_async_context(AsyncExitStack())
        service = self.services[name] = await each.enter_async_context(serve())
        service.name = name
        service.others = self.services
        return service

    async def die(self, name: str) -> None:
        """A service is not there any more, though the cluster still lists it: what is for it nobody answers."""
        await self._each[name].aclose()

    def list(self, *names: str) -> None:
        """Who is there now, says whoever is asked; the first one owns all."""
        addresses = [(name, self.services[name].address) for name in names]
        members = tuple(ClusterMember(server=name, address=address) for name, address in addresses)
        owners = tuple(names.index(owner) if owner in names else 0 for owner in self.owners or [""] * SHARDS)
        for service in self.services.values():
            service.cluster = ClusterAnswer(shards=SHARDS, members=members, owners=owners)

    async def meet(self, name: str) -> PollRequest:
        """Answers the introduction, and takes the poll that follows it."""
        introduction = await self.services[name].polls.get()
        introduction.answer()
        self.polls[name] = await self.services[name].polls.get()
        return introduction.request

    async def give(self, name: str, *tasks: Any, pushes: tuple[Any, ...] = ()) -> None:
        """Answers the poll that is open at a service; of those that follow, the first made after it is taken."""
        self.polls[name].answer(*tasks, pushes=pushes)
        polls = self.services[name].polls
        made_before = polls.qsize()
        for _ in range(made_before + 1):
            self.polls[name] = await polls.get()

    async def respond(self, name: str) -> Arrived[Any]:
        return await self.services[name].responds.get()


@activity.defn
async def greet() -> str:
    return "hello"


def task(token: str) -> Any:
    """A task of an activity that ends at once."""
    return activity_task(token, activity_type="greet")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is there is asked without a pause, and a worker that stops does not wait for what nobody answers."""
    monkeypatch.setattr(_cluster, "LOOK_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(links, "LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(assembly, "FLUSH_SECONDS", 0.1)


@asynccontextmanager
async def linked(*names: str, listed: tuple[str, ...] | None = None, **options: Any) -> AsyncIterator[Linked]:
    """A worker that has begun; nobody has answered it yet."""
    async with AsyncExitStack() as hosts:
        there = Linked(hosts)
        for name in names:
            await there.host(name)
        there.list(*(names if listed is None else listed))
        connection = await hosts.enter_async_context(connected(there.services[names[0]].address))
        await connection.find_members()
        client = Client(ClientService(connection, "default", identity="test", converter=DataConverter()))
        async with Worker(client, **{"activities": [greet], **options}) as there.worker:
            yield there


async def until(holds: Callable[[], object]) -> None:
    """Lets the loop turn until something holds of which nothing tells."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - services and worker are in this loop: each turn brings them on
            await asyncio.sleep(0)


def id_in(shard: int) -> str:
    """A workflow id of that shard."""
    return next(name for name in (f"w-{n}" for n in range(1_000)) if shard_of("default", name, SHARDS) == shard)
