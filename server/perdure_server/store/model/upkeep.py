"""What goes in time: closed runs past retention, and copies that nobody finished; and the copies for resets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from perdure_server.store.model.tables import ResetRow, Run, Tables
from perdure_server.store.port import ExecutionRow, HistoryRow

ORPHANED_AFTER: Final = timedelta(days=1)


class Upkeep:
    """Removes what has expired; writes copies, and finds them."""

    tables: Tables

    async def delete_expired(self, shard_ids: Sequence[int], limit: int) -> int:
        """Removes closed runs of these shards past their namespace's retention; returns how many."""
        tables = self.tables
        rows = [row for row in tables.executions.values() if row.shard_id in shard_ids and self._is_expired(row)]
        rows.sort(key=lambda row: (row.close_time, row.shard_id, row.run_id))
        for row in rows[:limit]:
            key = row.shard_id, row.namespace_id, row.workflow_id
            if tables.current.get(key) == row.run_id:
                del tables.current[key]
        tables.forget((row.shard_id, row.run_id) for row in rows[:limit])
        return len(rows[:limit])

    def _is_expired(self, row: ExecutionRow) -> bool:
        # The standalone activities of a namespace have its id, negated.
        namespace = self.tables.namespaces.get(abs(row.namespace_id))
        wake = self.tables.wakes.get((row.shard_id, row.run_id))
        if row.close_time is None or namespace is None or (wake is not None and wake.owed):
            return False
        return row.close_time < self.tables.now() - namespace.retention

    async def begin_copy(self, shard_id: int, base_run_id: str, run_id: str) -> None:
        """Notes that a run is to begin as a copy; before the first row of it."""
        self.tables.resets[shard_id, run_id] = ResetRow(base_run_id, self.tables.now())

    async def copy_history(
        self, shard_id: int, base_run_id: str, run_id: str, *, until_event_id: int, rows_max: int
    ) -> tuple[int, int]:
        """Copies all rows that end at an event or before: first and last event id of the last (0: none)."""
        assert rows_max > 0, "pages have rows"
        last = 0, 0
        for row in self.tables.rows((shard_id, base_run_id)):
            if row.last_event_id <= until_event_id:
                await self.put_history(shard_id, run_id, row)
                last = row.first_event_id, row.last_event_id
        return last

    async def put_history(self, shard_id: int, run_id: str, row: HistoryRow) -> None:
        """One more row of a copy."""
        self.tables.history.setdefault((shard_id, run_id), {}).setdefault(row.first_event_id, row)

    async def reset_run(self, shard_id: int, base_run_id: str) -> str:
        """The run that began last as a copy of this one; empty: none did."""
        begun: list[tuple[datetime, Run]] = [
            (row.begun_at, run)
            for run, row in self.tables.resets.items()
            if run[0] == shard_id and row.base_run_id == base_run_id and run in self.tables.executions
        ]
        return max(begun)[1][1] if begun else ""

    async def delete_orphans(self, shard_ids: Sequence[int], limit: int, older_than: timedelta = ORPHANED_AFTER) -> int:
        """Removes copies in these shards that nobody finished; returns how many."""
        before = self.tables.now() - older_than
        resets, shown = self.tables.resets, self.tables.executions
        old = [run for run, row in resets.items() if row.begun_at < before and run not in shown]
        orphans = sorted(run for run in old if run[0] in shard_ids)[:limit]
        for run in orphans:
            self.tables.history.pop(run, None)
            del resets[run]
        return len(orphans)
