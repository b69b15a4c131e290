"""Parking: a task over the window of its queue waits in the database, and comes back by priority, turn and age.

Turns are numbered when tasks are parked, by the same clock as in memory (`matching.fairness`), one for each queue and
kind: the row keeps its turn, so the order outlives the server, and a new owner sets its clocks by the rows. A queue of
which nothing is parked has no clock. Law: what is paged back is owed again before it is offered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perdure_server.engine.execution import Execution
from perdure_server.matching.backlog import priority_of
from perdure_server.matching.fairness import KEYS_KEPT_MAX, Turns
from perdure_server.matching.port import TaskKind, TaskRef
from perdure_server.store.port import Parked

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

Queue = tuple[int, str, TaskKind]
"""Namespace, task queue, and `workflow` or `activity`."""


class Clock:
    """The turns of what is parked in one queue; how many were parked, and how many of them surely landed."""

    __slots__ = ("landed", "parked", "turns")

    def __init__(self) -> None:
        self.turns = Turns()
        self.parked = 0
        self.landed = 0


class Parking:
    """What waits in the database for room in its queue."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clocks: dict[Queue, Clock] = {}
        self._returning: Parked | None = None

    @property
    def returning(self) -> bool:
        """Whether the task that is offered now is one that comes back."""
        return self._returning is not None

    def park(self, execution: Execution, ref: TaskRef) -> None:
        """The queue's window is full. A task that came back in vain keeps its turn."""
        if ref.scheduled_event_id in execution.parked:
            return
        execution.parked.add(ref.scheduled_event_id)
        kind: TaskKind = "activity" if ref.kind == "activity" else "workflow"
        clock = self._clock((abs(execution.namespace_id), ref.task_queue, kind))
        clock.parked += 1
        row = self._returning or _row(execution, ref, kind, clock.turns)
        self._engine.transactor.stage(execution).park(row)

    async def recover(self, shards: Sequence[int]) -> None:
        """Sets the clocks by what is parked of these shards, before anything else of them is."""
        store = self._engine.store
        for namespace_id, queue, kind_name, _ in await store.parked_queues(shards):
            kind: TaskKind = "activity" if kind_name == "activity" else "workflow"
            turns = self._clock((namespace_id, queue, kind)).turns
            for each in await store.parked_turns((namespace_id, queue, kind), shards, KEYS_KEPT_MAX):
                turns.resume(each.priority, each.fairness_key, each.next, each.last)

    async def announce(self) -> None:
        """Tells matching of what is parked, once what is owed has its place again: that came before it."""
        for namespace_id, queue, kind in list(self._clocks):
            namespace = await self._engine.residents.namespaces.name_of(namespace_id)
            self._engine.matching.note_parked(namespace, queue, kind)

    async def refill(self, namespace: str, task_queue: str, kind: TaskKind, room: int) -> int:
        """Pages parked tasks back: owed again, and offered once that is durable. Some need no worker any more."""
        engine, taken = self._engine, 0
        queue = (await engine.residents.namespaces.get(namespace)).namespace_id, task_queue, kind
        clock = self._clock(queue)
        await self._land(clock)  # what is on its way to the store would be missed, and nobody would look again
        all_landed = clock.parked == clock.landed
        page = await engine.store.parked_tasks(queue, sorted(engine.tenures.owned), room)
        for row in page:
            execution = await self._find(row)
            if execution is None:
                continue
            engine.committer.make_room()
            self._bring_back(execution, row, clock.turns)
            taken += 1
        if not page and all_landed and clock.parked == clock.landed:
            self._clocks.pop(queue, None)
        await self._land(clock)
        return taken

    async def _land(self, clock: Clock) -> None:
        parked = clock.parked
        await self._engine.committer.drain()
        clock.landed = parked

    async def _find(self, row: Parked) -> Execution | None:
        """The run of a parked task, if it is ours still and the task is parked still."""
        if row.shard_id not in self._engine.tenures.owned:
            return None
        execution = await self._engine.residents.find_run(row.shard_id, row.run_id)
        if execution is None or execution.is_lost or row.scheduled_event_id not in execution.parked:
            return None
        return execution

    def _bring_back(self, execution: Execution, row: Parked, turns: Turns) -> None:
        execution.parked.discard(row.scheduled_event_id)
        staged = self._engine.transactor.stage(execution)
        staged.unpark(row)
        if not execution.state.is_open:
            return
        if not execution.wake_owed:
            execution.wake_owed = True
            staged.set_wake(execution.wake_at, owed=True)
        self._engine.transactor.release(execution, [lambda: self._offer(execution, row, turns)])

    def _offer(self, execution: Execution, row: Parked, turns: Turns) -> None:
        self._returning = row
        try:
            if row.scheduled_event_id:
                self._engine.offer_activity(execution, row.scheduled_event_id)
            else:
                self._engine.offer_workflow_task(execution)
        finally:
            self._returning = None
        if row.scheduled_event_id not in execution.parked:
            turns.served(row.priority, row.turn)

    def _clock(self, queue: Queue) -> Clock:
        return self._clocks.setdefault(queue, Clock())


def _row(execution: Execution, ref: TaskRef, kind: TaskKind, turns: Turns) -> Parked:
    priority = priority_of(ref)
    return Parked(
        execution.key.shard_id,
        execution.run_id,
        ref.scheduled_event_id,
        abs(execution.namespace_id),
        ref.task_queue,
        kind,
        priority,
        ref.fairness_key,
        turns.stamp(priority, ref.fairness_key, ref.fairness_weight),
    )
