"""The one commit statement, at one instant: every part sees the tables as they were before it.

Chain: an append lands after the row that it names, if that ends one event before. Fence: at another epoch than the
stored one nothing is written. A run with an append in the batch is gated: its rows go in only if the append did.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import TypeVar

from perdure_server.store.commit_rows import Claim, claims_of, show
from perdure_server.store.model.refusal import check_values
from perdure_server.store.model.tables import Run, Tables
from perdure_server.store.port import (
    Append,
    CommitBatch,
    CommitResult,
    ExecutionRow,
    Fence,
    HistoryRow,
    Parked,
    RunChange,
    RunKey,
    RunStart,
    WakeRow,
)

Row = TypeVar("Row")


class Commits:
    """Writes batches."""

    tables: Tables

    async def commit(self, fence: Fence, batch: CommitBatch) -> CommitResult:
        """The whole batch in one statement, or nothing."""
        return self.commit_now(fence, batch)

    def commit_now(self, fence: Fence, batch: CommitBatch) -> CommitResult:
        """The same for who puts delays and faults around it."""
        check_values(batch)
        if self.tables.fences.get(fence.server) != fence.epoch:
            return CommitResult(fence_held=False, accepted=set())
        continued = {append.run_id for append in batch.appends if self._continues(append)}
        claimed = self._claim(batch, continued) if batch.starts else {}
        accepted = self._append(batch.appends, continued, claimed)
        waiting = {append.run_id for append in batch.appends} - accepted
        self._show(batch, accepted, waiting)
        self._remove(batch, waiting)
        self._put(batch, waiting)
        return CommitResult(fence_held=True, accepted=accepted)

    # ---- the log and the claims of workflow ids ---------------------------------------------------------------

    def _continues(self, append: Append) -> bool:
        if not append.previous_first_event_id:
            return False
        rows = self.tables.history.get((append.shard_id, append.run_id), {})
        previous = rows.get(append.previous_first_event_id)
        ends_before = previous is not None and previous.last_event_id == append.first_event_id - 1
        return ends_before and append.first_event_id not in rows

    def _claim(self, batch: CommitBatch, continued: set[str]) -> dict[str, str]:
        """For each run that begins the claim on which it depends; those whose claim was lost are absent."""
        claims, claim_of = claims_of(batch.starts, {append.run_id: append for append in batch.appends})
        won = self._win(claims, continued)
        # A second successor of one run has no claim of its own, and none that could be won.
        return {start.run_id: claim for start in batch.starts if (claim := claim_of.get(start.run_id, "")) in won}

    def _win(self, claims: Iterable[Claim], continued: set[str]) -> set[str]:
        current, before = self.tables.current, dict(self.tables.current)
        won: set[str] = set()
        taken: set[tuple[int, int, str]] = set()
        for claim in sorted(claims, key=lambda claim: (claim.shard_id, claim.namespace_id, claim.workflow_id)):
            key = claim.shard_id, claim.namespace_id, claim.workflow_id
            if key in taken or before.get(key, "") != claim.old_run_id:
                continue
            # Continue-as-new: if the closing append of the old run is refused, the new run must not begin.
            if claim.old_run_id and claim.gated and claim.old_run_id not in continued:
                continue
            taken.add(key)
            current[key] = claim.run_id
            won.add(claim.run_id)
        return won

    def _append(self, appends: Iterable[Append], continued: set[str], claimed: dict[str, str]) -> set[str]:
        accepted: set[str] = set()
        for append in appends:
            if append.run_id not in (claimed if not append.previous_first_event_id else continued):
                continue
            rows = self.tables.history.setdefault((append.shard_id, append.run_id), {})
            if append.first_event_id not in rows:
                rows[append.first_event_id] = HistoryRow(append.first_event_id, append.last_event_id, append.events)
                accepted.add(append.run_id)
        return accepted

    # ---- visibility -------------------------------------------------------------------------------------------

    def _show(self, batch: CommitBatch, accepted: set[str], waiting: set[str]) -> None:
        appends = {append.run_id: append for append in batch.appends}
        changes = {change.run_id: change for change in batch.changes}
        for start in batch.starts:
            change = changes.pop(start.run_id, None)
            if start.run_id in accepted:
                row = _shown(start, appends[start.run_id], change)
                self.tables.executions[start.shard_id, start.run_id] = row
        for change in changes.values():
            known = self.tables.executions.get((change.shard_id, change.run_id))
            if known is not None and change.run_id not in waiting:
                self.tables.executions[change.shard_id, change.run_id] = _changed(known, change)

    # ---- rows beside the log: what goes was there before, what is put stays -------------------------------------

    def _remove(self, batch: CommitBatch, waiting: set[str]) -> None:
        tables = self.tables
        for gone in batch.activities_gone:
            if gone.run_id not in waiting:
                _discard(tables.activities, (gone.shard_id, gone.run_id), gone.scheduled_event_id)
        for task in batch.unparked:
            if task.run_id not in waiting:
                _discard(tables.parked, (task.shard_id, task.run_id), task.scheduled_event_id)
        _clear(tables.activities, batch.activities_cleared, waiting)
        _clear(tables.buffered, batch.buffer_flushed, waiting)
        _clear(tables.wakes, batch.wakes_gone, waiting)

    def _put(self, batch: CommitBatch, waiting: set[str]) -> None:
        tables = self.tables
        for activity in batch.activities:
            if activity.run_id not in waiting:
                rows = tables.activities.setdefault((activity.shard_id, activity.run_id), {})
                rows[activity.scheduled_event_id] = copy(activity)
        for event in batch.buffered:
            if event.run_id not in waiting:
                tables.buffered.setdefault((event.shard_id, event.run_id), {})[event.position] = copy(event)
        for wake in batch.wakes:
            if wake.run_id not in waiting:
                row = WakeRow(wake.shard_id, wake.run_id, wake.wake_at, wake.owed)
                tables.wakes[wake.shard_id, wake.run_id] = row
        for task in sorted(batch.parked, key=lambda task: task.priority):
            if task.run_id not in waiting:
                self._park(task)
        for snapshot in batch.snapshots:
            if snapshot.run_id not in waiting:
                tables.snapshots[snapshot.shard_id, snapshot.run_id] = copy(snapshot)

    def _park(self, task: Parked) -> None:
        """What is parked already keeps its place."""
        self.tables.arrivals += 1
        rows = self.tables.parked.setdefault((task.shard_id, task.run_id), {})
        rows.setdefault(task.scheduled_event_id, (self.tables.arrivals, task))


def _shown(start: RunStart, append: Append, change: RunChange | None) -> ExecutionRow:
    row = show(start, append, change)
    return ExecutionRow(
        shard_id=start.shard_id,
        run_id=start.run_id,
        namespace_id=start.namespace_id,
        workflow_id=start.workflow_id,
        workflow_type=start.workflow_type,
        task_queue=start.task_queue,
        status=row.status,
        start_time=start.start_time,
        close_time=None if change is None else change.close_time,
        history_length=row.history_length,
        request_id=start.request_id,
        first_run_id=start.first_run_id,
        new_run_id=row.new_run_id or "",
        memo=row.memo,
        search_attributes=row.search_attributes,
    )


def _changed(known: ExecutionRow, change: RunChange) -> ExecutionRow:
    row = copy(known)
    row.status, row.close_time, row.history_length = change.status, change.close_time, change.history_length
    row.new_run_id = change.new_run_id or known.new_run_id
    row.memo = known.memo if change.memo is None else change.memo
    if change.search_attributes is not None:
        row.search_attributes = change.search_attributes
    return row


def _discard(table: dict[Run, dict[int, Row]], run: Run, key: int) -> None:
    rows = table.get(run)
    if rows is not None and rows.pop(key, None) is not None and not rows:
        del table[run]


def _clear(table: dict[Run, Row], keys: Iterable[RunKey], waiting: set[str]) -> None:
    for key in keys:
        if key.run_id not in waiting:
            table.pop((key.shard_id, key.run_id), None)
