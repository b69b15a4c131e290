"""A real engine over a real Postgres, in the hands of a test: commits can be held, lost or refused, clocks moved, the
server killed and started again, and a scripted worker polls and answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec

from perdure_proto import service as svc
from perdure_proto import tasks
from perdure_proto.codec import decode_events, encoder
from perdure_proto.commands import AnyCommand
from perdure_proto.errors import Code, ServiceError
from perdure_proto.events import AnyEvent
from perdure_proto.failures import ApplicationFailure, Failure
from perdure_server.config import EngineSettings, Limits, ServerSettings
from perdure_server.engine.api import EngineApi, real_times
from perdure_server.engine.committer import Committer
from perdure_server.engine.execution import Execution
from perdure_server.engine.peers import Peers
from perdure_server.store.port import ActivityKey, CommitBatch, CommitResult, Fence, OutcomeRow
from perdure_server.store.postgres import PostgresStore

SHARDS = 8
NAMESPACE = "default"
QUEUE = "default"
FAILURE = Failure(message="no", info=ApplicationFailure(type="No"))


class HeldStore:
    """A store whose commits wait while `gate` is closed, and fail as the test says; all else goes through."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = asyncio.Event()
        self.committed = asyncio.Condition()
        self.batches: list[CommitBatch] = []
        self.confirmations = 0
        self.failures: deque[Exception] = deque()
        self.seal_gate = asyncio.Event()
        self.seal_gate.set()
        self.sealing = asyncio.Event()
        self.unsealed = asyncio.Event()
        self.seals = 0
        self.looks = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, fence: Fence, batch: CommitBatch) -> CommitResult:
        await self._pass()
        if self.failures:
            raise self.failures.popleft()
        result = await self._store.commit(fence, batch)
        self.batches.append(batch)
        await self._notify()
        return result

    async def confirm_fence(self, fence: Fence) -> bool:
        await self._pass()
        self.confirmations += 1
        return await self._store.confirm_fence(fence)

    async def seal_outcome(self, fence: Fence, key: ActivityKey, seal: str) -> OutcomeRow | None:
        self.seals += 1
        self.sealing.set()
        await self.seal_gate.wait()
        return await self._store.seal_outcome(fence, key, seal)

    async def unseal_outcome(self, fence: Fence, key: ActivityKey, seal: str) -> None:
        await self._store.unseal_outcome(fence, key, seal)
        self.unsealed.set()

    async def outcomes(self, keys: Sequence[ActivityKey]) -> list[OutcomeRow]:
        self.looks += 1
        return await self._store.outcomes(keys)

    async def let_one_pass(self) -> None:
        """Lets the commit through that waits; the gate is closed behind it."""
        await self.waiting.wait()
        self.gate.set()
        for _ in range(5):  # the next one comes when Postgres has answered this one
            await asyncio.sleep(0)
        self.gate.clear()

    async def until_sealing(self, times: int) -> None:
        """Waits until a seal was tried so often."""
        while self.seals < times:
            self.sealing.clear()
            await self.sealing.wait()

    async def until(self, condition: Callable[[CommitBatch], Any]) -> CommitBatch:
        """Waits for a commit like that."""
        async with self.committed:
            while True:
                for batch in self.batches:
                    if condition(batch):
                        return batch
                await self.committed.wait()

    async def _pass(self) -> None:
        self.waiting.set()
        await self.gate.wait()
        self.waiting.clear()

    async def _notify(self) -> None:
        async with self.committed:
            self.committed.notify_all()


class FenceOwner:
    """Whoever holds the fence, without heartbeats."""

    def __init__(self, store: PostgresStore, fence: Fence) -> None:
        self._store = store
        self.fence = fence

    async def raise_epoch(self) -> Fence:
        self.fence = await self._store.raise_epoch(self.fence)
        return self.fence


