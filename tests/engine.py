"""A real engine over a real Postgres, in the hands of a test: commits can be held, lost or refused, clocks moved, the
server killed and started again, and a scripted worker polls and answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec

from perdure_proto import service as svc
from perdure_proto import tasks
from perdure_proto.codec import decode_events, encoder
from perdure_proto.commands import AnyCommand
from perdure_proto.events import AnyEvent
from perdure_proto.failures import ApplicationFailure, Failure
from perdure_server.config import EngineSettings, Limits, ServerSettings
from perdure_server.engine.api import EngineApi, real_times
from perdure_server.engine.committer import Committer
from perdure_server.engine.execution import Execution
from perdure_server.engine.upkeep import Upkeep
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

    def __init__(self, store: PostgresStore, fence: Fence, settings: ServerSettings) -> None:
        self.store = HeldStore(store)
        self.lost = asyncio.Event()
        self.owner = FenceOwner(store, fence)
        held: Any = self.store
        self.committer = Committer(held, self.owner, settings.engine, lambda _: self.lost.set())
        self.api = EngineApi(held, self.committer, real_times(), settings)
        self.engine = self.api.engine
        self.upkeep = Upkeep(self.engine, range(SHARDS))
        self.offset = timedelta(0)
        self.engine.clock_offset = lambda: self.offset
        self._committing = asyncio.create_task(self.committer.run())

    async def recover(self) -> int:
        self.engine.residents.learn(await self.store.namespaces())
        return await self.upkeep.recover()

    async def die(self) -> None:
        """The process ends at once; nothing more is written."""
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
            session=self.session, sequence=sequence, acknowledged=acknowledged, completions=completions
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

    def _next(self) -> tuple[int, tuple[int, ...], tasks.WorkerInfo | None]:
        self._sequence += 1
        acknowledged, self._received = tuple(self._received), []
        info, self._info = self._info, None
        return self._sequence, acknowledged, info


def completion(task: tasks.WorkflowTask, *commands: AnyCommand, **more: Any) -> tasks.WorkflowTaskCompletion:
    return tasks.WorkflowTaskCompletion(token=task.token, commands=msgspec.Raw(encoder.encode(commands)), **more)


class Cluster:
    """Servers one after the other over one database."""

    def __init__(self, database_url: str, store: PostgresStore) -> None:
        self.database_url = database_url
        self._store = store
        self._servers: list[OneServer] = []

    async def server(self, *, limits: Limits | None = None, **engine: Any) -> OneServer:
        """A server that has taken the fence and has loaded what is owed; a former one may still run."""
        settings = ServerSettings(shards=SHARDS, limits=limits or Limits(), engine=EngineSettings(**engine))
        server = OneServer(self._store, await self._store.take_fence("server-1"), settings)
        self._servers.append(server)
        await server.recover()
        return server

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
    async with await PostgresStore.open(database_url) as store:
        cluster = Cluster(database_url, store)
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
