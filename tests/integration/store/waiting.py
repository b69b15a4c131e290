"""Waiting until backends stand in line, without sleeping: the database is asked until it is so."""

from __future__ import annotations

from typing import TypeAlias

import asyncpg

Control: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def until_waiting(control: Control, backends: int) -> list[int]:
    """Wait until so many backends wait for a lock; return their process ids, the longest waiting first."""
    while True:
        await control.execute("select pg_stat_clear_snapshot()")  # inside a transaction the view stands still
        rows = await control.fetch(
            "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' "
            "order by query_start"
        )
        if len(rows) == backends:
            return [row["pid"] for row in rows]


async def count_rows(control: Control) -> dict[str, int]:
    """How many rows each table of runs has."""
    tables = (
        "current_executions",
        "history",
        "executions",
        "activities",
        "buffered_events",
        "wakes",
        "parked",
        "snapshots",
    )
    return {table: await control.fetchval(f"select count(*) from {table}") for table in tables}
