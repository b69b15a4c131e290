"""Outcomes of transactional activities: read for a page of activities, sealed and unsealed one by one.

Law: a seal waits for a user's transaction, so it shares no connection with commits or reads, and waits
a second at most.
"""

from __future__ import annotations

from collections.abc import Sequence

from perdure_server.store.pool import ReadPool
from perdure_server.store.port import ActivityKey, Fence, OutcomeRow
from perdure_server.store.queries import load_queries
from perdure_server.store.records import read_outcome

QUERIES = load_queries("outcomes.sql")


class Outcomes:
    """Reads outcomes, and seals."""

    _pool: ReadPool
    _seal_pool: ReadPool
    group_id: int

    async def seal_outcome(self, fence: Fence, key: ActivityKey, seal: str) -> OutcomeRow | None:
        """The seal, or the outcome that was there first; None when the fence is lost."""
        columns = key.shard_id, key.run_id, key.scheduled_event_id
        async with self._seal_pool.connection() as connection:
            async with connection.transaction():
                await connection.execute(QUERIES["limit_waiting"])
                report = await connection.fetchrow(QUERIES["seal_outcome"], *_terms(fence), *columns, seal)
            assert report is not None, "the report is one row"
            if not report["held"]:
                return None
        if report["sealed"]:
            return OutcomeRow(key, seal, 0, None, "", None, "")
        (row,) = await self.outcomes([key])  # a statement of its own: it sees what the insert has waited for
        return row

    async def unseal_outcome(self, fence: Fence, key: ActivityKey, seal: str) -> None:
        """Attempts may commit again, unless another seal has taken the place of this one."""
        columns = key.shard_id, key.run_id, key.scheduled_event_id
        await self._seal_pool.fetch(QUERIES["unseal_outcome"], *_terms(fence), *columns, seal)

    async def outcomes(self, keys: Sequence[ActivityKey]) -> list[OutcomeRow]:
        """Those of these activities that have an outcome or a seal."""
        shard_ids, run_ids = [key.shard_id for key in keys], [key.run_id for key in keys]
        events = [key.scheduled_event_id for key in keys]
        records = await self._pool.fetch(QUERIES["list_outcomes"], self.group_id, shard_ids, run_ids, events)
        return [read_outcome(record) for record in records]


def _terms(fence: Fence) -> tuple[int, str, int]:
    return fence.group_id, fence.server, fence.epoch
