"""Transactional activities: closed only with what their transaction recorded, or behind a seal.

Law: a request that would close such an activity otherwise is held; the activity is sealed in the store, on a connection
of its own and never in a group commit, for it waits for a user's transaction; then the request is decided again. An
outcome that is there already wins. A seal that closed nothing is taken away again. A sweep finds the outcomes of
workers that died between their commit and their answer: one bounded query for all that are pending.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Coroutine
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog
from msgspec import Raw

from perdure_proto.errors import Code, ServiceError
from perdure_proto.payload import NULL
from perdure_server.engine.execution import Execution, Held
from perdure_server.history import requests as req
from perdure_server.history.decide import decide
from perdure_server.history.decision import Decision, Moment
from perdure_server.history.outcomes import closes_otherwise
from perdure_server.store.port import ActivityKey, OutcomeRow, StoreUnavailableError

if TYPE_CHECKING:
    from datetime import datetime

    from perdure_server.engine.engine import Engine

log = structlog.get_logger()

_AGAIN_SECONDS = 0.5


class Outcomes:
    """Holds, seals and finds. Everything but the store's answers happens on the engine's loop, between its turns."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._begun: dict[tuple[str, int], float] = {}
        """(run, scheduled event) of pending transactional activities, and when they were looked for last, in order."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._sealing: dict[Execution, int] = {}
        """Runs that somebody seals activities of, or is to unseal them, and how many do."""
        self._finished = asyncio.Event()

    def note(self, execution: Execution) -> None:
        """A run was loaded: its activities may have been allowed a transaction."""
        for scheduled_event_id, activity in execution.state.activities.items():
            if activity.transactional:
                self._note(execution, scheduled_event_id)

    def transact(self, execution: Execution, request: req.Request, now: datetime | None) -> Decision:
        """Decides and applies, or holds the request and answers a `Held`, which refuses those who do not wait."""
        now = now or self._engine.now()
        if self._in_the_way(execution, request, now):
            return self._hold(execution, request)
        return self._engine.transactor.transact(execution, request, now)

    async def begin(self, execution: Execution, request: req.BeginTransaction) -> Decision:
        """Allows an attempt its transaction, unless an earlier one has committed."""
        activity = execution.state.activities.get(request.scheduled_event_id)
        if activity is not None and activity.transactional:
            while execution.held:
                await asyncio.wait([execution.held[-1].later])
            await self._look([_key(execution, request.scheduled_event_id)])
        decision = self._engine.transact(execution, request)
        if decision.refused is None:
            self._note(execution, request.scheduled_event_id)
        return decision

    def is_clear(self, execution: Execution, request: req.Request) -> bool:
        """Whether a request that is decided outside of `transact` closes nothing that is not sealed."""
        return not (execution.transactional and self._in_the_way(execution, request, self._engine.now()))

    async def clear(self, execution: Execution, request: req.Request) -> None:
        """Seals what such a request would close. Whoever asked for it calls `leave` in the end."""
        self._begin(execution)
        if execution.transactional:
            for scheduled_event_id in self._in_the_way(execution, request, self._engine.now()):
                await self._seal(execution, scheduled_event_id)

    async def leave(self, execution: Execution) -> None:
        """Takes the seals away again that have closed nothing."""
        try:
            if not execution.held:
                await self._unseal_open(execution)
        finally:
            self._end(execution)

    def is_about(self, execution: Execution) -> bool:
        """Whether somebody is about to close the run, and wants to find it in memory then."""
        return execution in self._sealing

    async def finish(self, shards: Collection[int]) -> None:
        """Waits until nothing is sealed or unsealed any more of runs that were given away.

        Law: seals are not written by commits, so the barrier of commits does not wait for them. One that came late
        would take over the seal of the next owner, and take it away again from behind what that one has closed.
        """
        while any(execution.key.shard_id in shards for execution in self._sealing):
            self._finished.clear()
            await self._finished.wait()

    async def sweep(self) -> None:
        """Looks for the outcomes of all that has been pending for a while."""
        engine = self._engine
        before = time.monotonic() - engine.settings.outcome_looked_for_after.total_seconds()
        keys: list[ActivityKey] = []
        for place, looked_at in list(self._begun.items()):
            if looked_at > before:
                break
            del self._begun[place]
            execution = engine.residents.by_run.get(place[0])
            if execution is not None and place[1] in execution.state.activities:
                self._begun[place] = time.monotonic()
                keys.append(_key(execution, place[1]))
        page = engine.settings.outcomes_page
        for start in range(0, len(keys), page):
            await self._look(keys[start : start + page])

    def stop(self) -> None:
        """Nothing more is sealed; who waits is told by the end of the run's memory."""
        for task in self._tasks:
            task.cancel()

    def _note(self, execution: Execution, scheduled_event_id: int) -> None:
        execution.transactional = True
        self._begun.setdefault((execution.run_id, scheduled_event_id), time.monotonic())

    def _in_the_way(self, execution: Execution, request: req.Request, now: datetime) -> list[int]:
        decision = decide(execution.state, request, Moment(now, self._engine.limits))
        return [each for each in closes_otherwise(execution.state, request, decision) if each not in execution.sealed]

    def _hold(self, execution: Execution, request: req.Request) -> Held:
        error = ServiceError(Code.UNAVAILABLE, "an activity's transaction may be about to commit: try again")
        held = Held(refused=error, request=request, later=asyncio.get_running_loop().create_future())
        execution.held.append(held)
        if len(execution.held) == 1:
            self._spawn(self._decide_held(execution))
        return held

    async def _decide_held(self, execution: Execution) -> None:
        """One after the other, in the order in which they came."""
        self._begin(execution)
        try:
            await self._decide_all_held(execution)
        finally:
            self._end(execution)

    async def _decide_all_held(self, execution: Execution) -> None:
        try:
            while execution.held and not execution.is_lost:
                held = execution.held[0]
                unsealed = self._in_the_way(execution, held.request, self._engine.now())
                for scheduled_event_id in unsealed:
                    await self._seal(execution, scheduled_event_id)
                if not unsealed:
                    execution.held.popleft()
                    self._decide_again(execution, held)
        finally:
            while execution.held:  # lost from memory: whoever asks again finds what the log says
                execution.held.popleft().settle(Decision(refused=self._engine.refusal(execution)))
        await self._unseal_open(execution)

    def _decide_again(self, execution: Execution, held: Held) -> None:
        try:
            held.settle(self._engine.transactor.transact(execution, held.request))
        except ServiceError as error:
            held.settle(Decision(refused=error))
        except Exception:
            held.settle(Decision(refused=self._engine.refusal(execution)))
            raise

    async def _seal(self, execution: Execution, scheduled_event_id: int) -> None:
        """Seals it, or completes it with the outcome that was first. Whoever asked looks whether it is done."""
        engine = self._engine
        if execution.is_lost:
            return
        try:
            row = await engine.store.seal_outcome(
                engine.committer.fence, _key(execution, scheduled_event_id), str(uuid4())
            )
        except StoreUnavailableError as error:
            log.warning("seal_repeated", run_id=execution.run_id, reason=str(error))
            row = None
        if row is None:
            await asyncio.sleep(_AGAIN_SECONDS)
        elif row.seal:
            execution.sealed[scheduled_event_id] = row.seal
        else:
            self._complete(execution, row)

    async def _unseal_open(self, execution: Execution) -> None:
        """Law: a seal stays only behind an activity that is closed; else no attempt of it could ever commit."""
        for scheduled_event_id, seal in list(execution.sealed.items()):
            activity = execution.state.activities.get(scheduled_event_id)
            if execution.sealed.pop(scheduled_event_id, "") and activity is not None and not activity.closing:
                await self._unseal(_key(execution, scheduled_event_id), seal)

    async def _unseal(self, key: ActivityKey, seal: str) -> None:
        try:
            await self._engine.store.unseal_outcome(self._engine.committer.fence, key, seal)
        except StoreUnavailableError as error:
            log.warning("unseal_left_to_sweep", run_id=key.run_id, reason=str(error))

    async def _look(self, keys: list[ActivityKey]) -> None:
        for row in await self._engine.store.outcomes(keys):
            execution = self._engine.residents.by_run.get(row.key.run_id)
            if execution is None or execution.is_lost or not _is_open(execution, row.key.scheduled_event_id):
                continue
            if not row.seal:
                self._complete(execution, row)
            elif not execution.held and row.key.scheduled_event_id not in execution.sealed:
                await self._unseal(row.key, row.seal)  # an owner set it and died before it closed the activity

    def _complete(self, execution: Execution, row: OutcomeRow) -> None:
        """Law: the key has no attempt, so what is recorded is the activity's result, whichever attempt is pending."""
        if execution.is_lost:
            return
        assert row.started_at is not None, "an outcome says of which attempt it is"
        request = req.CompleteActivity(
            scheduled_event_id=row.key.scheduled_event_id,
            attempt=row.attempt,
            started_at=row.started_at,
            identity=row.identity,
            result=NULL if row.result is None else Raw(row.result),
            encoding=row.encoding,
            recorded=True,
        )
        self._engine.transactor.transact(execution, request)

    def _begin(self, execution: Execution) -> None:
        self._sealing[execution] = self._sealing.get(execution, 0) + 1

    def _end(self, execution: Execution) -> None:
        self._sealing[execution] -= 1
        if not self._sealing[execution]:
            del self._sealing[execution]
            self._finished.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _key(execution: Execution, scheduled_event_id: int) -> ActivityKey:
    return ActivityKey(execution.key.shard_id, execution.run_id, scheduled_event_id)


def _is_open(execution: Execution, scheduled_event_id: int) -> bool:
    activity = execution.state.activities.get(scheduled_event_id)
    return activity is not None and activity.transactional and not activity.closing