class OneServer:
    """The engine of one process, from the taking of the fence to its death."""

    def __init__(self, store: PostgresStore, fence: Fence, settings: ServerSettings, peers: Peers) -> None:
        self.name = fence.server
        self.store = HeldStore(store)
        self.lost = asyncio.Event()
        self.owner = FenceOwner(store, fence)
        held: Any = self.store
        self.committer = Committer(held, self.owner, settings.engine, lambda _: self.lost.set())
        self.api = EngineApi(held, self.committer, real_times(), settings, peers)
        self.engine = self.api.engine
        self.upkeep = self.api.upkeep
        self.is_dead = False
        self.offset = timedelta(0)
        self.engine.clock_offset = lambda: self.offset
        self._committing = asyncio.create_task(self.committer.run())

    async def recover(self, shards: Iterable[int] = range(SHARDS)) -> int:
        self.engine.residents.learn(await self.store.namespaces())
        self.api.gain(list(shards))
        return await self.upkeep.recover()

    async def die(self) -> None:
        """The process ends at once; nothing more is written."""
        self.is_dead = True
        self._committing.cancel()
        await asyncio.gather(self._committing, return_exceptions=True)
        await self.api.close()

    def move(self, seconds: float) -> None:
        """Time passes for deadlines."""
        self.offset += timedelta(seconds=seconds)
        self.engine.timers._ring()

    async def settle(self) -> None:
        """Waits until all that is staged has landed."""
        await self.committer.drain()
        await self.committer.drain()

    async def sweep(self) -> None:
        """One look of the upkeep at all runs, however lately they were touched."""
        for runs in (self.engine.touched, self.engine.idle):
            for run_id in runs:
                runs[run_id] = 0.0
        self.upkeep.sweep()
        await self.settle()

    def run(self, workflow_id: str = "order") -> Execution:
        """The current run of a workflow id in memory."""
        return self.engine.residents.current[NAMESPACE, workflow_id]

    async def start(self, workflow_id: str = "order", **options: Any) -> svc.StartWorkflowAnswer:
        request = svc.StartWorkflowRequest(workflow_type="Order", **options)
        return await self.api.start_workflow(NAMESPACE, workflow_id, request)

    async def signal(self, workflow_id: str = "order", name: str = "go", **more: Any) -> svc.Acknowledged:
        return await self.api.signal_workflow(NAMESPACE, workflow_id, name, svc.SignalWorkflowRequest(**more))

    async def describe(self, workflow_id: str = "order") -> svc.DescribeWorkflowAnswer:
        return await self.api.describe_workflow(NAMESPACE, workflow_id, "")

    async def history(self, workflow_id: str = "order", run_id: str = "") -> list[AnyEvent]:
        return decode_events((await self.api.history(NAMESPACE, workflow_id, run_id, 0, 0)).events)

    async def event_types(self, workflow_id: str = "order", run_id: str = "") -> list[str]:
        return [event.event_type for event in await self.history(workflow_id, run_id)]


class Worker:
    """A scripted worker: one session that takes tasks one by one and answers as the test says."""

    def __init__(self, server: OneServer, session: str = "worker-1", *, held: Sequence[str] = ()) -> None:
        self._api = server.api
        self.session = session
        self._sequence = 0
        self._received: list[int] = []
        self.pushes: tuple[tasks.AnyPush, ...] = ()
        self.held: tuple[str, ...] | None = None
        """What the next request is to list."""
        self._info: tasks.WorkerInfo | None = tasks.WorkerInfo(
            identity=session, workflow_types=("Order",), activity_types=("Pay",), held=tuple(held)
        )

    async def poll(self, *, workflows: int = 0, activities: int = 0, wait: float = 5) -> tasks.PollAnswer:
        sequence, acknowledged, info = self._next()
        request = tasks.PollRequest(
            session=self.session,
            sequence=sequence,
            acknowledged=acknowledged,
            workflow_slots=workflows,
            activity_slots=activities,
            wait=timedelta(seconds=wait),
            worker=info,
            held=self._listed(),
        )
        answer = await self._api.poll(NAMESPACE, QUEUE, request)
        self._received.append(sequence)
        self.pushes += answer.pushes
        return answer

    async def workflow_task(self) -> tasks.WorkflowTask:
        (task,) = (await self.poll(workflows=1)).tasks
        assert isinstance(task, tasks.WorkflowTask)
        return task

    async def activity_task(self) -> tasks.ActivityTask:
        (task,) = (await self.poll(activities=1)).tasks
        assert isinstance(task, tasks.ActivityTask)
        return task

    async def acknowledge(self) -> None:
        """Says what was received, and asks for nothing."""
        await self.poll(wait=0)

    async def respond(self, *completions: tasks.AnyCompletion) -> tuple[tasks.CompletionResult, ...]:
        sequence, acknowledged, _ = self._next()
        request = tasks.RespondRequest(
            session=self.session,
            sequence=sequence,
            acknowledged=acknowledged,
            completions=completions,
            held=self._listed(),
        )
        answer = await self._api.respond(NAMESPACE, QUEUE, request)
        self._received.append(sequence)
        self.pushes += answer.pushes
        return answer.results

    async def answer(self, task: tasks.WorkflowTask, *commands: AnyCommand, **more: Any) -> tasks.CompletionResult:
        return (await self.respond(completion(task, *commands, **more)))[0]

    async def turn(self, *commands: AnyCommand) -> tasks.CompletionResult:
        """Takes a workflow task and answers it."""
        return await self.answer(await self.workflow_task(), *commands)

    async def done(self, task: tasks.ActivityTask) -> tasks.CompletionResult:
        return (await self.respond(tasks.ActivityTaskCompletion(token=task.token)))[0]

    async def failed(self, task: tasks.ActivityTask) -> tasks.CompletionResult:
        return (await self.respond(tasks.ActivityTaskFailure(token=task.token, failure=FAILURE)))[0]

    def _listed(self) -> tuple[str, ...] | None:
        held, self.held = self.held, None
        return held

    def _next(self) -> tuple[int, tuple[int, ...], tasks.WorkerInfo | None]:
        self._sequence += 1
        acknowledged, self._received = tuple(self._received), []
        info, self._info = self._info, None
        return self._sequence, acknowledged, info


