"""A batch on its way to one commit: the rows of each run merged by key, and what is let out when it has landed.

Law: effects leave after the commit, in the order they were staged; of a run whose append was refused none leave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from perdure_proto.codec import join_arrays
from perdure_server.store.port import (
    ActivityKey,
    ActivityRow,
    Append,
    BufferedEvent,
    CommitBatch,
    Parked,
    RunChange,
    RunKey,
    RunStart,
    Snapshot,
    Wake,
)

Effect = Callable[[], None]


class Staged:
    """What one run has in a batch. `previous` is the head of its log before this batch.

    A run stages a handful of things in each batch, and nearly always the same few: the others are made when needed.
    """

    first_event_id = 0
    last_event_id = 0
    start: RunStart | None = None
    change: RunChange | None = None
    wake: Wake | None = None
    wake_gone = False
    activities: dict[int, ActivityRow] | None = None
    activities_gone: set[int] | None = None
    activities_cleared = False
    buffered: list[BufferedEvent] | None = None
    buffer_flushed = False
    parked: list[Parked] | None = None
    unparked: list[Parked] | None = None
    snapshot: Snapshot | None = None
    on_refused: Callable[[Exception], None] | None = None

    def __init__(self, key: RunKey, workflow: tuple[str, str], previous: int) -> None:
        self.key = key
        self.workflow = workflow
        self.previous = previous
        self.chunks: list[bytes] = []
        self.effects: list[Effect] = []

    @property
    def has_append(self) -> bool:
        """Whether events are among the rows."""
        return self.first_event_id > 0

    def append(self, events: bytes, first_event_id: int, last_event_id: int) -> None:
        """Adds the encoded events of one transition."""
        if not self.first_event_id:
            self.first_event_id = first_event_id
        self.last_event_id = last_event_id
        self.chunks.append(events)

    def set_wake(self, wake_at: datetime | None, *, owed: bool) -> None:
        """When the run must be looked at next."""
        self.wake = Wake(self.key.shard_id, self.key.run_id, wake_at, owed)

    def set_activity(self, row: ActivityRow) -> None:
        """A row beside the log."""
        if self.activities_gone:
            self.activities_gone.discard(row.scheduled_event_id)
        if self.activities is None:
            self.activities = {}
        self.activities[row.scheduled_event_id] = row

    def drop_activity(self, scheduled_event_id: int) -> None:
        """A row beside the log goes: the activity is closed."""
        if self.activities:
            self.activities.pop(scheduled_event_id, None)
        if self.activities_gone is None:
            self.activities_gone = set()
        self.activities_gone.add(scheduled_event_id)

    def clear_activities(self) -> None:
        """All rows beside the log go: the run is closed."""
        self.activities = self.activities_gone = None
        self.activities_cleared = True

    def buffer(self, row: BufferedEvent) -> None:
        """An event that waits for the end of a workflow task."""
        if self.buffered is None:
            self.buffered = []
        self.buffered.append(row)

    def flush_buffer(self) -> None:
        """The buffered events are in this append."""
        self.buffered = None
        self.buffer_flushed = True

    def park(self, row: Parked) -> None:
        """A task that waits in the database for room in its queue."""
        if self.parked is None:
            self.parked = []
        self.parked.append(row)

    def unpark(self, row: Parked) -> None:
        """A task that has come back from there."""
        if self.unparked is None:
            self.unparked = []
        self.unparked.append(row)

    def bytes(self) -> int:
        """How much there is to send."""
        return sum(map(len, self.chunks))

    def pour(self, batch: CommitBatch) -> None:
        """Adds the rows of this run to a commit."""
        shard_id, run_id = self.key.shard_id, self.key.run_id
        if self.has_append:
            events = self.chunks[0] if len(self.chunks) == 1 else join_arrays(self.chunks)
            batch.appends.append(
                Append(shard_id, run_id, self.previous, self.first_event_id, self.last_event_id, events)
            )
        if self.start is not None:
            batch.starts.append(self.start)
        if self.change is not None:
            batch.changes.append(self.change)
        self._pour_wake(batch)
        self._pour_beside(batch)

    def _pour_wake(self, batch: CommitBatch) -> None:
        if self.wake_gone:
            if self.start is None:
                batch.wakes_gone.append(self.key)
        elif self.wake is not None:
            batch.wakes.append(self.wake)

    def _pour_beside(self, batch: CommitBatch) -> None:
        shard_id, run_id = self.key.shard_id, self.key.run_id
        if self.activities:
            batch.activities.extend(self.activities.values())
        if self.activities_gone:
            batch.activities_gone.extend(ActivityKey(shard_id, run_id, each) for each in self.activities_gone)
        if self.activities_cleared:
            batch.activities_cleared.append(self.key)
        if self.buffered:
            batch.buffered.extend(self.buffered)
        if self.buffer_flushed:
            batch.buffer_flushed.append(self.key)
        if self.parked:
            batch.parked.extend(self.parked)
        if self.unparked:
            batch.unparked.extend(self.unparked)
        if self.snapshot is not None:
            batch.snapshots.append(self.snapshot)


class Batch:
    """What gathers while the last statement is in flight."""

    def __init__(self) -> None:
        self.runs: dict[str, Staged] = {}
        self.refused: dict[str, Exception] = {}
        self.size_bytes = 0
        self.sealed_runs = 0
        self.sealed_bytes = 0
        """How much it held when it took no more; whoever counts what waits takes the same off when it has landed."""
        self._lost: Exception | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._is_over = False

    def stage(self, key: RunKey, workflow: tuple[str, str], previous: int) -> Staged:
        """The place of a run in this batch."""
        staged = self.runs.get(key.run_id)
        if staged is None:
            staged = self.runs[key.run_id] = Staged(key, workflow, previous)
        return staged

    async def landed(self, run_id: str = "") -> None:
        """Waits for the commit. Raises what befell the run named, if its part did not land, or the whole batch."""
        if not self._is_over:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if run_id and run_id in self.refused:
            raise self.refused[run_id]
        if self._lost is not None:
            raise self._lost

    def land(self) -> None:
        """Lets effects out, then answers."""
        self._is_over = True
        for staged in self.runs.values():
            if staged.key.run_id not in self.refused:
                for effect in staged.effects:
                    effect()
        self.runs.clear()  # effects refer to the batch: a landed one would be left to the garbage collector
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def refuse(self, run_id: str, error: Exception) -> None:
        """The part of a run did not land."""
        self.refused[run_id] = error
        staged = self.runs[run_id]
        if staged.on_refused is not None:
            staged.on_refused(error)

    def withdraw(self, run_id: str, error: Exception) -> None:
        """The part of a run is not sent: what it builds on did not land."""
        if run_id in self.runs and run_id not in self.refused:
            self.refused[run_id] = error
            del self.runs[run_id]

    def refuse_all(self, error: Exception) -> None:
        """Nothing of it landed: whoever waits for it as a barrier has no confirmation either."""
        self._lost = error
        for run_id in self.runs:
            if run_id not in self.refused:
                self.refuse(run_id, error)
