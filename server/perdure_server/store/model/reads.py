"""What the engine reads: runs, pieces of the log, queues that were kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from copy import copy
from datetime import datetime

from perdure_server.store.model.tables import Run, Tables
from perdure_server.store.port import HistoryRow, Parked, ParkedTurn, PermitRow, RunKey, StoredRun, WakeRow


class RunReads:
    """Reads of runs and of the queues."""

    tables: Tables

    async def read_back(self, keys: Sequence[tuple[int, str, int, int]]) -> set[str]:
        """Run ids of those appends that are in the log."""
        found: set[str] = set()
        for shard_id, run_id, first, last in keys:
            row = self.tables.history.get((shard_id, run_id), {}).get(first)
            if row is not None and row.last_event_id == last:
                found.add(run_id)
        return found

    async def load_run(self, shard_id: int, run_id: str, snapshot_version: int) -> StoredRun | None:
        """All that is stored of a run."""
        return self._stored((shard_id, run_id), snapshot_version)

    async def load_runs(self, keys: Sequence[RunKey], snapshot_version: int) -> list[StoredRun]:
        """The same for a page of runs, in the order of the keys; runs that do not exist are left out."""
        found = [self._stored((key.shard_id, key.run_id), snapshot_version) for key in keys]
        return [stored for stored in found if stored is not None]

    async def history(self, shard_id: int, run_id: str, after_event_id: int, rows_max: int) -> list[HistoryRow]:
        """Rows of the log that hold events after an id, in order; the first may begin before it."""
        rows = self.tables.rows((shard_id, run_id))
        return [row for row in rows if row.last_event_id > after_event_id][:rows_max]

    async def owed_runs(self, shard_ids: Sequence[int], after: RunKey | None, limit: int) -> list[WakeRow]:
        """A page of runs to which something is owed, by key."""
        start = (-1, "") if after is None else (after.shard_id, after.run_id)
        wanted = set(shard_ids)
        runs = [run for run, row in self.tables.wakes.items() if row.owed and run[0] in wanted and run > start]
        return [copy(self.tables.wakes[run]) for run in sorted(runs)[:limit]]

    async def due_runs(
        self,
        shard_ids: Sequence[int],
        between: tuple[datetime | None, datetime],
        after: WakeRow | None,
        limit: int,
    ) -> list[WakeRow]:
        """A page of runs of these shards with `since < wake_at <= until`, by time then key."""
        found: list[tuple[datetime, Run]] = []
        wanted, (since, until) = set(shard_ids), between
        start = None if after is None or after.wake_at is None else (after.wake_at, (after.shard_id, after.run_id))
        for run, row in self.tables.wakes.items():
            at = row.wake_at
            if run[0] not in wanted or at is None or at > until:
                continue
            if start is None and since is not None and at <= since:
                continue
            if start is None or (at, run) > start:
                found.append((at, run))
        return [copy(self.tables.wakes[run]) for _, run in sorted(found)[:limit]]

    async def parked_tasks(self, queue: tuple[int, str, str], shard_ids: Sequence[int], limit: int) -> list[Parked]:
        """The first parked tasks of these shards in a queue (namespace id, name, kind): by priority, turn, then age."""
        found = [(task.priority, task.turn, arrival, task) for arrival, task in self._parked(shard_ids, queue)]
        return [task for *_, task in sorted(found, key=lambda each: each[:3])[:limit]]

    async def parked_turns(self, queue: tuple[int, str, str], shard_ids: Sequence[int], limit: int) -> list[ParkedTurn]:
        """The fairness keys among such tasks; those first that have had the most turns ahead."""
        last: dict[tuple[int, str], float] = {}
        first: dict[int, float] = {}
        for _, task in self._parked(shard_ids, queue):
            key = task.priority, task.fairness_key
            last[key] = max(last.get(key, task.turn), task.turn)
            first[task.priority] = min(first.get(task.priority, task.turn), task.turn)
        turns = [ParkedTurn(priority, name, first[priority], turn) for (priority, name), turn in last.items()]
        turns.sort(key=lambda each: (each.next - each.last, each.priority, each.fairness_key))
        return turns[:limit]

    async def parked_queues(self, shard_ids: Sequence[int]) -> list[tuple[int, str, str, int]]:
        """Queue by queue how much is parked of these shards."""
        counted = Counter(_queue_of(task) for _, task in self._parked(shard_ids))
        return [(*queue, count) for queue, count in sorted(counted.items())]

    def _parked(
        self, shard_ids: Sequence[int], queue: tuple[int, str, str] | None = None
    ) -> Iterator[tuple[int, Parked]]:
        wanted = set(shard_ids)
        for (shard_id, _), rows in self.tables.parked.items():
            for arrival, task in rows.values():
                if shard_id in wanted and queue in (None, _queue_of(task)):
                    yield arrival, task

    async def permits_held(self) -> list[PermitRow]:
        """All permits that rows hold."""
        return [
            PermitRow(row.shard_id, row.run_id, row.scheduled_event_id, row.permit)
            for rows in self.tables.activities.values()
            for row in rows.values()
            if row.permit is not None and row.started_at is not None
        ]

    def _stored(self, run: Run, snapshot_version: int) -> StoredRun | None:
        tables = self.tables
        shown = tables.executions.get(run)
        if shown is None:
            return None
        snapshot, wake = tables.snapshots.get(run), tables.wakes.get(run)
        if snapshot is not None and snapshot.version != snapshot_version:
            snapshot = None
        activities, buffered = tables.activities.get(run, {}), tables.buffered.get(run, {})
        return StoredRun(
            key=RunKey(*run),
            namespace_id=shown.namespace_id,
            workflow_id=shown.workflow_id,
            status=shown.status,
            snapshot=copy(snapshot),
            rows=tables.rows(run, snapshot.last_event_id if snapshot is not None else 0),
            activities=[copy(activities[event_id]) for event_id in sorted(activities)],
            buffered=[copy(buffered[position]) for position in sorted(buffered)],
            parked=sorted(tables.parked.get(run, {})),
            wake=copy(wake),
            last_row_first_event_id=max(tables.history.get(run, {}), default=0),
        )


def _queue_of(task: Parked) -> tuple[int, str, str]:
    return task.namespace_id, task.task_queue, task.kind
