"""The pool of connections for reading: small, because the commits need the machine; a read that finds its connection
dead is tried again on a new one, a few times, and then says that Postgres is not there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from perdure_server.store.connections import (
    COMMAND_SECONDS_MAX,
    CONNECT_SECONDS_MAX,
    LOST,
    SESSION,
    Backoff,
    Connection,
    prepare_codecs,
    understand,
)
from perdure_server.store.port import DataRefusedError, StoreUnavailableError

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Pooled: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

CONNECTIONS_MAX = 3
ATTEMPTS_MAX = 4
PLANNING = {
    # Plans are made while tables are empty and kept while they grow; what is read here has an index.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


class ReadPool:
    """Fetches rows; a malformed value raises `DataRefusedError`, a Postgres that is away `StoreUnavailableError`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, dsn: str) -> ReadPool:
        """A pool that connects when first used."""
        return cls(
            await asyncpg.create_pool(
                dsn,
                min_size=0,
                max_size=CONNECTIONS_MAX,
                max_inactive_connection_lifetime=0,
                init=prepare_codecs,
                reset=keep_session,
                timeout=CONNECT_SECONDS_MAX,
                command_timeout=COMMAND_SECONDS_MAX,
                server_settings={**SESSION, **PLANNING},
            )
        )

    async def close(self) -> None:
        """Cut the connections; nobody waits for what they read."""
        self._pool.terminate()

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows of a query that may be repeated."""
        backoff = Backoff()
        for attempt in range(1, ATTEMPTS_MAX + 1):
            await backoff.pause()
            try:
                async with self.connection() as connection:
                    return await connection.fetch(query, *arguments)
            except StoreUnavailableError:
                if attempt == ATTEMPTS_MAX:
                    raise
                backoff.failed()
        raise AssertionError("the last attempt returns or raises")

    async def fetch_first(self, query: str, *arguments: object) -> asyncpg.Record | None:
        """The first row, if there is one."""
        rows = await self.fetch(query, *arguments)
        return rows[0] if rows else None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Pooled]:
        """A connection for several commands, with the port's errors."""
        try:
            async with self._pool.acquire(timeout=COMMAND_SECONDS_MAX) as connection:
                yield connection
        except asyncpg.DataError as error:
            raise DataRefusedError(str(error)) from error
        except LOST as error:
            raise StoreUnavailableError(str(error) or type(error).__name__) from error
        except asyncpg.PostgresError as error:
            raise understand(error) from error


async def keep_session(_: Connection) -> None:
    """Nothing is set on these connections that would need a reset, which costs a round trip."""
