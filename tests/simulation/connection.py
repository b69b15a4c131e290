"""The SDK's way to the service over the simulated network: all of it is real but for the way of one attempt."""

from __future__ import annotations

import asyncio

from perdure._cluster import LOOK_EVERY_SECONDS, Cluster
from perdure._connection import Connection, ConnectionOptions, _refusal
from perdure._service import Service
from perdure.client import Client
from perdure.converter import DataConverter
from perdure.exceptions import RPCError
from perdure_proto.channel import SHARD_MAP_HEADER
from tests.simulation.network import Answer, Route

CONVERTER = DataConverter()
OK = 300
ADDRESS = "http://perdure"
"""One for all servers, as behind a balancer: they do not tell where each of them is."""


class SimulatedConnection(Connection):
    """Requests of one process."""

    def __init__(  # not the real one's: that opens sockets
        self, route: Route, rpc_timeout: float, address: str = ADDRESS, *, keeps_map: bool = False
    ) -> None:
        self.address = address
        self._to = "" if address == ADDRESS else address
        self._headers = {SHARD_MAP_HEADER: "1"} if keeps_map else None
        self.rpc_timeout = rpc_timeout
        self._route = route

    async def send(self, method: str, path: str, data: bytes | None, timeout: float) -> bytes:
        status, body = await self._within(timeout, method, path, data or b"")
        if status <= 0:
            raise RPCError(f"cannot reach {self.address}") from ConnectionError("no answer")
        if status < OK:
            return body
        raise _refusal(status, body)

    async def _within(self, timeout: float, method: str, path: str, body: bytes) -> Answer:
        try:
            async with asyncio.timeout(timeout):
                if self._to:
                    return await self._route.exchange(method, path, body, to=self._to, headers=self._headers)
                return await self._route.exchange(method, path, body)
        except TimeoutError:
            return 0, b""

    async def close(self) -> None:
        """Nothing is open."""

    def __del__(self) -> None:
        """Nothing is open."""


class SimulatedCluster(Cluster):
    """The service as one process sees it."""

    def __init__(self, route: Route, rpc_timeout: float) -> None:
        super().__init__(ADDRESS, ConnectionOptions(rpc_timeout=rpc_timeout))
        self._route = route

    def _connection(self, address: str, *, keeps_map: bool = False) -> Connection:
        return SimulatedConnection(self._route, self.rpc_timeout, address, keeps_map=keeps_map)


def client_of(route: Route, name: str, *, rpc_timeout: float = 30.0, looks: bool = False) -> Client:
    """A client on a way in. One that looks learns the members with its first request, others later or never."""
    cluster = SimulatedCluster(route, rpc_timeout)
    if looks:
        cluster._looked_at = -LOOK_EVERY_SECONDS
    return Client(Service(cluster, "default", identity=name, converter=CONVERTER))
