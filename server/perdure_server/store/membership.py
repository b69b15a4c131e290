"""A server's place in the cluster, as Postgres holds it: the lock on its name, its heartbeat, the shards it owns.

All on one connection that is used for nothing else: the advisory lock lives exactly as long as it does.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
from msgspec import Struct

from perdure_server.store.connections import LOST, Connection, connect, understand
from perdure_server.store.port import Fence, StoreUnavailableError
from perdure_server.store.queries import load_queries

QUERIES = load_queries("membership.sql")


class Beat(Struct, frozen=True):
    """The answer to a heartbeat: Postgres's clock, and whether the fence was still held."""

    now: datetime
    held: bool


class Owner(Struct, frozen=True):
    """Another server that owns shards; `beat` grows while it lives. `epoch` is that of its fence."""

    server: str
    epoch: int
    beat: int
    address: str
    shards: int


class Membership:
    """One connection's worth of membership. `closed` is set when the connection, and with it the lock, is gone."""

    def __init__(self, connection: Connection, group_id: int, server: str) -> None:
        self.closed = asyncio.Event()
        self._connection = connection
        self._group_id = group_id
        self._server = server
        connection.add_termination_listener(self._note_closed)

    @classmethod
    async def open(cls, dsn: str, group_id: int, server: str) -> Membership:
        """Connect; nothing is locked yet."""
        return cls(await connect(dsn), group_id, server)

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

    async def register(self, fence: Fence, address: str, version: str) -> None:
        """Write or renew this server's row."""
        async with self._answered():
            await self._connection.execute(QUERIES["put_server"], *key_of(fence), address, version)

    async def beat(self, fence: Fence) -> Beat:
        """A sign of life."""
        async with self._answered():
            row = await self._connection.fetchrow(QUERIES["beat_server"], *key_of(fence))
        assert row is not None, "a heartbeat answers with one row"
        return Beat(row["now"], row["held"])

    async def other_owners(self) -> list[Owner]:
        """Servers that own shards, without this one."""
        async with self._answered():
            rows = await self._connection.fetch(QUERIES["list_owners"], self._group_id, self._server)
        return [Owner(row["owner"], row["epoch"], row["beat"], row["address"], row["shards"]) for row in rows]

    async def claim(self, fence: Fence, raised: Collection[Fence]) -> list[int]:
        """Take every shard, if all are free, ours, or of servers whose fences we raised; else none: empty.

        One claimant at a time, so that of two that wait for the same dead server one gets everything. A dead server
        that came back in between has another epoch by now, and keeps its shards.
        """
        allowed = {None, self._server, *(other.server for other in raised)}
        async with self._answered(), self._connection.transaction():
            await self._connection.execute(QUERIES["lock_cluster"])
            for other in sorted(raised, key=key_of):
                if not await self._connection.fetchval(QUERIES["hold_fence"], *key_of(other)):
                    return []
            shards = await self._connection.fetch(QUERIES["list_shards"], self._group_id)
            if not allowed.issuperset(row["owner"] for row in shards):
                return []
            columns = [list(column) for column in zip(*shards, strict=True)]
            claimed = await self._connection.fetch(QUERIES["claim_shards"], *key_of(fence), *columns)
            return sorted(row["shard_id"] for row in claimed)

    async def release(self, fence: Fence) -> None:
        """Give all shards away, and leave."""
        async with self._answered():
            await self._connection.execute(QUERIES["release_shards"], *key_of(fence))

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


def key_of(fence: Fence) -> tuple[int, str, int]:
    return fence.group_id, fence.server, fence.epoch


def lock_key(group_id: int, server: str) -> int:
    """The advisory lock's number for a name."""
    digest = hashlib.sha256(f"perdure server {group_id} {server}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
