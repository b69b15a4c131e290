"""Copies of histories for resets: made in pages beside the commits, seen by nobody until a commit claims the id.

A copy that was never finished is an orphan: it has a row in `resets` and none in `executions`, and goes after a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from perdure_server.store.pool import ReadPool
from perdure_server.store.port import DataRefusedError, HistoryRow
from perdure_server.store.queries import load_queries

QUERIES = load_queries("resets.sql")
ORPHANED_AFTER = timedelta(days=1)
"""No copy takes so long; it is ample time for one that is being made."""


class Resets:
    """Writes copies, finds them, and removes what is left of some."""

    def __init__(self, pool: ReadPool, group_id: int) -> None:
        self._pool = pool
        self.group_id = group_id

    async def begin_copy(self, shard_id: int, base_run_id: str, run_id: str) -> None:
        """Notes that a run is to begin as a copy; before the first row of it."""
        async with self._pool.connection() as connection:
            await connection.execute(QUERIES["insert_reset"], self.group_id, shard_id, run_id, base_run_id)

    async def copy_history(
        self, shard_id: int, base_run_id: str, run_id: str, *, until_event_id: int, rows_max: int
    ) -> tuple[int, int]:
        """Copies all rows that end at an event or before, in pages: first and last event id of the last (0: none)."""
        last = 0, 0
        async with self._pool.connection() as connection:
            while True:
                page = await connection.fetchrow(
                    QUERIES["copy_page"],
                    self.group_id,
                    shard_id,
                    base_run_id,
                    run_id,
                    last[0],
                    until_event_id,
                    rows_max,
                )
                if page is None:
                    return last
                last = page["first_event_id"], page["last_event_id"]
                if page["rows"] < rows_max:
                    return last

    async def put_history(self, shard_id: int, run_id: str, row: HistoryRow) -> None:
        """One more row of a copy: that of the last events, where they end within a row."""
        async with self._pool.connection() as connection:
            await connection.execute(
                QUERIES["insert_row"],
                self.group_id,
                shard_id,
                run_id,
                row.first_event_id,
                row.last_event_id,
                row.events,
            )

    async def reset_run(self, shard_id: int, base_run_id: str) -> str:
        """The run that began last as a copy of this one; empty: none did."""
        try:
            found = await self._pool.fetch_first(QUERIES["get_reset_run"], self.group_id, shard_id, base_run_id)
        except DataRefusedError:
            return ""
        return "" if found is None else str(found["run_id"])

    async def delete_orphans(self, shard_ids: Sequence[int], limit: int, older_than: timedelta = ORPHANED_AFTER) -> int:
        """Removes copies in these shards that nobody finished; returns how many."""
        async with self._pool.connection() as connection:
            orphans = await connection.fetch(QUERIES["list_orphans"], self.group_id, older_than, limit, list(shard_ids))
            if not orphans:
                return 0
            shard_ids, run_ids = [row["shard_id"] for row in orphans], [row["run_id"] for row in orphans]
            async with connection.transaction():
                for name in ("delete_orphan_history", "delete_orphans"):
                    await connection.execute(QUERIES[name], self.group_id, shard_ids, run_ids)
        return len(orphans)
