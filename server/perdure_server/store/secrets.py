"""What the service signs with: drawn by Postgres, in generations, of which the newest signs."""

from __future__ import annotations

from datetime import datetime

from perdure_server.store.pool import ReadPool
from perdure_server.store.port import SecretRow
from perdure_server.store.queries import load_queries

QUERIES = load_queries("secrets.sql")


class Secrets:
    """Reads and rotates secrets."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def secrets(self, name: str) -> list[SecretRow]:
        """The generations of a secret of the cluster, the newest first."""
        rows = await self._pool.fetch(QUERIES["list_secrets"], name)
        return [
            SecretRow(generation=row["generation"], secret=row["secret"], valid_until=row["valid_until"])
            for row in rows
        ]

    async def rotate_secret(self, name: str, old_until: datetime, kept_max: int) -> None:
        """Draws another secret; those before are valid until then at most, and only so many are kept."""
        async with self._pool.connection() as connection:  # not repeated: it would rotate twice
            await connection.execute(QUERIES["rotate_secret"], name, old_until, kept_max)
