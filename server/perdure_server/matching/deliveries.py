"""The way of an answer: a poll parks, is filled, closes at the end of the tick, takes its tasks, is kept.

One task of the event loop for each answer that carries something, none for each item. The answer of an exchange does
not depend on who waits for it: when the connection closes, what is taken stays in the kept answer for a repeat, and
what is not taken goes back. It must not know what tasks are, nor when a session counts as silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from perdure_proto.errors import Code, ServiceError
from perdure_proto.tasks import AnyCompletion, AnyTask, PollAnswer, PollRequest, RespondAnswer, RespondRequest
from perdure_server.matching.exchange import AnyAnswer, Delivery, Exchange, slot_of
from perdure_server.matching.limits import MatchingLimits, exhausted
from perdure_server.matching.port import TaskRef, TaskSource, Times
from perdure_server.matching.routing import Router
from perdure_server.matching.sessions import WorkerSession
from perdure_server.matching.wheel import Wheel

STALE_AT_ONCE_MAX = 500
"""So many stale tasks in a row are dropped before others get their turn in the event loop."""

log = structlog.get_logger(__name__)


class Deliveries:
    """Parks exchanges, hands tasks out, keeps answers."""

    def __init__(self, source: TaskSource, router: Router, times: Times, limits: MatchingLimits) -> None:
        self._source = source
        self._router = router
        self._times = times
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._filled: list[Exchange] = []
        self._running: set[asyncio.Task[None]] = set()
        self.parked: Wheel[Exchange] = Wheel()
        self.closing = False
        router.on_filled = self._on_filled

    def begin(self, session: WorkerSession, request: PollRequest | RespondRequest) -> Exchange:
        """Begin an exchange, unless the session or the server has too many."""
        self._check(session, request)
        exchange = session.exchanges[request.sequence] = Exchange(session, request, self._router.arrival())
        if isinstance(request, PollRequest):
            self._poll(exchange, request)
        else:
            self._respond(exchange, request)
        return exchange

    async def hand(self, session: WorkerSession, sequence: int, ref: TaskRef) -> AnyTask | None:
        """A task that leaves by another way, kept as the answer to a request of this number."""
        if sequence in session.deliveries or sequence in session.done or sequence in session.exchanges:
            return None
        task = await self._built(ref, session)
        if task is None:
            return None
        if session.gone or session.quiet or sequence in session.deliveries:
            self._source.undelivered(task.token, session)
            return None
        answer = PollAnswer(sequence=sequence, tasks=(task,))
        session.deliveries[sequence] = Delivery(answer, {task.token: slot_of(ref)})
        return task

    def abandon(self, exchange: Exchange) -> None:
        """Nobody waits any more. What runs goes on, so that a repeat finds the answer; what is parked is forgotten."""
        if exchange.open:
            self._close(exchange)
            if not exchange.front:
                del exchange.session.exchanges[exchange.sequence]
            self._put_back(exchange)

    def end(self, exchange: Exchange) -> None:
        """Answer with what there is, which for a parked poll is nothing."""
        if exchange.open:
            self._close(exchange)
            self._put_back(exchange)
            if not exchange.front:
                self._finish(exchange)

    def give_back(self, session: WorkerSession) -> None:
        """The session is silent: what it has not acknowledged is handed out again, and its answers are empty now."""
        for delivery in session.deliveries.values():
            tokens, delivery.tokens = delivery.tokens, {}
            delivery.answer = _without_tasks(delivery.answer)
            for token in tokens:
                self._source.undelivered(token, session)

    def expire(self, now: float) -> None:
        """Answer the polls whose wait is over. One that was filled in this tick leaves at the end of it."""
        for exchange in self.parked.due(now):
            if not exchange.filled:
                self.end(exchange)

    def pushed(self, session: WorkerSession) -> None:
        """A push goes out at once with the poll that has the fewest slots, for one without any is there for it."""
        polls = [exchange for exchange in session.waiting if not exchange.front]
        if polls and not any(exchange.filled for exchange in polls):
            exchange = min(polls, key=lambda poll: sum(poll.free))
            exchange.filled = True
            self._on_filled(exchange)

    async def close(self, exchanges: list[Exchange]) -> None:
        """Answer everything that is parked, empty, and wait for what commits."""
        self.closing = True
        for exchange in exchanges:
            self.end(exchange)
        while self._running:
            await asyncio.wait(self._running)

    def _check(self, session: WorkerSession, request: PollRequest | RespondRequest) -> None:
        limits = self._limits
        if len(session.exchanges) >= limits.requests_session_max:
            raise exhausted("requests_session_max", limits.requests_session_max, "wait for answers first")
        if len(session.deliveries) >= limits.answers_cached_max:
            raise exhausted("answers_cached_max", limits.answers_cached_max, "acknowledge the answers received")
        if len(session.holding) > limits.tokens_held_max:
            raise exhausted("tokens_held_max", limits.tokens_held_max, "complete tasks before asking for more")
        if isinstance(request, PollRequest) and len(self.parked) >= limits.parked_polls_max:
            raise exhausted("parked_polls_max", limits.parked_polls_max, "add servers, or run fewer worker processes")

    def _poll(self, exchange: Exchange, request: PollRequest) -> None:
        """Answered at once when something is there, else parked."""
        exchange.deadline = self._times.clock() + request.wait.total_seconds()
        if not self.closing:
            self._router.pull(exchange)
        if exchange.entries:
            self._run(self._hand_out(exchange))
        else:
            self._rest(exchange)

    def _respond(self, exchange: Exchange, request: RespondRequest) -> None:
        """It stands before the parked polls while its completions commit."""
        exchange.session.completes(exchange, request.completions)
        if not self.closing:
            self._router.open(exchange)
        self._run(self._complete(exchange, request.completions))

    def _rest(self, exchange: Exchange) -> None:
        """Park the poll, or answer it when there is nothing to wait for."""
        over = exchange.deadline <= self._times.clock()
        if over or self.closing or exchange.session.pushes or exchange.session.gone:
            self._finish(exchange)
            return
        exchange.filled = False
        self._router.open(exchange)
        self.parked.put(exchange, exchange.deadline)

    def _close(self, exchange: Exchange) -> None:
        self._router.close(exchange)
        self.parked.drop(exchange)

    def _on_filled(self, exchange: Exchange) -> None:
        """All tasks of a tick leave in one answer."""
        if not self._filled:
            self._loop.call_soon(self._flush)
        self._filled.append(exchange)

    def _flush(self) -> None:
        filled, self._filled = self._filled, []
        for exchange in filled:
            if exchange.open:
                self._close(exchange)
                if exchange.entries:
                    self._run(self._hand_out(exchange))
                else:
                    self._finish(exchange)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _hand_out(self, exchange: Exchange) -> None:
        await self._take(exchange)
        if exchange.tasks or exchange.session.quiet:
            self._finish(exchange)
        elif exchange.waiters:
            self._rest(exchange)  # all were stale
        else:
            exchange.session.exchanges.pop(exchange.sequence, None)

    async def _complete(self, exchange: Exchange, completions: tuple[AnyCompletion, ...]) -> None:
        session = exchange.session
        try:
            exchange.results = await self._source.complete(session.namespace, session, completions)
        except Exception as error:  # noqa: BLE001 - it belongs to the request, which may be repeated
            self._failed(exchange, error)
            return
        session.completed(exchange, completions, exchange.results)
        if exchange.open:
            self._router.close(exchange)
        if exchange.waiters and not (self.closing or session.gone):
            self._router.pull(exchange)
        await self._take(exchange)
        self._finish(exchange)

    async def _take(self, exchange: Exchange) -> None:
        """Turn what is assigned into tasks; in the place of stale ones more is pulled, until nothing is left."""
        session, stale = exchange.session, 0
        while exchange.entries:
            entry = exchange.entries.popleft()
            if not exchange.waiters or session.gone:
                self._router.put_back(entry)
                continue
            task = await self._built(entry[3], session)
            if task is not None:
                exchange.tasks.append(task)
                continue
            exchange.free[slot_of(entry[3])] += 1
            stale += 1
            if stale % STALE_AT_ONCE_MAX == 0:
                await asyncio.sleep(0)
            if not (exchange.entries or self.closing):
                self._router.pull(exchange)

    async def _built(self, ref: TaskRef, session: WorkerSession) -> AnyTask | None:
        try:
            return await self._source.take(ref, session)
        except Exception:  # one task that cannot be built must not cost the others
            log.exception("matching_take_failed", run_id=ref.run_id, type_name=ref.type_name)
            return None

    def _finish(self, exchange: Exchange) -> None:
        """Keep the answer until it is acknowledged, and give it to all that wait."""
        session, tokens = exchange.session, exchange.tokens()
        if session.gone or session.quiet:
            exchange.tasks = []
            for token in tokens:
                self._source.undelivered(token, session)
            tokens = {}
        answer = exchange.answer()
        session.exchanges.pop(exchange.sequence, None)
        if not session.gone:
            session.deliveries[exchange.sequence] = Delivery(answer, tokens)
        exchange.resolve(answer)

    def _failed(self, exchange: Exchange, error: Exception) -> None:
        session = exchange.session
        session.not_completed(exchange)
        session.exchanges.pop(exchange.sequence, None)
        if exchange.open:
            self._router.close(exchange)
        self._put_back(exchange)
        if not isinstance(error, ServiceError):
            log.error("matching_complete_failed", session=session.id, exc_info=error)
            error = ServiceError(Code.INTERNAL, "the completions failed on an error of the server; its log has it")
        exchange.refuse(error)

    def _put_back(self, exchange: Exchange) -> None:
        while exchange.entries:
            self._router.put_back(exchange.entries.popleft())


def _without_tasks(answer: AnyAnswer) -> AnyAnswer:
    if isinstance(answer, RespondAnswer):
        return RespondAnswer(sequence=answer.sequence, results=answer.results, pushes=answer.pushes)
    return PollAnswer(sequence=answer.sequence, pushes=answer.pushes)
