"""Namespaces: few rows, read whole."""

from __future__ import annotations

from datetime import timedelta

from perdure_server.store.pool import ReadPool
from perdure_server.store.port import NamespaceChange, NamespaceRow
from perdure_server.store.queries import load_queries
from perdure_server.store.records import read_namespace

QUERIES = load_queries("namespaces.sql")


class Namespaces:
    """Reads, makes and changes namespaces."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def create_namespace(self, name: str, description: str, retention: timedelta) -> NamespaceRow | None:
        """A new namespace; None when the name is taken."""
        async with self._pool.connection() as connection:  # not repeated: its own row would look taken
            row = await connection.fetchrow(QUERIES["insert_namespace"], name, description, retention)
        return None if row is None else read_namespace(row)

    async def update_namespace(self, name: str, change: NamespaceChange) -> NamespaceRow | None:
        """The namespace as it is now; None when there is none of this name."""
        values = name, change.description, change.retention, change.rps_max
        rows = await self._pool.fetch(QUERIES["change_namespace"], *values)  # repeated it changes nothing
        return read_namespace(rows[0]) if rows else None

    async def namespaces(self) -> list[NamespaceRow]:
        """All of them, by number."""
        return [read_namespace(record) for record in await self._pool.fetch(QUERIES["list_namespaces"])]
