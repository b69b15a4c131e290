"""Requests to a cluster: straight to the owner of a workflow where that is known, else through any server.

A server tells who is there (`GET /api/v1/cluster`). While that is one server, or an older one that does not know the
question, everything goes to the address that was given. With several, a request about a workflow goes to the owner of
its shard and says that a shard map is kept: a server that is not the owner answers who is, the map learns it, and the
request goes there at once. What an owner cannot be asked itself, for it is silent or out of reach from here (behind a
load balancer, say), is asked through another address without that word, and the server there forwards it.

An address of a member is used after it has shown once that the server which it should be is there.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final
from urllib.parse import quote

from perdure._connection import Connection, ConnectionOptions, normalized
from perdure._members import Members, Reach, Workflow
from perdure._requests import VERSION_PATH, Requests, refuse_version
from perdure.exceptions import RPCError
from perdure_proto.cluster import ClusterAnswer
from perdure_proto.errors import Code
from perdure_proto.service import VersionAnswer

CLUSTER_PATH: Final = "/api/v1/cluster"
HOPS_MAX: Final = 4
"""How many servers one attempt asks, each named by the one before; then it waits as any other repeat."""
LOOK_PAUSE_SECONDS: Final = 1.0
"""The least time between two questions who is there, however many want to know."""
LOOK_EVERY_SECONDS: Final = 30.0
"""A client that asks something looks from time to time whether servers came."""
LOOK_SECONDS_MAX: Final = 2.0
"""How long one server may take to say who is there, or that it is there."""
GONE_SECONDS: Final = 5.0
"""After a member has gone, what is under way there may end for so long."""


class Cluster(Requests):
    """The service at the addresses that were given, however many servers it has.

    Made inside of a running loop, and used on that loop alone. `addresses`: one, or several with commas between them.
    """

    def __init__(self, addresses: str, options: ConnectionOptions) -> None:
        given = [normalized(one.strip(), tls=bool(options.tls)) for one in addresses.split(",")]
        self.members: Members = Members(tuple(dict.fromkeys(given)))
        self.address: str = given[0]
        self.rpc_timeout: float = options.rpc_timeout
        self._options = options
        self._reach = Reach()
        self._connections: dict[tuple[str, bool], Connection] = {}
        self._probes: dict[str, asyncio.Task[bool]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[bool] | None = None
        self._looked_at = time.monotonic()
        self._closed = False

    # ---- requests ----------------------------------------------------------------------------------------------

    def about(self, namespace: str, workflow_id: str) -> Requests:
        """For requests about one workflow."""
        return _About(self, Workflow(namespace, workflow_id)) if self.members.several else self

    async def send(self, method: str, path: str, data: bytes | None, timeout: float) -> bytes:
        """One attempt at any server. Raises `RPCError`; `UNAVAILABLE` when there was no answer."""
        self._look_sometimes()
        address = self.address if self._is_one else await self._way_around()
        try:
            return await self._connection(address).send(method, path, data, timeout)
        except RPCError as error:
            self._learn(error, address)
            raise

    async def send_about(self, workflow: Workflow, method: str, path: str, data: bytes | None, timeout: float) -> bytes:
        """One attempt at the owner of a workflow, and at whom it names instead. Raises as `send` does."""
        self._look_sometimes()
        for hop in range(1, HOPS_MAX + 1):
            address = self.members.owner_of(workflow)
            direct = bool(address) and await self._reaches(address)
            address = address if direct else await self._way_around()
            try:
                return await self._connection(address, keeps_map=direct).send(method, path, data, timeout)
            except RPCError as error:
                if not self._learn(error, address) or hop == HOPS_MAX:
                    raise
        raise AssertionError("the last hop returns or raises")

    async def send_to(self, address: str, method: str, path: str, data: bytes | None, timeout: float) -> bytes:
        """One attempt at this member, through another one where it is out of reach. Raises as `send` does."""
        server = self.members.names.get(address, "")
        direct = not server or await self._reaches(address)
        way = address if direct else await self._way_around()
        target = path if direct else f"{path}?server={quote(server, safe='')}"
        try:
            return await self._connection(way, keeps_map=direct).send(method, target, data, timeout)
        except RPCError as error:
            self._learn(error, way)
            raise

    def to(self, address: str) -> Requests:
        """One member, whatever it owns: for who has a talk with each of them. Paths have no query."""
        return _To(self, address)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the members are, as they tell."""
        return tuple(self.members.names)

    def address_for(self, namespace: str, workflow_id: str) -> str:
        """The owner of a workflow; empty while nobody is known."""
        return self.members.owner_of(Workflow(namespace, workflow_id))

    def _learn(self, error: RPCError, address: str) -> bool:
        """Takes in what a refusal says of the cluster; whether there is another to ask at once."""
        if is_silence(error):
            self._reach.lost(address, time.monotonic())
        if error.code is Code.WRONG_OWNER:
            self.look()
            return bool(self.members.learn(error.details.get("shard"), error.details.get("address")))
        if error.code is Code.UNAVAILABLE and self.members.several:
            self._learn_cut_off(error)
            self.look()
        return False

    def _learn_cut_off(self, error: RPCError) -> None:
        """A server that is cut off from the others says so: they are asked instead, for a while."""
        for address, server in self.members.names.items():
            if server and server == error.details.get("cut_off"):
                self._reach.lost(address, time.monotonic())

    async def _way_around(self) -> str:
        """An address that any request can go through: one that was given, or else of a member."""
        members = self.members
        if self._is_one:
            return self.address
        for address in members.everywhere():
            if self._is_trusted(address) or await self._reaches(address):
                return address
        return self._reach.best(members.everywhere())[0]

    @property
    def _is_one(self) -> bool:
        """Whether there is one way only."""
        return len(self.members.given) == 1 and not self.members.several

    def _is_trusted(self, address: str) -> bool:
        """Whether it was given, and has not failed: nobody is asked first who that is."""
        return address in self.members.given and self._reach.is_new(address)

    def _connection(self, address: str, *, keeps_map: bool = False) -> Connection:
        connection = self._connections.get((address, keeps_map))
        if connection is None:
            if self._closed:
                raise RuntimeError("the client is closed")
            connection = Connection(address, self._options, keeps_map=keeps_map)
            self._connections[address, keeps_map] = connection
        return connection

    # ---- who can be reached ------------------------------------------------------------------------------------

    async def _reaches(self, address: str) -> bool:
        """Whether a member can be asked itself. One that failed is tried again beside what is asked for."""
        if self._reach.is_good(address):
            return True
        if self._reach.is_new(address):
            return await outcome(self._probe(address))
        if not self._reach.is_avoided(address, time.monotonic()):
            _ = self._probe(address)  # it is for those who ask later
        return False

    async def reaches(self, address: str) -> bool:
        """Whether a member can be asked itself; one that could not be for a while is tried again."""
        if self._reach.is_good(address):
            return True
        if self._reach.is_avoided(address, time.monotonic()):
            return False
        return await outcome(self._probe(address))

    def _probe(self, address: str) -> asyncio.Task[bool]:
        probe = self._probes.get(address)
        if probe is None:
            probe = self._probes[address] = asyncio.get_running_loop().create_task(self._is_there(address))
            probe.add_done_callback(lambda _: self._probes.pop(address, None))
        return probe

    async def _is_there(self, address: str) -> bool:
        """Behind a port that is mapped, another server may answer: it says who it is."""
        try:
            connection = self._connection(address, keeps_map=True)
            answer = await connection.request("GET", VERSION_PATH, None, VersionAnswer, LOOK_SECONDS_MAX)
            refuse_version(answer, address)
        except (RPCError, RuntimeError, ValueError):
            self._reach.lost(address, time.monotonic())
            return False
        if self.members.names.get(address, "") not in {"", answer.server_id}:
            self._reach.lost(address, time.monotonic())
            return False
        self._reach.found(address)
        return True

    # ---- who is there ------------------------------------------------------------------------------------------

    async def find_members(self) -> bool:
        """Asks who is there, now; whether a server said it."""
        self._looked_at = time.monotonic() - LOOK_PAUSE_SECONDS
        return await self.look_again()

    async def look_again(self) -> bool:
        """Waits for `look`; whether a server said who is there."""
        return await outcome(self._begin_look())

    def look(self) -> None:
        """Asks again who is there, at most once a second, for all who want to know."""
        _ = self._begin_look()  # nobody waits for it

    def _begin_look(self) -> asyncio.Task[bool]:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())
        return self._looking

    def _look_sometimes(self) -> None:
        if time.monotonic() - self._looked_at > LOOK_EVERY_SECONDS:
            self.look()

    async def _look(self) -> bool:
        await asyncio.sleep(max(0.0, self._looked_at + LOOK_PAUSE_SECONDS - time.monotonic()))
        self._looked_at = time.monotonic()
        for address in self._reach.best(self.members.everywhere()):
            if address not in self.members.given and not await self.reaches(address):
                continue
            try:
                connection = self._connection(address)
                answer = await connection.request("GET", CLUSTER_PATH, None, ClusterAnswer, LOOK_SECONDS_MAX)
            except RPCError as error:
                if error.code is Code.UNAVAILABLE and error.details.get("cut_off"):
                    self._learn_cut_off(error)
                elif not is_silence(error):
                    return False  # an older server, or one that starts: all goes on as it was
                else:
                    self._reach.lost(address, time.monotonic())
            except RuntimeError:
                return False  # closed meanwhile
            else:
                self._take(answer, address)
                return True
        return False

    def _take(self, answer: ClusterAnswer, address: str) -> None:
        before = set(self.members.names)
        self.members.take(answer)
        if address in self.members.given:
            self._reach.found(address)
        for gone in before.difference(self.members.everywhere()):
            asyncio.get_running_loop().call_later(GONE_SECONDS, self.let_go, gone)

    def let_go(self, address: str) -> None:
        """Closes what leads to an address, unless it is a member's or was given."""
        if self._closed or address in self.members.everywhere():
            return
        self._reach.forget(address)
        for keeps_map in (False, True):
            connection = self._connections.pop((address, keeps_map), None)
            if connection is not None:
                closing = asyncio.get_running_loop().create_task(connection.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Closes all connections; what is under way fails."""
        self._closed = True
        background: set[asyncio.Task[Any]] = {*self._probes.values(), *self._closing}
        if self._looking is not None:
            background.add(self._looking)
        for task in background:
            task.cancel()
        if background:
            await asyncio.wait(background)
        for connection in self._connections.values():
            await connection.close()


class _To(Requests):
    """One member."""

    def __init__(self, cluster: Cluster, address: str) -> None:
        self.address = address
        self.rpc_timeout = cluster.rpc_timeout
        self._cluster = cluster

    async def send(self, method: str, path: str, data: bytes | None, timeout: float) -> bytes:
        return await self._cluster.send_to(self.address, method, path, data, timeout)


class _About(Requests):
    """The same service for requests about one workflow."""

    def __init__(self, cluster: Cluster, workflow: Workflow) -> None:
        self.address = cluster.address
        self.rpc_timeout = cluster.rpc_timeout
        self._cluster = cluster
        self._workflow = workflow

    async def send(self, method: str, path: str, data: bytes | None, timeout: float) -> bytes:
        return await self._cluster.send_about(self._workflow, method, path, data, timeout)


async def outcome(task: asyncio.Task[bool]) -> bool:
    """What a task that others wait for too comes to; false when the client was closed meanwhile."""
    await asyncio.wait([task])
    return not task.cancelled() and task.result()


def is_silence(error: RPCError) -> bool:
    """Whether nobody answered, rather than a server that refused."""
    return error.code is Code.UNAVAILABLE and error.__cause__ is not None
