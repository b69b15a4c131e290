"""A worker while it runs: its parts put together, its start, and its stop as a sequence of steps.

It is made inside the event loop that it will use, and lives once. How tasks run is in the parts; what the user
chose is in the options.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import msgspec
from msgspec import Struct

from perdure._cluster import Cluster
from perdure.converter import DataConverter
from perdure.metrics import MetricMeter
from perdure_proto.tasks import PollAnswer, RespondAnswer, WorkerInfo
from perdure_worker.activities import Activities, ActivityParts
from perdure_worker.activity_context import AttemptParts
from perdure_worker.cache import Cache
from perdure_worker.completions import Completions
from perdure_worker.delivery import Delivery
from perdure_worker.eager import EagerTurns
from perdure_worker.eager_start import EagerStarts
from perdure_worker.exchange import Exchange
from perdure_worker.link import Link
from perdure_worker.links import Links, LinksParts
from perdure_worker.local_activities import LocalActivities, LocalParts
from perdure_worker.options import WorkerOptions
from perdure_worker.outcome import InstanceOptions
from perdure_worker.past import Past
from perdure_worker.process_pool import ProcessPool
from perdure_worker.rate import TokenBucket
from perdure_worker.registry import Registry
from perdure_worker.responder import Kept
from perdure_worker.shares import Shares
from perdure_worker.slots import Slots
from perdure_worker.telemetry import LEAVE_FAILED, WORKER_STOPPING, log
from perdure_worker.token_settings import TokenSettings
from perdure_worker.transaction import Database
from perdure_worker.waitpoints import fetch_settings, keep_fresh
from perdure_worker.watchdog import Watchdog
from perdure_worker.workflow_interception import workflow_interceptors
from perdure_worker.workflow_tasks import WorkflowParts, WorkflowTasks

FLUSH_SECONDS: Final = 10.0
"""How long a stopping worker tries to hand in what it has done; after that the service finds out by itself."""
LEAVE_SECONDS: Final = 5.0


class Surroundings(Struct, frozen=True, kw_only=True):
    """What a worker is given: how to reach the service, what it runs, how, and who it says it is."""

    servers: Cluster
    converter: DataConverter
    namespace: str
    registry: Registry
    options: WorkerOptions
    who: WorkerInfo
    namespace_path: str
    queue_path: str
    meter: MetricMeter = MetricMeter()


class Assembly:
    """All parts of a running worker."""

    def __init__(self, around: Surroundings) -> None:
        options = around.options
        self._around = around
        self._slots = Slots(options.max_concurrent_workflow_tasks, options.max_concurrent_activities)
        self._links = Links(self._links_parts())
        self._completions = Completions(self._links)
        self._threads = ThreadPoolExecutor(thread_count(options), thread_name_prefix="perdure-activity")
        self._processes = ProcessPool(around.converter)
        self._watchdog = Watchdog()
        self._tokens = TokenSettings()
        self._cache = Cache(options.max_cached_workflows)
        self._database = Database(options.database_url, options.database_pool)
        self._activities = Activities(self._activity_parts())
        self._workflow_tasks = WorkflowTasks(self._workflow_parts())
        self._delivery = Delivery(
            self._slots, self._completions, workflows=self._workflow_tasks, activities=self._activities
        )

        self.eager_starts = EagerStarts(self._links, self._slots, around.registry, take=self._take)

    async def run(self) -> None:
        """Takes tasks until it is cancelled; raises what the service refused for good."""
        self._watchdog.start()
        around = self._around
        fetch = partial(fetch_settings, Exchange(around.servers), around.namespace_path, around.servers.address)
        self._tokens.known = await fetch()
        refreshing = asyncio.create_task(keep_fresh(self._tokens, fetch))
        try:
            await self._links.run()
        finally:
            refreshing.cancel()

    async def stop(self) -> None:
        """Takes nothing new, gives back what has not begun, lets the rest end, hands in everything and leaves.

        `run` goes on meanwhile: pushes still come.
        """
        self._take_nothing_new()
        self._give_back_what_has_not_begun()
        await self._activities.finish(self._around.options.graceful_shutdown_timeout.total_seconds())
        await self._hand_in_everything()
        await self._links.leave(LEAVE_SECONDS)

    def close(self) -> None:
        """Tears down what is left."""
        self._links.stop()
        self._activities.cancel_all()
        self._database.close()
        self._cache.clear()
        self._watchdog.stop()
        self._processes.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # ---- steps -------------------------------------------------------------------------------------------------

    def _take_nothing_new(self) -> None:
        log.info(WORKER_STOPPING, task_queue=self._around.options.task_queue, running=self._activities.running)
        self._slots.close()

    def _give_back_what_has_not_begun(self) -> None:
        self._workflow_tasks.stop()
        self._activities.give_back_waiting()

    async def _hand_in_everything(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._completions.flushed()
        except TimeoutError:
            log.warning(LEAVE_FAILED, task_queue=self._around.options.task_queue, error="completions were not answered")

    # ---- parts -------------------------------------------------------------------------------------------------

    def _take(self, link: Link, answer: PollAnswer | RespondAnswer) -> None:
        self._delivery.take(link, answer)

    def _resend(self, kept: Kept) -> None:
        self._completions.resend(kept.then)

    def _introduction(self) -> WorkerInfo:
        return msgspec.structs.replace(self._around.who, held=self._completions.held)

    def _links_parts(self) -> LinksParts:
        return LinksParts(
            servers=self._around.servers,
            shares=Shares(self._slots),
            describe=self._introduction,
            namespace=self._around.namespace,
            queue_path=self._around.queue_path,
            take=self._take,
            resend=self._resend,
        )

    def _activity_parts(self) -> ActivityParts:
        around, loop = self._around, asyncio.get_running_loop()
        rate = around.options.max_worker_activities_per_second
        return ActivityParts(
            registry=around.registry,
            attempts=AttemptParts(
                converter=around.converter,
                completions=self._completions,
                timers=loop,
                namespace=around.namespace,
                task_queue=around.options.task_queue,
                identity=around.options.identity,
                database=self._database,
                call_soon_threadsafe=loop.call_soon_threadsafe,
                meter=around.meter,
            ),
            slots=self._slots,
            eager=EagerTurns(self._cache, self._slots),
            threads=self._threads,
            processes=self._processes,
            bucket=None if rate is None else TokenBucket(per_second=rate, now=loop.time()),
            interceptors=around.options.interceptors,
        )

    def _workflow_parts(self) -> WorkflowParts:
        around = self._around
        return WorkflowParts(
            registry=around.registry,
            cache=self._cache,
            slots=self._slots,
            completions=self._completions,
            local_activities=LocalActivities(self._local_parts()),
            past=Past(around.servers, around.namespace, around.namespace_path),
            options=InstanceOptions(
                namespace=around.namespace,
                task_queue=around.options.task_queue,
                converter=around.converter,
                interceptors=workflow_interceptors(around.options.interceptors),
                meter=around.meter,
                waitpoints=self._tokens,
                watchdog=self._watchdog,
            ),
        )

    def _local_parts(self) -> LocalParts:
        around = self._around
        return LocalParts(
            registry=around.registry,
            converter=around.converter,
            threads=self._threads,
            processes=self._processes,
            slots=asyncio.Semaphore(around.options.max_concurrent_local_activities),
            namespace=around.namespace,
            task_queue=around.options.task_queue,
            interceptors=around.options.interceptors,
            meter=around.meter,
        )


def thread_count(options: WorkerOptions) -> int:
    """A thread for each activity that may run at once; they are made when they are needed."""
    return options.max_concurrent_activities + options.max_concurrent_local_activities
