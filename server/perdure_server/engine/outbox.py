"""Delivers what runs owe to other executions: one lane for each source run and target workflow id.

Law: a lane delivers in order, the next after the answer; signals that wait together go together. What is not answered
is owed, and sent again by whoever owns the source then: the receiver knows it by its key. A task may ask for thousands
of children: only so many lanes send at once as fill a commit, or the loop would stand still for seconds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import structlog
from msgspec import structs

from perdure_proto.errors import Code, ServiceError
from perdure_server.engine.execution import Execution
from perdure_server.engine.inbox import Answer, Inbox, source_of
from perdure_server.engine.peers import Mail
from perdure_server.history import requests as req
from perdure_server.history.outbox import Delivery
from perdure_server.store.port import StoreUnavailableError

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

log = structlog.get_logger()

_TOGETHER_MAX = 500
_WAIT_FIRST_SECONDS = 0.05
_WAIT_MAX_SECONDS = 5.0


class LaneKey(NamedTuple):
    """A source run, as it is in memory now, and the workflow that it tells something."""

    source: Execution
    namespace: str
    workflow_id: str


class Outbox:
    """Sends. `stop()` ends all that is under way; it is sent again after the next start."""

    def __init__(self, engine: Engine, inbox: Inbox, peers: Mail) -> None:
        self._engine = engine
        self._inbox = inbox
        self._peers = peers
        self._lanes: dict[LaneKey, deque[Delivery]] = {}
        self._tasks: dict[LaneKey, asyncio.Task[None]] = {}
        self._under_way = asyncio.Semaphore(engine.settings.deliveries_under_way_max)

    def offer(self, execution: Execution, deliveries: Iterable[Delivery]) -> None:
        """Sends what is not under way already."""
        if not execution.state.is_open:
            execution.owing -= execution.unheard
            execution.unheard.clear()
        for each in deliveries:
            if each.key in execution.owing or execution.is_lost:
                continue
            execution.owing.add(each.key)
            delivery = structs.replace(each, namespace=each.namespace or execution.namespace)
            key = LaneKey(execution, *delivery.target)
            lane = self._lanes.get(key)
            if lane is not None:
                lane.append(delivery)
                continue
            self._lanes[key] = deque([delivery])
            self._tasks[key] = asyncio.create_task(self._drain(key))
            self._tasks[key].add_done_callback(partial(self._drained, key))
        if not execution.owing:
            self._settle(execution)

    def stop(self) -> None:
        """Nothing more leaves."""
        for task in self._tasks.values():
            task.cancel()

    async def end(self, shards: Collection[int]) -> None:
        """Nothing more leaves from runs of these shards: what is not answered is the next owner's to send again.

        Law: nothing of the former owner comes after what the next one sends, or a child that is on its way would begin
        when its parent has closed and has asked for its end.
        """
        ending = [task for key, task in self._tasks.items() if key.source.key.shard_id in shards]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _drained(self, key: LaneKey, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if task.cancelled():
            self._lanes.pop(key, None)  # it may never have begun

    async def _drain(self, key: LaneKey) -> None:
        lane, execution, wait = self._lanes[key], key.source, _WAIT_FIRST_SECONDS
        try:
            while lane:
                try:
                    async with self._under_way:
                        if execution.is_lost:
                            return
                        await self._send(execution, lane)
                except (ServiceError, StoreUnavailableError) as error:
                    log.info("delivery_repeated", run_id=execution.run_id, target=key.workflow_id, reason=str(error))
                except Exception:  # a lane that ends by a defect would leave its run owed until the next restart
                    log.exception("delivery_failed", run_id=execution.run_id, target=key.workflow_id)
                else:
                    wait = _WAIT_FIRST_SECONDS
                    continue
                await asyncio.sleep(wait)
                wait = min(wait * 2, _WAIT_MAX_SECONDS)
        finally:
            self._lanes.pop(key, None)

    async def _send(self, execution: Execution, lane: deque[Delivery]) -> None:
        """The head of the lane, or the signals at its head. They leave the lane when their answers are staged."""
        source, together = source_of(execution), _signals(lane) or [lane[0]]
        shard_id = self._engine.residents.shard_of(*lane[0].target)
        if shard_id not in self._engine.tenures.owned:
            answers = await self._peers.tell(shard_id, source, together)
        elif len(together) > 1:
            answers = await self._inbox.take_signals(source, together)
        else:
            answers = [await self._inbox.take(source, lane[0])]
        for answer in answers:
            if execution.is_lost:
                return
            delivery = lane.popleft()
            if self._record(execution, delivery, answer):
                execution.owing.discard(delivery.key)
            else:
                execution.unheard.add(delivery.key)
        if not execution.owing:
            self._settle(execution)

    def _record(self, execution: Execution, delivery: Delivery, answer: Answer) -> bool:
        """An open source writes the answer; a closed one has it acknowledged. False: the source is full.

        Law: the answer to a full source stays owed. It is asked for again when the source closes, or has a new owner.
        """
        if not execution.state.is_open or delivery.kind in ("close_child", "child_closed"):
            return True
        event_id = delivery.event_id
        request: req.Request
        if delivery.kind != "start_child":
            request = req.RecordMessageAnswered(initiated_event_id=event_id, run_id=answer.run_id, cause=answer.cause)
        elif answer.cause:
            request = req.RecordChildStartFailed(initiated_event_id=event_id, cause=answer.cause)
        else:
            request = req.RecordChildStarted(initiated_event_id=event_id, run_id=answer.run_id)
        refused = self._engine.transact(execution, request).refused
        return refused is None or refused.code != Code.HISTORY_LIMIT

    def _settle(self, execution: Execution) -> None:
        """Law: a closed execution stays owed until parent, children and targets have acknowledged.

        While its close is on its way the last answer to the open run may come; what the close owes is not here yet.
        """
        if execution.state.is_open or execution.is_lost or execution.owing:
            return
        if execution.batch is not None:
            self._engine.transactor.release(execution, [partial(self._settle, execution)])
            return
        if execution.on_leave is not None:
            on_leave, execution.on_leave = execution.on_leave, None
            on_leave()
        if execution.wake_owed:
            execution.wake_owed = False
            self._engine.transactor.stage(execution).wake_gone = True


def _signals(lane: deque[Delivery]) -> list[Delivery]:
    signals: list[Delivery] = []
    for delivery in lane:
        if delivery.kind != "signal" or len(signals) == _TOGETHER_MAX:
            break
        signals.append(delivery)
    return signals
