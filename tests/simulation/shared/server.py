"""A server of the cluster: the real composition root, over the model of the store and the simulated network.

It listens, joins, serves, joins again when its fence was lost, and leaves in order when it is told to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final, cast

from msgspec import structs

from perdure_proto.codec import encoder
from perdure_proto.errors import Code
from perdure_server import server as real
from perdure_server.cluster import presence
from perdure_server.cluster.options import OwnershipOptions
from perdure_server.config import ServerSettings
from perdure_server.frontend.others import NAMESPACES_PATH, PERMITS_PATH, RATES_PATH, TASK_QUEUE_PATH
from perdure_server.frontend.peers import DELIVER_PATH, LOOK_PATH
from perdure_server.frontend.refusals import refusal
from perdure_server.matching.port import Times
from perdure_server.store.postgres import PostgresStore
from tests.simulation.chance import wall
from tests.simulation.hosts import Host
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import REFUSED, Answer, Endpoint, Route, address_of
from tests.simulation.shared.membership import SharedStore
from tests.simulation.shared.peers import ROUTE, SimulatedPeers
from tests.simulation.trace import Trace

SHARDS: Final = 6
GIVE_MAX: Final = 2
"""So few that a hand-over takes several portions."""
SECONDS: Final = {"heartbeat_every": 0.5, "lease": 2.5, "drain": 3.0}


class Asking:
    """What the frontend reads of a request."""

    def __init__(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.method = method
        self.raw_path = target
        self.headers = headers
        self._body = body
        self.body_exists = bool(body)
        self.content_length = len(body)
        self.content = self

    def is_eof(self) -> bool:
        return True

    async def read(self) -> bytes:
        return self._body


class SharedServer:
    """One process of a server."""

    def __init__(self, host: Host, store: SharedStore, settings: ServerSettings, loop: SimulatedLoop) -> None:
        self.host = host
        self.store = store
        self._loop = loop
        self._settings = structs.replace(settings, shards=SHARDS, advertised_address=address_of(host.name), **_times())
        self._server = real.Server(self._settings)
        self.gate = self._server._gate
        self._life: asyncio.Task[Any] | None = None
        self._is_leaving = False

    async def run(self, endpoint: Endpoint, route: Route, trace: Trace) -> None:
        """The life of the process."""
        ROUTE.set(route)
        self._life = asyncio.current_task()
        try:
            while True:
                await self._server._join_and_serve(cast(PostgresStore, self.store))
                trace.note(self.host.name, "lost its fence")
        except asyncio.CancelledError:
            trace.note(self.host.name, "has left")
        if endpoint.pending:
            await asyncio.wait([*endpoint.pending.values()], timeout=self._settings.drain.total_seconds())
        self.host.kill()

    def leave(self) -> None:
        """SIGTERM; a second one ends the process at once."""
        if self._is_leaving or self._life is None:
            self.host.kill()
        else:
            self._is_leaving = True
            self._life.cancel()

    async def serve(self, method: str, target: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """One request."""
        frontend = self._server._frontend
        if frontend.draining:
            return REFUSED
        of_peers = frontend._internal
        internal = {
            DELIVER_PATH: of_peers.deliver,
            LOOK_PATH: of_peers.look,
            PERMITS_PATH: of_peers.permits,
            RATES_PATH: of_peers.rates,
            NAMESPACES_PATH: of_peers.namespaces,
            TASK_QUEUE_PATH: of_peers.task_queue,
        }
        request: Any = Asking(method, target, body, headers or {})
        try:
            answer: Any = await internal.get(target, frontend._serve)(request)
        except Exception as error:  # noqa: BLE001 - it belongs to the request
            found = refusal(error, method, target)
            if found.code == Code.INTERNAL:
                self._loop.call_exception_handler({"message": f"{method} {target}", "exception": error})
            return found.status, encoder.encode(found.body())
        return answer.status, cast(bytes, answer.body)


def _times() -> dict[str, Any]:
    return {name: timedelta(seconds=seconds) for name, seconds in SECONDS.items()}


def install() -> None:
    """For the rest of the process: sockets and clocks of the composition root are those of the worlds."""

    async def connected(store: Any, options: OwnershipOptions) -> Any:
        return await store.membership(options.server)

    def monotonic() -> float:
        return asyncio.get_running_loop().time()

    def times() -> Times:
        return Times(clock=monotonic, wall=wall, wake=asyncio.sleep)

    options = partial(OwnershipOptions, give_max=GIVE_MAX, monotonic=monotonic, wall_clock=wall)
    for module, name, instead in (
        (presence, "_connect", connected),
        (real, "real_times", times),
        (real, "Peers", SimulatedPeers),
        (real, "OwnershipOptions", options),
    ):
        assert hasattr(module, name), "it stands for what there is"
        setattr(module, name, instead)
