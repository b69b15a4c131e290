"""What the service signs with: drawn by the migration that needed it, read once by each server."""

from __future__ import annotations

from perdure_server.store.pool import ReadPool
from perdure_server.store.queries import load_queries

QUERIES = load_queries("secrets.sql")


class Secrets:
    """Reads secrets."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def secret(self, name: str) -> bytes:
        """A secret of the cluster, by its name."""
        (row,) = await self._pool.fetch(QUERIES["read_secret"], name)
        found: bytes = row["secret"]
        return found
