"""The worker that users make: it runs their workflows and activities of one task queue.

Here are its options, its registration and its life: started by `async with` or `run`, stopped gracefully. What it
does while it lives is in `assembly`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

from perdure._runtime import current
from perdure._worker_interceptor import Interceptor
from perdure.client import Client
from perdure_proto import PROTOCOL_VERSION
from perdure_proto.tasks import WorkerInfo
from perdure_worker import guard
from perdure_worker.assembly import Assembly, Surroundings
from perdure_worker.options import WorkerOptions, default_identity
from perdure_worker.registry import Registry
from perdure_worker.telemetry import HASH_SEED_NOT_FIXED, WORKER_FAILED, WORKER_STARTED, WORKER_STOPPED, log

_told: Final[set[str]] = set()


class Worker:
    """Runs workflows and activities of a task queue.

    Args:
        client: how to reach the service; its namespace and data converter are the worker's too.
        task_queue: the queue whose tasks it takes. Default `"default"`.
        workflows: what was declared with `@workflow.defn`.
        activities: what was declared with `@activity.defn`; methods bound to an instance.
        max_concurrent_workflow_tasks: workflow tasks that it holds at once.
        max_concurrent_activities: activities that run at once; also the number of threads for those that are a `def`.
        max_concurrent_local_activities: local activities that run at once.
        max_cached_workflows: workflows that it keeps in memory between their tasks; 0 replays each from the start.
        max_task_queue_activities_per_second: how many activities the service hands out from the queue in a second, to
            all its workers together; of several workers the last to come counts. Default: no limit.
        max_worker_activities_per_second: how many activities this worker starts in a second. Default: no limit.
        graceful_shutdown_timeout: how long running activities may go on after the worker is told to stop; then they
            are cancelled. Default: not at all.
        interceptors: what runs around workflows and activities, the first one outermost; those of the client that are
            a `perdure_worker.Interceptor` come before. Default none.
        database_url: the service's Postgres, for activities that use `activity.transaction()`. Default: the variable
            `PERDURE_DATABASE_URL`; a worker without such activities needs none.
        database_pool: an `asyncpg.Pool` on it to take connections from, instead of `database_url`.
        identity: what the service shows. Default: process and machine.
        build_id: which code this is. Default: a hash of the workflows' source.
        deployment_name: shown in logs; nothing is routed by it yet.

    Raises an error that names what is wrong: an option, two definitions of one name, a type that cannot be read.

    Example:
        ``async with Worker(client, workflows=[hello], activities=[greet]): await stop.wait()``
    """

    def __init__(
        self,
        client: Client,
        *,
        task_queue: str = "default",
        workflows: Sequence[object] = (),
        activities: Sequence[object] = (),
        max_concurrent_workflow_tasks: int = 100,
        max_concurrent_activities: int = 100,
        max_concurrent_local_activities: int = 100,
        max_cached_workflows: int = 1_000,
        max_task_queue_activities_per_second: float | None = None,
        max_worker_activities_per_second: float | None = None,
        graceful_shutdown_timeout: timedelta = timedelta(0),
        interceptors: Sequence[Interceptor] = (),
        database_url: str | None = None,
        database_pool: Any = None,  # noqa: ANN401 - an asyncpg.Pool, which only `transaction` may import
        identity: str | None = None,
        build_id: str | None = None,
        deployment_name: str | None = None,
    ) -> None:
        guard.install(current)
        warn_of_hash_seed()
        self._client = client
        self._registry = Registry(workflows, activities)
        self._options = WorkerOptions(
            task_queue=task_queue,
            max_concurrent_workflow_tasks=max_concurrent_workflow_tasks,
            max_concurrent_activities=max_concurrent_activities,
            max_concurrent_local_activities=max_concurrent_local_activities,
            max_cached_workflows=max_cached_workflows,
            max_task_queue_activities_per_second=max_task_queue_activities_per_second,
            max_worker_activities_per_second=max_worker_activities_per_second,
            graceful_shutdown_timeout=graceful_shutdown_timeout,
            interceptors=all_interceptors(client, interceptors),
            database_url=database_url_of(database_url, database_pool),
            database_pool=database_pool,
            identity=identity or default_identity(),
            build_id=build_id or self._registry.build_id(),
            deployment_name=deployment_name or "",
        )
        self._options.check()
        self._assembly: Assembly | None = None
        self._taking: asyncio.Task[None] | None = None
        self._owner: asyncio.Task[object] | None = None
        self._refusal: BaseException | None = None

    @property
    def task_queue(self) -> str:
        """The queue whose tasks it takes."""
        return self._options.task_queue

    @property
    def identity(self) -> str:
        """What the service shows."""
        return self._options.identity

    @property
    def build_id(self) -> str:
        """Which code this is."""
        return self._options.build_id

    @property
    def is_running(self) -> bool:
        """Whether it takes tasks."""
        return self._taking is not None and not self._taking.done()

    async def run(self) -> None:
        """Runs until it is cancelled, then stops gracefully. Raises `RPCError` when the service refuses the worker."""
        async with self:
            assert self._taking is not None
            self._owner = None  # it is told by the end of the task that it waits for
            await asyncio.wait([self._taking])

    async def shutdown(self) -> None:
        """Stops gracefully: takes nothing new, gives back what has not begun, lets activities end, leaves."""
        assembly, taking = self._assembly, self._taking
        if assembly is None or taking is None:
            return
        self._assembly = None
        self._client.service.eager_workers.remove(self.task_queue, assembly.eager_starts)
        try:
            if not taking.done():
                # In a task of its own: until 3.11.3 a timeout in one that was cancelled ends as another cancellation.
                await asyncio.get_running_loop().create_task(assembly.stop())
        finally:
            taking.cancel()
            await asyncio.wait([taking])
            assembly.close()
            log.info(WORKER_STOPPED, task_queue=self.task_queue)

    async def __aenter__(self) -> Self:
        if self._taking is not None:
            raise RuntimeError("a worker runs once; make another")
        self._assembly = Assembly(self._surroundings())
        self._owner = asyncio.current_task()
        self._taking = asyncio.get_running_loop().create_task(self._assembly.run())
        self._taking.add_done_callback(self._on_end)
        self._client.service.eager_workers.add(self.task_queue, self._assembly.eager_starts)
        log.info(
            WORKER_STARTED,
            task_queue=self.task_queue,
            identity=self.identity,
            build_id=self.build_id,
            deployment_name=self._options.deployment_name,
            workflows=list(self._registry.workflows.by_name),
            activities=list(self._registry.activities.by_name),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.shutdown()
        if self._refusal is not None:
            if self._owner is not None:
                self._owner.uncancel()
            raise self._refusal

    def _on_end(self, taking: asyncio.Task[None]) -> None:
        """The service refused the worker: who waits within `async with` is cancelled, and gets the reason."""
        if taking.cancelled() or (error := taking.exception()) is None:
            return
        log.error(WORKER_FAILED, task_queue=self.task_queue, error=str(error))
        if self._assembly is None:
            return  # it stops anyway
        self._client.service.eager_workers.remove(self.task_queue, self._assembly.eager_starts)
        self._refusal = error
        if self._owner is not None:
            self._owner.cancel()

    def _surroundings(self) -> Surroundings:
        namespace_path = f"/api/v1/namespaces/{quote(self._client.namespace, safe='')}"
        return Surroundings(
            servers=self._client.service.connection,
            converter=self._client.data_converter,
            meter=self._client.metric_meter,
            namespace=self._client.namespace,
            registry=self._registry,
            options=self._options,
            who=self._who(),
            namespace_path=namespace_path,
            queue_path=f"{namespace_path}/task-queues/{quote(self.task_queue, safe='')}",
        )

    def _who(self) -> WorkerInfo:
        workflows, activities = self._registry.workflows, self._registry.activities
        return WorkerInfo(
            identity=self.identity,
            build_id=self.build_id,
            protocol_version=PROTOCOL_VERSION,
            workflow_types=tuple(workflows.by_name),
            activity_types=tuple(activities.by_name),
            dynamic_workflows=workflows.dynamic is not None,
            dynamic_activities=activities.dynamic is not None,
            max_task_queue_activities_per_second=self._options.max_task_queue_activities_per_second or 0.0,
        )


def all_interceptors(client: Client, given: Sequence[Interceptor]) -> tuple[Interceptor, ...]:
    """The client's that are for workers too, then the worker's own; one that is among both counts once."""
    shared = [one for one in client.interceptors if isinstance(one, Interceptor)]
    return (*shared, *[one for one in given if one not in shared])


def database_url_of(given: str | None, pool: object) -> str:
    """What was given, or else what the environment says."""
    if given is None and pool is None:
        return os.environ.get("PERDURE_DATABASE_URL", "")
    return given or ""


def warn_of_hash_seed() -> None:
    """Says once that sets of strings iterate otherwise in each process, when they do."""
    if os.environ.get("PYTHONHASHSEED", "random") == "random" and not _told:
        _told.add(HASH_SEED_NOT_FIXED)
        advice = (
            "start workers with `perdure worker`, or set PYTHONHASHSEED: replays elsewhere see sets in another order"
        )
        log.warning(HASH_SEED_NOT_FIXED, advice=advice)
