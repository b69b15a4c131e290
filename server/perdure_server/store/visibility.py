"""Visibility: executions as operators see them, one by one, in pages, and counted."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from uuid import UUID

import msgspec

from perdure_proto.errors import Code, ServiceError
from perdure_server.store.filter import count_query, list_query, parse_filter
from perdure_server.store.pool import ReadPool
from perdure_server.store.port import DataRefusedError, ExecutionRow
from perdure_server.store.queries import load_queries
from perdure_server.store.records import read_execution

QUERIES = load_queries("visibility.sql")


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended."""

    start_time: datetime
    run_id: UUID


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
        """A page of visibility rows, newest start first, and the next cursor (empty: that was all)."""
        place = read_cursor(cursor)
        text, bound = list_query(namespace_id, parse_filter(query), place, limit + 1)
        rows = [read_execution(record) for record in await self._pool.fetch(text, *bound)]
        return rows[:limit], write_cursor(rows[limit - 1]) if len(rows) > limit > 0 else ""

    async def count_executions(self, namespace_id: int, query: str) -> int:
        """How many visibility rows fit."""
        text, bound = count_query(namespace_id, parse_filter(query))
        row = await self._pool.fetch_first(text, *bound)
        assert row is not None, "a count is one row"
        return int(row[0])

    async def _one(self, name: str, *key: object) -> ExecutionRow | None:
        try:
            row = await self._pool.fetch_first(QUERIES[name], self.group_id, *key)
        except DataRefusedError:
            return None
        return None if row is None else read_execution(row)


def write_cursor(row: ExecutionRow) -> str:
    """The place of a row, as text that means nothing to others."""
    place = Place(row.start_time, UUID(row.run_id))
    return urlsafe_b64encode(msgspec.json.encode(place)).decode()


def read_cursor(cursor: str) -> tuple[datetime, str] | None:
    """The place that a cursor names. Raises `ServiceError` when it was not made by `write_cursor`."""
    if not cursor:
        return None
    try:
        place = msgspec.json.decode(urlsafe_b64decode(cursor), type=Place)
    except ValueError as error:  # also what msgspec and base64 raise
        raise ServiceError(Code.INVALID_ARGUMENT, "the cursor is not one that a list returned") from error
    return place.start_time, str(place.run_id)
