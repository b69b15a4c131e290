"""A cluster of scripted servers: each says who is there, and answers for the shards that the test gave it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from perdure._cluster import Cluster
from perdure._connection import ConnectionOptions
from perdure_proto.cluster import ClusterAnswer, ClusterMember
from perdure_proto.codec import encoder
from perdure_proto.errors import Code, ServiceError
from perdure_proto.ids import activities_of, shard_of
from perdure_proto.service import Acknowledged, VersionAnswer

SHARDS = 4


class Asked(msgspec.Struct):
    """A request that arrived."""

    method: str
    path: str
    keeps_map: bool
    body: bytes


class Town:
    """What is true of the cluster: who lives, and whose each shard is."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.listed: list[str] = []
        self.owners: list[str] = [""] * SHARDS

    def owner_of(self, namespace: str, workflow_id: str) -> str:
        return self.owners[shard_of(namespace, workflow_id, SHARDS)]

    def give(self, owner: str, *shards: int) -> None:
        """These shards are that member's; all where none is named."""
        for shard in shards or range(SHARDS):
            self.owners[shard] = owner

    def answer(self) -> ClusterAnswer:
        members = tuple(
            ClusterMember(server=name, address=self.members[name].advertised, shards=self.owners.count(name))
            for name in self.listed
        )
        owners = tuple(self.listed.index(owner) if owner in self.listed else -1 for owner in self.owners)
        return ClusterAnswer(shards=SHARDS, members=members, owners=owners)


class Member:
    """One server. `serves` is what it does with a request that is its own."""

    def __init__(self, town: Town, name: str) -> None:
        self.town = town
        self.name = name
        self.called = name
        """Who it says it is."""
        self.address = ""
        self.advertised = ""
        self.knows_cluster = True
        self.names_owner = True
        self.asked: list[Asked] = []
        self.looks = 0
        self.handshakes: list[bool] = []
        self.gate: asyncio.Event | None = None
        """What a look waits for, if anything."""
        self.serves: Callable[[Asked], web.Response] = lambda _: said(Acknowledged(run_id=self.name))
        self.refuses: ServiceError | None = None
        self._runner: web.AppRunner | None = None

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    async def open(self) -> None:
        """On the same port as before, if it was open before."""
        app = web.Application()
        app.router.add_get("/api/v1/cluster", self._cluster)
        app.router.add_get("/api/v1/version", self._version)
        app.router.add_get("/api/v1/channel", self._no_channel)
        app.router.add_route("*", "/api/v1/namespaces/{namespace}/{kind}/{id}{rest:.*}", self._about)
        app.router.add_route("*", "/{path:.*}", self._plain)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
        await self._runner.setup()
        port = int(self.address.rpartition(":")[2]) if self.address else 0
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self.advertised = self.advertised or self.address

    async def die(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _cluster(self, _: web.Request) -> web.Response:
        self.looks += 1
        if self.gate is not None:
            await self.gate.wait()
        if not self.knows_cluster:
            return refused(ServiceError(Code.NOT_FOUND, "no such path"))
        return said(self.town.answer())

    async def _version(self, _: web.Request) -> web.Response:
        return said(
            VersionAnswer(server_version="0", protocol_version=1, protocol_version_min=1, server_id=self.called)
        )

    async def _no_channel(self, request: web.Request) -> web.Response:
        self.handshakes.append(request.headers.get("perdure-shard-map") == "1")
        return refused(ServiceError(Code.NOT_FOUND, "no such path"))

    async def _plain(self, request: web.Request) -> web.Response:
        return self.serves(await self._note(request))

    async def _about(self, request: web.Request) -> web.Response:
        """Answers where it is the owner, or as the owner does; who keeps a map is told who is."""
        asked = await self._note(request)
        if self.refuses is not None:
            return refused(self.refuses)
        namespace = request.match_info["namespace"]
        namespace = activities_of(namespace) if request.match_info["kind"] == "activities" else namespace
        shard = shard_of(namespace, request.match_info["id"], SHARDS)
        owner = self.town.owners[shard]
        if owner != self.name and asked.keeps_map:
            address = self.town.members[owner].advertised if owner and self.names_owner else ""
            return refused(ServiceError(Code.WRONG_OWNER, "not mine", shard=shard, address=address))
        if owner != self.name and (owner not in self.town.members or not self.town.members[owner].lives):
            return refused(ServiceError(Code.UNAVAILABLE, "its owner does not answer"))
        return self.town.members[owner].serves(asked)

    @property
    def lives(self) -> bool:
        return self._runner is not None

    async def _note(self, request: web.Request) -> Asked:
        keeps_map = request.headers.get("perdure-shard-map") == "1"
        asked = Asked(request.method, request.path, keeps_map, await request.read())
        self.asked.append(asked)
        return asked


def said(value: object) -> web.Response:
    return web.Response(body=encoder.encode(value), content_type="application/json")


def refused(error: ServiceError) -> web.Response:
    return web.Response(status=error.status, body=encoder.encode(error.body()), content_type="application/json")


@asynccontextmanager
async def town(*names: str) -> AsyncIterator[Town]:
    """Servers of these names; the first one owns all."""
    made = Town()
    for name in names:
        made.members[name] = Member(made, name)
        await made.members[name].open()
    made.listed = list(names)
    made.give(names[0])
    try:
        yield made
    finally:
        for member in made.members.values():
            await member.die()


@asynccontextmanager
async def client_of(addresses: str, **options: Any) -> AsyncIterator[Cluster]:
    """A client that has looked who is there."""
    cluster = Cluster(addresses, ConnectionOptions(**options))
    try:
        await cluster.find_members()
        yield cluster
    finally:
        await cluster.close()


def id_in(shard: int, namespace: str = "default") -> str:
    """A workflow id of that shard."""
    return next(name for name in (f"w-{n}" for n in range(1_000)) if shard_of(namespace, name, SHARDS) == shard)


async def until(holds: Callable[[], object]) -> None:
    """Lets the loop turn until something holds of which nothing tells."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - servers and clients are in this loop: each turn brings them on
            await asyncio.sleep(0)
