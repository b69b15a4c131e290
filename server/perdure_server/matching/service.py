"""Matching put together: what the engine offers into, what the frontend polls, and the one sweeper.

Everything runs on one event loop and never blocks it. It must not know HTTP or the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

import structlog

from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import DescribeTaskQueueAnswer, PollerInfo
from perdure_proto.tasks import (
    AnyPush,
    AnyTask,
    LeaveRequest,
    ListHeld,
    PollAnswer,
    PollRequest,
    RespondAnswer,
    RespondRequest,
)
from perdure_server.config import EngineSettings
from perdure_server.matching.deliveries import Deliveries
from perdure_server.matching.exchange import ACTIVITY, WORKFLOW, AnyAnswer, Exchange
from perdure_server.matching.limits import MatchingLimits
from perdure_server.matching.liveness import Liveness
from perdure_server.matching.port import Session, TaskKind, TaskRef, TaskSource, Times
from perdure_server.matching.queues import KindQueue, TaskQueues
from perdure_server.matching.refills import Refills
from perdure_server.matching.routing import Router
from perdure_server.matching.sessions import Sessions, WorkerSession
from perdure_server.matching.sharing import Sharing
from perdure_server.matching.wheel import TICK_SECONDS

FORGET_EVERY_SECONDS = 10.0

log = structlog.get_logger(__name__)


class Matching:
    """Who gets which task. Make it inside a running event loop; `close` ends it."""

    def __init__(
        self, source: TaskSource, settings: EngineSettings, times: Times, limits: MatchingLimits | None = None
    ) -> None:
        limits = limits or MatchingLimits()
        self._limits = limits
        self._times = times
        self._queues = TaskQueues(settings.queue_window_max)
        self.sharing = Sharing(times.clock, times.wall)
        self._sessions = Sessions(source, self._queues, limits, self.sharing)
        self._router = Router(
            self._queues, self._sessions.by_id, times.clock, settings.sticky_schedule_to_start.total_seconds()
        )
        self._deliveries = Deliveries(source, self._router, times, limits)
        self._refills = Refills(source, times)
        self._router.on_drained = self._refills.begin
        self._liveness = Liveness(source, self._sessions, times, settings)
        self._liveness.attach(self._router, self._deliveries)
        self._forget_at = 0.0
        self._sweeper: asyncio.Task[None] | None = None

    def offer(self, ref: TaskRef, *, paged: bool = False) -> bool:
        """A task is due, or is `paged` back. False: the window of its queue is full, the engine parks it."""
        return self._router.offer(ref, paged=paged)

    def push(self, session_id: str, push: AnyPush) -> bool:
        """Tell a worker something, at once where a poll is parked. False: no such session, or too much waits for it."""
        session = self._sessions.by_id.get(session_id)
        if session is None or len(session.pushes) >= self._limits.pushes_queued_max:
            return False
        session.pushes.append(push)
        self._deliveries.pushed(session)
        return True

    def ask_held(self) -> None:
        """The server owns more than before: every worker is asked what it holds, unless it is asked already."""
        for session in list(self._sessions.by_id.values()):
            if not any(isinstance(push, ListHeld) for push in session.pushes):
                self.push(session.id, ListHeld())

    def withdraw(self, shards: Collection[int]) -> None:
        """Forgets the tasks of shards that were given away."""
        self._router.withdraw(shards)

    async def hand(self, session_id: str, sequence: int, ref: TaskRef) -> AnyTask | None:
        """Give a task to a session outside of its requests, as if in the answer to the one of this number.

        None: the session cannot have it, and the task is still due.
        """
        session = self._sessions.by_id.get(session_id)
        if session is None or not session.may_have(ref) or self._deliveries.closing:
            return None
        return await self._deliveries.hand(session, sequence, ref)

    def handed(self, session_id: str, sequence: int) -> AnyTask | None:
        """The task that was handed out so, while it is not acknowledged."""
        session = self._sessions.by_id.get(session_id)
        delivery = session.deliveries.get(sequence) if session is not None else None
        return delivery.answer.tasks[0] if delivery is not None and delivery.answer.tasks else None

    async def poll(self, namespace: str, queue: str, request: PollRequest) -> PollAnswer:
        """Tasks for a session, or none when the wait is over. May be cancelled: nothing is lost by that."""
        answer = await self._answer(namespace, queue, request)
        if not isinstance(answer, PollAnswer):
            raise _reused(request.sequence)
        return answer

    async def respond(self, namespace: str, queue: str, request: RespondRequest) -> RespondAnswer:
        """Results of completions, once they are durable, and new tasks. May be cancelled: the completions go on."""
        answer = await self._answer(namespace, queue, request)
        if not isinstance(answer, RespondAnswer):
            raise _reused(request.sequence)
        return answer

    def leave(self, namespace: str, queue: str, request: LeaveRequest) -> None:
        """The session ends. One that is not known has ended."""
        session = self._sessions.by_id.get(request.session)
        if session is not None and (session.namespace, session.queue) == (namespace, queue):
            self._liveness.leave(session)

    def note_parked(self, namespace: str, queue: str, kind: TaskKind) -> None:
        """Tasks of this queue lie in the database: they are asked for when there is room."""
        kind_queue = self._queues.get(namespace, queue).kinds[_slot(kind)]
        kind_queue.parked = True
        self._refills.look((kind_queue,))

    def describe(self, namespace: str, queue: str) -> DescribeTaskQueueAnswer:
        """Who polls a queue, and how much waits in it."""
        found = self._queues.by_name.get((namespace, queue))
        if found is None:
            return DescribeTaskQueueAnswer(name=queue)
        now, wall = self._times.clock(), self._times.wall()
        rate = found.kinds[ACTIVITY].rate
        return DescribeTaskQueueAnswer(
            name=queue,
            pollers=tuple(
                _poller(session, now, wall)
                for session in self._sessions.by_id.values()
                if session.kinds[WORKFLOW] is found.kinds[WORKFLOW]
            ),
            workflow_backlog=len(found.kinds[WORKFLOW]),
            activity_backlog=len(found.kinds[ACTIVITY]),
            activities_per_second=rate.limit if rate is not None else 0.0,
        )

    def limited(self) -> Iterable[KindQueue]:
        """The queues that have a rate."""
        return [
            queue.kinds[ACTIVITY] for queue in self._queues.by_name.values() if queue.kinds[ACTIVITY].rate is not None
        ]

    def knows(self, namespace: str, queue: str, kind: TaskKind, type_name: str) -> bool:
        """Whether some session of the queue takes this type."""
        found = self._queues.by_name.get((namespace, queue))
        return found is not None and bool(found.kinds[_slot(kind)].takers.knowing(type_name))

    def session(self, id: str) -> Session | None:
        """The session of this id, quiet or not."""
        return self._sessions.by_id.get(id)

    def sweep(self) -> None:
        """What time brings: waits that are over, silence, sticky lanes, refills. The sweeper calls it every tick."""
        now = self._times.clock()
        self._liveness.sweep(now)
        self._router.expire_lanes(now)
        self._deliveries.expire(now)
        for queue in self._queues.by_name.values():
            self._refills.look(queue.kinds)
            if queue.kinds[ACTIVITY].rate is not None:
                self._router.release(queue.kinds[ACTIVITY])
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_SECONDS
            self._queues.forget_idle()

    async def close(self) -> None:
        """Answer every parked poll, empty, wait for what commits, and stop. Later polls are answered at once."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await self._refills.close()
        sessions = self._sessions.by_id.values()
        await self._deliveries.close(
            [exchange for session in sessions for exchange in list(session.exchanges.values())]
        )

    async def _answer(self, namespace: str, queue: str, request: PollRequest | RespondRequest) -> AnyAnswer:
        """The kept answer of a repeat, the answer in progress, or that of a new exchange."""
        self._sweeps()
        session = self._sessions.admit(namespace, queue, request)
        self._liveness.seen(session)
        delivery = session.deliveries.get(request.sequence)
        if delivery is not None:
            return delivery.answer
        if request.sequence in session.done:
            raise _reused(request.sequence)
        exchange = session.exchanges.get(request.sequence)
        if exchange is None:
            exchange = self._deliveries.begin(session, request)
            if request.held is not None:
                self._sessions.lists(session, request.held)
        return exchange.done or await self._wait(exchange)

    async def _wait(self, exchange: Exchange) -> AnyAnswer:
        """Wait as one of those who wait; the last to go away, its connection closed, ends the request."""
        waiter: asyncio.Future[AnyAnswer] = asyncio.get_running_loop().create_future()
        exchange.waiters.append(waiter)
        self._liveness.begins(exchange.session)
        try:
            return await waiter
        finally:
            exchange.waiters.remove(waiter)
            self._liveness.ends(exchange.session)
            if exchange.open and not exchange.waiters:
                self._deliveries.abandon(exchange)

    def _sweeps(self) -> None:
        """The sweeper starts with the first request: before that there is nothing to sweep."""
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep_forever())

    async def _sweep_forever(self) -> None:
        while True:
            await self._times.wake(TICK_SECONDS)
            try:
                self.sweep()
            except Exception:  # one bad session must not end the watch over all
                log.exception("matching_sweep_failed")


def _slot(kind: TaskKind) -> int:
    return ACTIVITY if kind == "activity" else WORKFLOW


def _reused(sequence: int) -> ServiceError:
    return ServiceError(
        Code.INVALID_ARGUMENT, f"sequence {sequence} of this session is used already: number requests one by one"
    )


def _poller(session: WorkerSession, now: float, wall: datetime) -> PollerInfo:
    silent = 0.0 if session.requests else now - session.last_seen
    return PollerInfo(
        session=session.id,
        identity=session.worker.identity,
        build_id=session.worker.build_id,
        last_seen=wall - timedelta(seconds=silent),
        workflow_types=session.worker.workflow_types,
        activity_types=session.worker.activity_types,
        dynamic_workflows=session.worker.dynamic_workflows,
        dynamic_activities=session.worker.dynamic_activities,
        workflow_slots=sum(exchange.free[WORKFLOW] for exchange in session.waiting),
        activity_slots=sum(exchange.free[ACTIVITY] for exchange in session.waiting),
    )
