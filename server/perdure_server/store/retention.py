"""Retention: closed runs go when their namespace's time is over, a bounded page at a time, from all tables at once."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from perdure_server.store.pool import Pooled, ReadPool
from perdure_server.store.queries import load_queries

QUERIES = load_queries("retention.sql")
BESIDE_CURRENT = (
    "delete_history",
    "delete_executions",
    "delete_activities",
    "delete_buffered",
    "delete_wakes",
    "delete_parked",
    "delete_snapshots",
    "delete_outcomes",
    "delete_resets",
)
"""In lock order; `delete_current` comes before them."""


class Retention:
    """Deletes what has expired."""

    def __init__(self, pool: ReadPool, group_id: int) -> None:
        self._pool = pool
        self.group_id = group_id

    async def delete_expired(self, shard_ids: Sequence[int], limit: int) -> int:
        """Removes closed runs of these shards past their namespace's retention; returns how many."""
        async with self._pool.connection() as connection:
            now = await connection.fetchval(QUERIES["read_clock"])
            expired = await connection.fetch(QUERIES["list_expired"], self.group_id, now, limit, list(shard_ids))
            if expired:
                await self._delete(connection, expired)
        return len(expired)

    async def _delete(self, connection: Pooled, expired: Sequence[asyncpg.Record]) -> None:
        shard_ids, run_ids, namespace_ids, workflow_ids = (list(column) for column in zip(*expired, strict=True))
        async with connection.transaction():
            await connection.execute(QUERIES["limit_waiting"])
            await connection.execute(
                QUERIES["delete_current"], self.group_id, shard_ids, run_ids, namespace_ids, workflow_ids
            )
            for name in BESIDE_CURRENT:
                await connection.execute(QUERIES[name], self.group_id, shard_ids, run_ids)
