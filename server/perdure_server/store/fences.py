"""Fences: who may commit. Raising an epoch waits for the commits in flight, so that what is read after it is final;
a backend that holds it up for two seconds is terminated.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import asyncpg

from perdure_server.store.connections import LOST, Connection, connect, understand
from perdure_server.store.pool import ReadPool
from perdure_server.store.port import Fence, FenceLostError, StoreUnavailableError
from perdure_server.store.queries import load_queries

QUERIES = load_queries("fences.sql")
PATIENCE_SECONDS = 2.0
TERMINATIONS_MAX = 10
# Whoever stands still in the middle of a raise holds up the server whose fence it is, which may be alive.
RAISING = {"idle_in_transaction_session_timeout": "3000"}


class Fences:
    """Raises and confirms epochs; each raise on a connection of its own, for it may have to wait."""

    def __init__(self, dsn: str, pool: ReadPool, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._dsn = dsn
        self._pool = pool
        self._patience_seconds = patience_seconds

    async def raise_epoch(self, fence: Fence) -> Fence:
        """The own fence, one epoch up. Raises `FenceLostError` if somebody else raised it before."""
        return await self._raise(fence.group_id, fence.server, fence.epoch)

    async def raise_if_silent(self, fence: Fence, beat: int) -> Fence:
        """A dead server's fence, one epoch up. Raises `FenceLostError` if it was raised before, or has beaten since."""
        return await self._raise(fence.group_id, fence.server, fence.epoch, beat)

    async def take_fence(self, group_id: int, server: str) -> Fence:
        """The fence of a server that is dead or that we are, one epoch up whatever it was."""
        return await self._raise(group_id, server, None)

    async def confirm_fence(self, fence: Fence) -> bool:
        """Whether the fence is still held: what was read before is then the truth of a moment after the call."""
        row = await self._pool.fetch_first(QUERIES["confirm_fence"], fence.group_id, fence.server, fence.epoch)
        return row is not None and bool(row["held"])

    async def _raise(self, group_id: int, server: str, expected: int | None, beat: int | None = None) -> Fence:
        # The transaction's outcome may be unknown as well; then the epoch is higher than needed, or the caller's
        # next try finds its fence lost. Both are safe.
        connection = await connect(self._dsn, RAISING)
        try:
            return await self._raise_on(connection, (group_id, server), expected, beat)
        except LOST as error:
            raise StoreUnavailableError(str(error) or type(error).__name__) from error
        except asyncpg.PostgresError as error:
            raise understand(error) from error
        finally:
            connection.terminate()

    async def _raise_on(
        self, connection: Connection, key: tuple[int, str], expected: int | None, beat: int | None
    ) -> Fence:
        pid = await connection.fetchval(QUERIES["find_pid"])
        if expected is None:
            await connection.execute(QUERIES["insert_fence"], *key)
        async with connection.transaction():
            locking = asyncio.create_task(connection.fetchval(QUERIES["lock_fence"], *key))
            epoch = await self._impatiently(locking, pid)
            if epoch is None or epoch != (epoch if expected is None else expected):
                raise FenceLostError(f"the fence of {key[1]} is at epoch {epoch}, not at {expected}")
            # Its beats depend on the row that is locked now: what is read here is its last one.
            if beat is not None and beat != await connection.fetchval(QUERIES["find_beat"], *key):
                raise FenceLostError(f"{key[1]} has beaten again")
            return Fence(*key, await connection.fetchval(QUERIES["raise_fence"], *key))

    async def _impatiently(self, locking: asyncio.Task[int | None], pid: int) -> int | None:
        """Wait for the lock; who is in the way for too long is terminated."""
        try:
            for _ in range(TERMINATIONS_MAX):
                done, _pending = await asyncio.wait({locking}, timeout=self._patience_seconds)
                if done:
                    break
                await self._pool.fetch(QUERIES["terminate_blockers"], pid)
            return await locking
        finally:
            if not locking.done():
                locking.cancel()
                with suppress(asyncio.CancelledError):
                    await locking
