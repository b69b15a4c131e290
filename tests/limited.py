"""What attempts under a limit have noted: how many ran at once, and in which order they began."""

from __future__ import annotations

import asyncpg

from tests.programs.limited import TABLE


async def make_table(dsn: str) -> None:
    """Where they note it."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(TABLE)
    await connection.close()


async def end_of(dsn: str, pid: int) -> None:
    """This process was killed: what it ran has ended."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "update limited_notes set ended_at = clock_timestamp() where ended_at is null and pid = $1", pid
    )
    await connection.close()


async def noted(dsn: str, about: str) -> list[asyncpg.Record]:
    """The attempts in the order in which they began."""
    connection = await asyncpg.connect(dsn)
    rows: list[asyncpg.Record] = await connection.fetch(
        "select * from limited_notes where about = $1 order by began_at", about
    )
    await connection.close()
    return rows


def at_once(rows: list[asyncpg.Record]) -> int:
    """The most that ran at the same time. Whoever has not ended runs on."""
    moments = [(row["began_at"], 1) for row in rows]
    moments += [(row["ended_at"], -1) for row in rows if row["ended_at"] is not None]
    running = most = 0
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    return most
