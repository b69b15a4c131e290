"""Visibility: executions as operators see them, one by one, in pages, and counted."""

from __future__ import annotations

from datetime import datetime

from perdure_server.store.pool import ReadPool
from perdure_server.store.port import DataRefusedError, ExecutionRow
from perdure_server.store.queries import load_queries
from perdure_server.store.records import read_execution
from perdure_server.visibility.pages import count_filter, group_name, list_filter, read_cursor, sorts_of, write_cursor
from perdure_server.visibility.sql import count_statement, list_statement

QUERIES = load_queries("visibility.sql")


class Visibility:
    """Reads visibility rows."""

    def __init__(self, pool: ReadPool, group_id: int) -> None:
        self._pool = pool
        self.group_id = group_id

    async def current_run(self, namespace_id: int, shard_id: int, workflow_id: str) -> ExecutionRow | None:
        """The newest run of a workflow id (open or closed)."""
        return await self._one("get_current", shard_id, namespace_id, workflow_id)

    async def execution(self, shard_id: int, run_id: str) -> ExecutionRow | None:
        """The visibility row of a run; None also for what is no run id."""
        return await self._one("get_execution", shard_id, run_id)

    async def execution_by_request(self, namespace_id: int, workflow_id: str, request_id: str) -> ExecutionRow | None:
        """The run that a start request of this id made, whatever happened since."""
        return await self._one("get_requested", namespace_id, workflow_id, request_id)

    async def requests_taken(self, namespace_id: int, workflow_id: str, since: datetime, limit: int) -> dict[str, str]:
        """Of the runs of a workflow id that closed since: the messages in their logs, run by request id."""
        records = await self._pool.fetch(
            QUERIES["list_requests"], self.group_id, namespace_id, workflow_id, since, limit
        )
        return {record["request_id"]: str(record["run_id"]) for record in records}

    async def list_executions(
        self, namespace_id: int, query: str, cursor: str, limit: int
    ) -> tuple[list[ExecutionRow], str]:
        """A page of visibility rows, and the next cursor (empty: that was all)."""
        wanted = list_filter(query)
        sorts = sorts_of(wanted)
        text, bound = list_statement(namespace_id, wanted, read_cursor(sorts, cursor), limit + 1)
        rows = [read_execution(record) for record in await self._pool.fetch(text, *bound)]
        return rows[:limit], write_cursor(sorts, rows[limit - 1]) if len(rows) > limit > 0 else ""

    async def count_executions(self, namespace_id: int, query: str) -> tuple[int, dict[str, int]]:
        """How many visibility rows fit; and by value, the most frequent first, if the query groups by something."""
        wanted = count_filter(query)
        text, bound = count_statement(namespace_id, wanted)
        records = await self._pool.fetch(text, *bound)
        field = wanted.group_by
        groups = {} if field is None else {group_name(field, one["value"]): one["count"] for one in records}
        return int(records[0]["total"]) if records else 0, groups

    async def _one(self, name: str, *key: object) -> ExecutionRow | None:
        try:
            row = await self._pool.fetch_first(QUERIES[name], self.group_id, *key)
        except DataRefusedError:
            return None
        return None if row is None else read_execution(row)
