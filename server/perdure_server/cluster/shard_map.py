"""The map of the cluster as this server last saw it: who lives, and who owns which shard.

It may be late: whoever is sent to a wrong owner is told so there. What is written never depends on it alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from perdure_server.store.membership import MemberRow, Move, ShardRow


class Member(Struct, frozen=True):
    """A server that lives; one that is `leaving` gives its shards away."""

    server: str
    address: str
    version: str
    leaving: bool
    shards: int


class ShardMap:
    """`members` by name; `owners` and `epochs` by shard, empty until the first look."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.owners: list[str | None] = []
        self.epochs: list[int] = []
        self.wanted = asyncio.Event()
        self._living: tuple[MemberRow, ...] = ()
        self._changed = asyncio.Event()

    def owner_of(self, shard_id: int) -> str | None:
        """Who owns the shard; None while nobody is known to."""
        return self.owners[shard_id] if shard_id < len(self.owners) else None

    def address_of(self, shard_id: int) -> str:
        """Where its owner is to be found, empty while nobody knows."""
        member = self.members.get(self.owner_of(shard_id) or "")
        return member.address if member is not None else ""

    def shards_of(self, server: str) -> set[int]:
        """What a server owns."""
        return {shard_id for shard_id, owner in enumerate(self.owners) if owner == server}

    async def changed(self, timeout: float) -> bool:
        """Wait for the next change; false when there was none for so many seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def look(self) -> None:
        """Ask for a fresh look now."""
        self.wanted.set()

    @property
    def changes(self) -> int:
        """What a heartbeat must say if the rows are still these."""
        return sum(self.epochs)

    def take_rows(self, rows: Sequence[ShardRow]) -> None:
        """The rows as they were read."""
        self.owners = [row.owner for row in rows]
        self.epochs = [row.epoch for row in rows]
        self._draw()
        self._tell()

    def take_moves(self, moves: Iterable[Move]) -> None:
        """Moves of our own that have succeeded since."""
        for move in moves:
            self.owners[move.shard_id] = move.new_owner
            self.epochs[move.shard_id] = move.epoch + 1
        self._draw()
        self._tell()

    def take_members(self, living: Sequence[MemberRow]) -> None:
        """Who lives, as far as we can say."""
        before, self._living = self.members, tuple(living)
        self._draw()
        if self.members != before:
            self._tell()

    def _draw(self) -> None:
        counts = Counter(self.owners)
        self.members = {
            row.server: Member(row.server, row.address, row.version, row.leaving, counts[row.server])
            for row in self._living
        }

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
