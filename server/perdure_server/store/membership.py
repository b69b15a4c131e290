"""A server's place in the cluster, as Postgres holds it: the lock on its name, its heartbeat, the shards it owns.

All on one connection that is used for nothing else: the advisory lock lives exactly as long as it does.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import asyncpg
from msgspec import Struct

from perdure_server.store.connections import LOST, Connection, connect, understand
from perdure_server.store.port import Fence, StoreUnavailableError
from perdure_server.store.queries import load_queries

QUERIES = load_queries("membership.sql")
SESSION = {
    # A process that stands still in a transaction must not hold up the others.
    "idle_in_transaction_session_timeout": "3000",
}
LOCK_TIMEOUT_DEFAULT = timedelta(seconds=2.5)


class MemberRow(Struct, frozen=True):
    """A server; `beat` grows while it lives, and is 0 if it has no row. `epoch` is that of its fence."""

    server: str
    epoch: int
    beat: int
    address: str
    version: str
    leaving: bool
    beaten: bool


class Beat(Struct, frozen=True):
    """The answer to a heartbeat: Postgres's clock, whether the fence was still held, and what else was to be seen.

    `changes` is another number after every change of an owner.
    """

    now: datetime
    held: bool
    changes: int
    members: tuple[MemberRow, ...]


class ShardRow(Struct, frozen=True):
    """Who owns a shard."""

    shard_id: int
    owner: str | None
    epoch: int


class Move(Struct, frozen=True):
    """A change of owner, if `owner` and `epoch` are still what they were. A `new_owner` of None frees the shard."""

    shard_id: int
    owner: str | None
    epoch: int
    new_owner: str | None


class Moved(Struct, frozen=True):
    """Which shards were moved; none if our own fence was lost."""

    held: bool
    shards: frozenset[int]


class Membership:
    """One connection's worth of membership. `closed` is set, and `on_closed` called, when the connection is gone, and
    the lock with it.
    """

    def __init__(self, connection: Connection, group_id: int, server: str) -> None:
        self.closed = asyncio.Event()
        self.on_closed: Callable[[], None] | None = None
        self._connection = connection
        self._group_id = group_id
        self._server = server
        connection.add_termination_listener(self._note_closed)

    @classmethod
    async def open(
        cls, dsn: str, group_id: int, server: str, lock_timeout: timedelta = LOCK_TIMEOUT_DEFAULT
    ) -> Membership:
        """Connect; nothing is locked yet. Whatever waits longer than this for a row fails: a heartbeat is behind it.

        What is not answered in twice that time is given up, with the connection.
        """
        milliseconds = str(lock_timeout // timedelta(milliseconds=1))
        settings = {**SESSION, "lock_timeout": milliseconds}
        return cls(await connect(dsn, settings, 2 * lock_timeout.total_seconds()), group_id, server)

    def close(self) -> None:
        """Give up the lock."""
        self._connection.terminate()

    async def ensure_shards(self, shards: int) -> None:
        """Make the cluster's settings and shards if this is its first server."""
        async with self._answered(), self._connection.transaction():
            await self._connection.execute(QUERIES["insert_cluster"], shards)
            await self._connection.execute(QUERIES["insert_shards"], self._group_id)

    async def try_lock(self) -> bool:
        """Whether the name is ours now."""
        async with self._answered():
            return bool(await self._connection.fetchval(QUERIES["try_lock"], lock_key(self._group_id, self._server)))

    async def register(self, fence: Fence, address: str, version: str) -> bool:
        """Write or renew this server's row; whether the fence was held."""
        async with self._answered():
            return bool(await self._connection.fetchval(QUERIES["put_server"], *key_of(fence), address, version))

    async def beat(self, fence: Fence, owners: Sequence[str] = ()) -> Beat:
        """A sign of life, and a look at the others; also at `owners`, which may have no row."""
        async with self._answered():
            rows = await self._connection.fetch(QUERIES["beat_server"], *key_of(fence), owners)
        members = (row for row in rows if row["server"] is not None)
        return Beat(
            rows[0]["now"],
            rows[0]["held"],
            rows[0]["changes"],
            tuple(MemberRow(*(row[name] for name in MemberRow.__struct_fields__)) for row in members),
        )

    async def shards(self) -> list[ShardRow]:
        """All shards, in order."""
        async with self._answered():
            rows = await self._connection.fetch(QUERIES["list_shards"], self._group_id)
        return [ShardRow(*row) for row in rows]

    async def move(self, fence: Fence, moves: Sequence[Move]) -> Moved:
        """Change owners by compare-and-set. What was not moved was another's, or its new owner is no member."""
        columns = (
            [move.shard_id for move in moves],
            [move.owner for move in moves],
            [move.epoch for move in moves],
            [move.new_owner for move in moves],
        )
        async with self._answered():
            row = await self._connection.fetchrow(QUERIES["move_shards"], *key_of(fence), *columns)
        assert row is not None, "a move answers with one row"
        return Moved(row["held"], frozenset(row["moved"]))

    async def mark_leaving(self, fence: Fence) -> bool:
        """Others give us nothing from now on; whether the fence was held."""
        async with self._answered():
            return bool(await self._connection.fetchval(QUERIES["set_leaving"], *key_of(fence)))

    async def forget(self, dead: Fence) -> None:
        """Take away the row of a server whose fence we raised, unless it was raised again: its owner is back then.

        Whoever gives it a shard right now is waited for; whoever would later finds no row.
        """
        async with self._answered():
            await self._connection.execute(QUERIES["delete_server"], *key_of(dead))

    async def shards_of(self, dead: Fence) -> list[ShardRow]:
        """What such a server owns; nothing if its fence was raised again."""
        async with self._answered():
            rows = await self._connection.fetch(QUERIES["list_shards_of"], *key_of(dead))
        return [ShardRow(*row) for row in rows]

    async def leave(self, fence: Fence) -> bool:
        """Take away our own row; false if somebody gave us a shard meanwhile.

        Two statements, because the second must see what those committed for whom the first has waited.
        """
        async with self._answered(), self._connection.transaction():
            await self._connection.execute(QUERIES["hold_fence"], *key_of(fence))
            await self._connection.execute(QUERIES["lock_server"], self._group_id, self._server)
            if await self._connection.fetchval(QUERIES["count_shards_of"], self._group_id, self._server):
                return False
            await self._connection.execute(QUERIES["delete_server"], *key_of(fence))
            return True

    @asynccontextmanager
    async def _answered(self) -> AsyncIterator[None]:
        """What fails here fails the connection: the lock must not outlive a doubt."""
        try:
            yield
        except LOST as error:
            self.close()
            raise StoreUnavailableError(str(error) or type(error).__name__) from error
        except asyncpg.PostgresError as error:
            self.close()
            raise understand(error) from error

    def _note_closed(self, _: object) -> None:
        self.closed.set()
        if self.on_closed is not None:
            self.on_closed()


def key_of(fence: Fence) -> tuple[int, str, int]:
    return fence.group_id, fence.server, fence.epoch


def lock_key(group_id: int, server: str) -> int:
    """The advisory lock's number for a name."""
    digest = hashlib.sha256(f"perdure server {group_id} {server}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
