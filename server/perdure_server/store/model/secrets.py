"""What the service signs with, in generations. They are numbers here: nothing in the model is drawn by chance."""

from __future__ import annotations

from datetime import datetime

from msgspec import structs

from perdure_server.store.model.tables import Tables
from perdure_server.store.port import SecretRow


class Secrets:
    """Reads and rotates secrets."""

    tables: Tables

    async def secrets(self, name: str) -> list[SecretRow]:
        """The generations of a secret of the cluster, the newest first."""
        return list(self.tables.secrets[name])

    async def rotate_secret(self, name: str, old_until: datetime, kept_max: int) -> None:
        """Draws another generation; those before are valid until then at most, and only so many are kept."""
        before = self.tables.secrets[name]
        generation = before[0].generation + 1
        newest = SecretRow(generation=generation, secret=generation.to_bytes(32, "big"), valid_until=None)
        aged = [structs.replace(row, valid_until=min(row.valid_until or old_until, old_until)) for row in before]
        kept = [row for row in aged if row.generation > generation - kept_max]
        self.tables.secrets[name] = [newest, *kept]
