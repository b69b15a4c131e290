"""Statements of a server that stop where a test wants them to, and stand still until it says how they end.

Nothing of the product knows of it: a trigger in the test's own database waits for a lock that the test holds. So the
server can be killed in the middle of a statement, which then commits without it, is undone, or goes on much later.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

LOCK = 71
"""Of the advisory locks the one that is held here; those of the servers have other numbers."""

SET_UP = f"""
create sequence stops;
create function stop_here() returns trigger language plpgsql as $$ begin
    if nextval('stops') = 1 then perform pg_advisory_xact_lock({LOCK}); end if;  -- only the first stops
    return coalesce(new, old);
end $$;
"""
WAITING = f"select pid from pg_locks where locktype = 'advisory' and objid = {LOCK} and not granted"


class Stop:
    """One place at which the next statement stops."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def reached(self) -> None:
        """Waits until a statement stands there."""
        while not await self._connection.fetch(WAITING):
            pass

    async def release(self) -> None:
        """It goes on, and is over when this returns."""
        pids = await self._connection.fetch(WAITING)
        await self._connection.execute("select pg_advisory_unlock_all()")
        await self._over(pids)

    async def undo(self) -> None:
        """It never was."""
        pids = await self._connection.fetch(WAITING)
        await self._connection.execute(f"select pg_terminate_backend(pid) from ({WAITING}) as w")
        await self._over(pids)

    async def _over(self, pids: list[asyncpg.Record]) -> None:
        """The server that sent it is dead, and its connection ends with it."""
        gone = "select 1 where not exists (select from pg_stat_activity where pid = any($1::int[]))"
        while not await self._connection.fetch(gone, [row["pid"] for row in pids]):
            pass


@asynccontextmanager
async def stop_at(dsn: str, trigger: str) -> AsyncIterator[Stop]:
    """The next statement that does this stops: `insert on resets`, say, with `when (…)` or not."""
    what, _, when = trigger.partition(" when ")
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("drop function if exists stop_here cascade; drop sequence if exists stops;" + SET_UP)
        await connection.execute(f"select pg_advisory_lock({LOCK})")
        condition = f"when {when}" if when else ""
        await connection.execute(
            f"create trigger stops_here before {what} for each row {condition} execute function stop_here()"
        )
        yield Stop(connection)
    finally:
        await connection.close()
