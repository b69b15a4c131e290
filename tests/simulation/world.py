"""A world: one scenario put together and run to rest in virtual time.

Hosts come and go as the faults say; a process that died is started again a while later, under the same name. At
`calm_at` all faults end; then everything owed must happen.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, Final

import msgspec

from perdure_proto.tasks import RespondAnswer, RespondRequest
from perdure_server.config import Limits, ServerSettings
from perdure_server.store.model import ModelStore
from perdure_server.store.port import STATUS_NUMBERS
from perdure_worker import Worker
from tests.simulation.chance import cluster_now
from tests.simulation.clients import SimulatedClient
from tests.simulation.connection import client_of
from tests.simulation.hosts import Host
from tests.simulation.journal import Journal
from tests.simulation.loop import SimulatedLoop
from tests.simulation.membership import Members
from tests.simulation.network import Answer, Endpoint, Network, Weather
from tests.simulation.program import program, work
from tests.simulation.richer import ACTIVITIES
from tests.simulation.scenario import Action, Scenario
from tests.simulation.server import SimulatedServer
from tests.simulation.shared.membership import SharedStore
from tests.simulation.shared.server import SharedServer
from tests.simulation.shared.tables import SharedModel
from tests.simulation.store import StoreOfHost, StoreWeather
from tests.simulation.trace import Trace

SHARDS: Final = 4
RESTART_SECONDS: Final = 1.0
REST_SECONDS_MAX: Final = 900.0
"""So long after the last fault a world may take to come to rest."""
PAUSED: Final = STATUS_NUMBERS["PAUSED"]
RUNNING: Final = STATUS_NUMBERS["RUNNING"]

_responds = msgspec.json.Decoder(RespondRequest)
_answers = msgspec.json.Decoder(RespondAnswer)


class World:
    """Everything that runs, and what it left."""

    def __init__(self, scenario: Scenario, loop: SimulatedLoop) -> None:
        self.scenario = scenario
        self.loop = loop
        self.trace = Trace(loop)
        self.journal = Journal()
        self.model = SharedModel(cluster_now) if scenario.is_shared else ModelStore(cluster_now)
        self.members = Members()
        self.network = Network(loop, self.trace, scenario.weather, scenario.seed)
        self.hosts: dict[str, Host] = {}
        self.past: list[Host] = []
        self.servers: dict[str, SimulatedServer | SharedServer] = {}
        self.workers: list[Worker] = []
        self.is_calm = False
        self.findings: list[str] = self.model.findings if isinstance(self.model, SharedModel) else []
        """What was seen to be wrong while it ran."""
        self._random = Random(f"{scenario.seed}/world")
        self._scripts: list[asyncio.Task[None]] = []
        self._lives = 0

    def begin(self) -> None:
        """All processes start."""
        for number in range(self.scenario.servers):
            self.start(f"server-{number}")
        for number in range(self.scenario.workers):
            self.start(f"worker-{number}")
        for number, script in enumerate(self.scenario.clients):
            self._start_client(f"client-{number}", script)

    def start(self, name: str) -> None:
        """A process of this name, unless one runs."""
        known = self.hosts.get(name)
        if known is not None and not known.is_dead:
            return
        self._lives += 1
        host = self.hosts[name] = Host(name, self.loop)
        host.on_death.append(lambda: self._died(host))
        self.trace.note(name, "starts")
        if name.startswith("server"):
            self._start_server(host)
        else:
            self._start_worker(host)

    def calm(self) -> None:
        """Faults are over: whoever is dead comes back, whoever is frozen goes on."""
        self.is_calm = True
        self.network.weather = Weather()
        self.trace.note("world", "calm")
        self.network.apart.clear()
        for endpoint in self.network.endpoints:
            endpoint.is_cut = False
        for name, host in list(self.hosts.items()):
            host.clock_error = 0.0
            host.steps_left = -1
            if host.is_frozen:
                self.loop.thaw(host)
            if host.is_dead:
                self.start(name)
        for server in self.servers.values():
            server.store.weather = StoreWeather()
            server.store.is_cut = False

    def owns(self, server: str, shard_id: int) -> bool:
        """Whether the table says so."""
        return (self.model if isinstance(self.model, SharedModel) else self.members).owns(server, shard_id)

    def is_at_rest(self) -> bool:
        """Whether nothing more will happen."""
        tables = self.model.tables
        return (
            self.is_calm
            and all(script.done() for script in self._scripts)
            and not any(row.status in (RUNNING, PAUSED) for row in tables.executions.values())
            and not any(wake.owed for wake in tables.wakes.values())
        )

    # ---- processes --------------------------------------------------------------------------------------------

    def _died(self, host: Host) -> None:
        self.trace.note(host.name, "dies")
        self.past.append(host)
        self.network.later(RESTART_SECONDS * self._random.uniform(0.1, 2.0), self.start, host.name)

    def _start_server(self, host: Host) -> None:
        weather = StoreWeather() if self.is_calm else self.scenario.store_weather
        kind = SharedStore if self.scenario.is_shared else StoreOfHost
        store = kind(self.model, weather, self.loop, self.trace, f"{self.scenario.seed}/{self._lives}/{host.name}")
        limits = Limits(history_events_suggest=50)
        settings = ServerSettings(name=host.name, shards=SHARDS, engine=self.scenario.engine, limits=limits)
        self.network.endpoints = [each for each in self.network.endpoints if not each.host.is_dead]
        if isinstance(store, SharedStore):
            route = self.network.route(f"{host.name}/{self._lives}")
            shared = self.servers[host.name] = SharedServer(host, store, settings, self.loop)
            self.network.endpoints.append(endpoint := Endpoint(host, shared.serve))
            host.main(shared.run(endpoint, route, self.trace))
            return
        server = self.servers[host.name] = SimulatedServer(host, store, settings, self.loop)
        self.network.endpoints.append(Endpoint(host, server.serve))
        host.main(server.run(self.members, self.trace))

    def _start_worker(self, host: Host) -> None:
        route = self.network.route(f"{host.name}/{self._lives}")
        host.main(self._work(host, route.exchange, route))

    async def _work(self, host: Host, exchange: Any, route: Any) -> None:
        async def watched(method: str, target: str, body: bytes, **options: Any) -> Answer:
            status, answer = await exchange(method, target, body, **options)
            if status == 200 and target.endswith("/respond"):
                self._note_completions(body, answer)
            return status, answer

        route.exchange = watched
        scenario = self.scenario
        worker = Worker(
            client_of(route, host.name),
            workflows=[program],
            activities=[work, *ACTIVITIES],
            identity=host.name,
            build_id="simulated",
            max_cached_workflows=scenario.cached_workflows,
            max_concurrent_workflow_tasks=scenario.slots,
            max_concurrent_activities=scenario.slots,
        )
        self.workers.append(worker)
        await worker.run()

    def _note_completions(self, body: bytes, answer: bytes) -> None:
        """What the service said that it has: that must be in the log."""
        asked, said = _responds.decode(body), _answers.decode(answer)
        for completion, result in zip(asked.completions, said.results, strict=True):
            if result.code is None:
                self.journal.completed.append((type(completion).__name__, completion.token))

    def _start_client(self, name: str, script: list[Action]) -> None:
        host = self.hosts[name] = Host(name, self.loop)
        looks = self.scenario.is_shared and name.endswith(("0", "2"))
        way = client_of(self.network.route(name), name, rpc_timeout=8.0, looks=looks)
        client = SimulatedClient(name, way, self.journal, self.loop, self.trace)
        self._scripts.append(host.spawn(client.run(script)))

    def script_failures(self) -> list[BaseException]:
        """What clients died of."""
        done = [script for script in self._scripts if script.done() and not script.cancelled()]
        return [error for script in done if (error := script.exception()) is not None]
