"""What the engine reads: runs, pieces of the log, queues that were kept. Each is one statement on the read pool."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from perdure_server.store.pool import ReadPool
from perdure_server.store.port import (
    DataRefusedError,
    HistoryRow,
    Parked,
    ParkedTurn,
    PermitRow,
    RunKey,
    StoredRun,
    WakeRow,
)
from perdure_server.store.queries import load_queries
from perdure_server.store.records import read_history, read_parked, read_run, read_wake

QUERIES = load_queries("read.sql")
BEFORE_ALL = (-1, UUID(int=0))


class RunReads:
    """Reads of runs and of the queues."""

    def __init__(self, pool: ReadPool, group_id: int) -> None:
        self._pool = pool
        self.group_id = group_id

    async def load_run(self, shard_id: int, run_id: str, snapshot_version: int) -> StoredRun | None:
        """All that is stored of a run, in one round trip; None also for what is no run id."""
        try:
            runs = await self.load_runs([RunKey(shard_id, run_id)], snapshot_version)
        except DataRefusedError:
            return None
        return runs[0] if runs else None

    async def load_runs(self, keys: Sequence[RunKey], snapshot_version: int) -> list[StoredRun]:
        """The same for a page of runs, in the order of the keys; runs that do not exist are left out."""
        shard_ids, run_ids = [key.shard_id for key in keys], [key.run_id for key in keys]
        query = QUERIES["load_runs"]
        records = await self._pool.fetch(query, self.group_id, shard_ids, run_ids, snapshot_version)
        return [read_run(record, snapshot_version) for record in records]

    async def read_back(self, keys: Sequence[tuple[int, str, int, int]]) -> set[str]:
        """Run ids of those appends that are in the log. To be asked after the own epoch was raised."""
        columns = [list(column) for column in zip(*keys, strict=True)] or [[], [], [], []]
        records = await self._pool.fetch(QUERIES["find_appends"], self.group_id, *columns)
        return {str(record["run_id"]) for record in records}

    async def history(self, shard_id: int, run_id: str, after_event_id: int, rows_max: int) -> list[HistoryRow]:
        """Rows of the log that hold events after an id, in order; the first may begin before it."""
        try:
            records = await self._pool.fetch(
                QUERIES["list_history"], self.group_id, shard_id, run_id, after_event_id, rows_max
            )
        except DataRefusedError:
            return []
        return [read_history(record) for record in records]

    async def owed_runs(self, shard_ids: Sequence[int], after: RunKey | None, limit: int) -> list[WakeRow]:
        """A page of runs to which something is owed, by key."""
        start = BEFORE_ALL if after is None else (after.shard_id, after.run_id)
        records = await self._pool.fetch(QUERIES["list_owed"], self.group_id, list(shard_ids), *start, limit)
        return [read_wake(record) for record in records]

    async def due_runs(
        self,
        shard_ids: Sequence[int],
        between: tuple[datetime | None, datetime],
        after: WakeRow | None,
        limit: int,
    ) -> list[WakeRow]:
        """A page of runs of these shards with `since < wake_at <= until`, by time then key."""
        shards, (since, until) = list(shard_ids), between
        if after is None:
            records = await self._pool.fetch(QUERIES["list_due"], self.group_id, shards, since, until, limit)
        else:
            assert after.wake_at is not None, "pages of what is due go by time"
            start = after.wake_at, after.shard_id, after.run_id
            records = await self._pool.fetch(QUERIES["list_due_after"], self.group_id, shards, until, *start, limit)
        return [read_wake(record) for record in records]

    async def parked_tasks(self, queue: tuple[int, str, str], shard_ids: Sequence[int], limit: int) -> list[Parked]:
        """The first parked tasks of these shards in a queue (namespace id, name, kind): by priority, turn, then age."""
        records = await self._pool.fetch(QUERIES["list_parked"], self.group_id, *queue, list(shard_ids), limit)
        return [read_parked(record) for record in records]

    async def parked_turns(self, queue: tuple[int, str, str], shard_ids: Sequence[int], limit: int) -> list[ParkedTurn]:
        """The fairness keys among such tasks; those first that have had the most turns ahead."""
        records = await self._pool.fetch(QUERIES["list_parked_turns"], self.group_id, *queue, list(shard_ids), limit)
        return [ParkedTurn(r["priority"], r["fairness_key"], r["next"], r["last"]) for r in records]

    async def parked_queues(self, shard_ids: Sequence[int]) -> list[tuple[int, str, str, int]]:
        """Queue by queue how much is parked of these shards."""
        records = await self._pool.fetch(QUERIES["count_parked"], self.group_id, list(shard_ids))
        return [(r["namespace_id"], r["task_queue"], r["kind"], r["tasks"]) for r in records]

    async def permits_held(self) -> list[PermitRow]:
        """All permits that rows of the group hold."""
        records = await self._pool.fetch(QUERIES["list_permits"], self.group_id)
        return [PermitRow(r["shard_id"], str(r["run_id"]), r["scheduled_event_id"], r["permit"]) for r in records]
