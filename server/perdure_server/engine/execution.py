"""One run in the memory of its owner: its state, the head of its log, what is staged, and who waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from msgspec import Struct

from perdure_proto.events import AnyEvent
from perdure_proto.service import UpdateStage, UpdateWorkflowAnswer
from perdure_server.engine.batch import Batch
from perdure_server.engine.eager_start import Seat
from perdure_server.history import requests as req
from perdure_server.history.deadlines import Deadline
from perdure_server.history.decision import Decision
from perdure_server.history.outbox import DeliveryKey
from perdure_server.history.state import ExecutionState
from perdure_server.matching.port import TaskKind
from perdure_server.store.port import RunKey

if TYPE_CHECKING:
    from perdure_server.engine.permits import Hold

_REFUSALS_MAX = 2
"""Closing commands refused in a row before new signals are held back, so that a storm cannot keep a run open."""


class Chunk(Struct, frozen=True):
    """Encoded events that a worker may not have seen."""

    first_event_id: int
    last_event_id: int
    events: bytes


class Past(Struct, frozen=True):
    """What other runs of the workflow id took that closed after an instant: the run by the request id."""

    since: datetime
    taken: dict[str, str]


class UpdateWaiter(asyncio.Future[UpdateWorkflowAnswer]):
    """Who waits for an update: up to which stage, and at which run, for it moves on with the update."""

    def __init__(self, execution: Execution, update_id: str, stage: UpdateStage) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.at = execution
        self.update_id = update_id
        self.stage = stage


class Held(Decision, kw_only=True):
    """Nothing was decided yet: `later` will say what is. `refused` is for those who do not wait."""

    request: req.Request
    later: asyncio.Future[Decision]

    def settle(self, decision: Decision) -> None:
        """Tells who waits, if anybody does."""
        if not self.later.done():
            self.later.set_result(decision)


class Execution:
    """A cached run. Only the engine touches it, on its own loop."""

    def __init__(self, key: RunKey, workflow: tuple[str, str], namespace_id: int, state: ExecutionState) -> None:
        self.key = key
        self.run_id = key.run_id
        self.workflow = workflow
        """Namespace and workflow id."""
        self.namespace, self.workflow_id = workflow
        self.namespace_id = namespace_id
        self.queue_namespace = self.namespace if namespace_id > 0 else self.namespace.partition("\0")[0]
        """The namespace whose task queues it uses: not its own in a standalone activity."""
        self.state = state
        self.head = 0
        """`first_event_id` of the newest row that is committed or staged."""
        self.batch: Batch | None = None
        """The last batch that has anything of this run; None once it has landed."""
        self.is_lost = False
        """Dropped from the cache: nothing more may be staged."""
        self.wake_owed = False
        self.wake_at: datetime | None = None
        self.chunks: list[Chunk] = []
        self.sticky_session = ""
        self.seat: Seat | None = None
        """Where the first task goes instead of to matching, while the run starts eagerly."""
        self.offered: set[tuple[TaskKind, int]] = set()
        self.parked: set[int] = set()
        self.permits: dict[int, Hold] = {}
        """By scheduled event id: permits of concurrency limits that its activities have or wait for."""
        self.touched_at = 0.0
        self.armed_at: datetime | None = None
        self.snapshot_event_id = 0
        self.may_have_rows = False
        """Whether rows of `activities` may be kept beside its log."""
        self.past: Past | None = None
        """What earlier runs of the workflow id took, where that was looked for."""
        self.after: Execution | None = None
        """The run whose place this one took in a reset: see `successions`."""
        self.seeks_after = False
        """That run is being looked for: it may owe something."""
        self.on_leave: Callable[[], None] | None = None
        """Called when this closed run owes nothing more."""
        self.owing: set[DeliveryKey] = set()
        """Deliveries to other executions that are under way."""
        self.unheard: set[DeliveryKey] = set()
        """Those of them that were answered when the history was full."""
        self.durable_buffer = 0
        self.buffer_batch: asyncio.Future[Batch] | None = None
        self.task_ended: asyncio.Future[None] | None = None
        self.result_waiters: list[asyncio.Future[None]] = []
        self.event_waiters: list[asyncio.Future[None]] = []
        self.update_waiters: dict[str, list[UpdateWaiter]] = {}
        self.tried_builds: set[str] = set()
        """Build ids of the workers that failed the workflow task."""
        self.confirmed: set[tuple[int, int, int]] = set()
        """(scheduled event id, attempt, stamp) that a worker said it holds since this owner began."""
        self.transactional = False
        """Whether an activity of it was ever allowed a transaction: the rules of `outcomes` hold from then on."""
        self.held: deque[Held] = deque()
        self.sealed: dict[int, str] = {}
        """Activities that no attempt can complete any more, by the seals in the store."""
        self._deadlines: list[tuple[datetime, int, Deadline]] = []
        self._deadline_number = 0

    @property
    def next_deadline(self) -> datetime | None:
        """The earliest deadline; it may be stale."""
        return self._deadlines[0][0] if self._deadlines else None

    def add_deadline(self, deadline: Deadline) -> None:
        """Something must happen by then."""
        self._deadline_number += 1
        heappush(self._deadlines, (deadline.at, self._deadline_number, deadline))

    def pop_due(self, now: datetime) -> Deadline | None:
        """The next deadline that has come."""
        if self._deadlines and self._deadlines[0][0] <= now:
            return heappop(self._deadlines)[2]
        return None

    def forget_deadlines(self) -> None:
        """The run is closed."""
        self._deadlines.clear()

    async def landed(self) -> None:
        """Waits until all that was staged for this run before this call has landed."""
        if self.batch is not None:
            await self.batch.landed(self.run_id)

    def events_since(self, event_id: int) -> list[bytes] | None:
        """Encoded events after an id, where they are all in memory; None where they are not."""
        if event_id == self.state.last_event_id:
            return []
        if not self.chunks or self.chunks[0].first_event_id > event_id + 1:
            return None
        chunks = [chunk for chunk in self.chunks if chunk.first_event_id > event_id]
        if not chunks or chunks[0].first_event_id != event_id + 1:
            return None
        return [chunk.events for chunk in chunks]

    @property
    def holds_signals(self) -> bool:
        """Law: after two refused closings in a row, new signals wait for the end of the task, unacknowledged."""
        return self.state.refusals >= _REFUSALS_MAX and self.state.is_buffering

    async def task_end(self) -> None:
        """Waits for the end of the workflow task that is started."""
        if self.task_ended is None:
            self.task_ended = asyncio.get_running_loop().create_future()
        await asyncio.shield(self.task_ended)

    def is_changing(self) -> bool:
        """Whether memory holds what the store does not have, or not yet."""
        task = self.state.workflow_task
        return bool(
            self.batch is not None
            or any(not update.logged for update in self.state.admitted.values())
            or self.buffer_batch is not None
            or self.held
            or (task is not None and task.started is not None)
        )

    def is_busy(self) -> bool:
        """Whether the run is needed in memory: it changes, or somebody waits for it."""
        waits = self.result_waiters or self.event_waiters or self.update_waiters
        return bool(waits or self.owing or self.is_changing())


def wake_all(waiters: list[asyncio.Future[None]]) -> None:
    """Ends the wait of all that wait."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()


def event_ids(events: list[AnyEvent]) -> tuple[int, int]:
    """The first and the last id of a transition."""
    return events[0].event_id, events[-1].event_id