def completion(task: tasks.WorkflowTask, *commands: AnyCommand, **more: Any) -> tasks.WorkflowTaskCompletion:
    return tasks.WorkflowTaskCompletion(token=task.token, commands=msgspec.Raw(encoder.encode(commands)), **more)


class Neighbours:
    """What servers tell each other, without a wire; `gate` holds it back."""

    def __init__(self, servers: list[OneServer]) -> None:
        self._servers = servers
        self.gate = asyncio.Event()
        self.gate.set()
        self.bodies: list[bytes] = []
        self.answers_lost = 0

    async def deliver(self, shard_id: int, body: bytes) -> bytes:
        self.bodies.append(body)
        await self.gate.wait()
        for server in self._servers:
            if shard_id in server.engine.tenures.owned and not server.is_dead:
                answer = await server.api.deliver(body)
                if self.answers_lost:
                    self.answers_lost -= 1
                    break
                return answer
        raise ServiceError(Code.UNAVAILABLE, "nobody has answered")


class Cluster:
    """Servers over one database: one after the other under one name, or beside each other."""

    def __init__(self, database_url: str, stores: AsyncExitStack) -> None:
        self.database_url = database_url
        self._open = stores
        self._stores: dict[str, PostgresStore] = {}
        self._servers: list[OneServer] = []
        self.peers = Neighbours(self._servers)

    async def server(
        self,
        name: str = "server-1",
        shards: Iterable[int] = range(SHARDS),
        *,
        limits: Limits | None = None,
        **engine: Any,
    ) -> OneServer:
        """A server that has taken its fence and has loaded what is owed in its shards; a former one may still run."""
        if name not in self._stores:
            self._stores[name] = await self._open.enter_async_context(await PostgresStore.open(self.database_url))
        store = self._stores[name]
        settings = ServerSettings(shards=SHARDS, limits=limits or Limits(), engine=EngineSettings(**engine))
        server = OneServer(store, await store.take_fence(name), settings, self.peers)
        self._servers.append(server)
        server.engine.address_of = self._address_of
        await server.recover(shards)
        return server

    async def hand_over(self, giver: OneServer, taker: OneServer, shards: Sequence[int] = range(SHARDS)) -> None:
        """The whole of it, in its order."""
        await giver.api.give_up(shards)
        giver.api.given(shards)
        taker.api.gain(shards)
        await taker.upkeep.recover()

    def _address_of(self, shard_id: int) -> str:
        owners = [s.name for s in self._servers if shard_id in s.engine.tenures.owned and not s.is_dead]
        return f"http://{owners[0]}" if owners else ""

    async def restart(self, server: OneServer, **engine: Any) -> OneServer:
        """The server dies; another takes over."""
        await server.die()
        return await self.server(**engine)

    async def rows(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """What the database says, asked beside the store."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return [tuple(row) for row in await connection.fetch(query, *arguments)]
        finally:
            await connection.close()

    async def until_rows(self, query: str) -> list[tuple[Any, ...]]:
        """Asks until there is an answer."""
        while not (found := await self.rows(query)):
            pass
        return found

    async def close(self) -> None:
        for server in self._servers:
            await server.die()


@asynccontextmanager
async def cluster_on(database_url: str) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stores:
        cluster = Cluster(database_url, stores)
        try:
            yield cluster
        finally:
            await cluster.close()


async def is_waiting(work: Awaitable[Any]) -> bool:
    """Whether this has not ended although all that could run has run."""
    task = asyncio.ensure_future(work)
    for _ in range(50):
        await asyncio.sleep(0)
    return not task.done()
