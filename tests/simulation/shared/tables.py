"""The tables of the membership, and the statements on them: each at one instant, as the real one is atomic.

A statement of a server depends on its own fence, as `membership.sql` says; so does all of a commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from msgspec import Struct

from perdure_server.store.membership import Beat, MemberRow, Move, Moved, ShardRow
from perdure_server.store.model import ModelStore
from perdure_server.store.port import CommitBatch, CommitResult, Fence, FenceLostError, SecretRow


class ServerRow(Struct):
    """A row of `servers`."""

    address: str
    version: str
    beat: int = 1
    leaving: bool = False
    beaten: bool = False


class SharedModel(ModelStore):
    """The model of the store with the tables `servers` and `shards`, and the locks on the names of servers.

    Law: a commit about a shard lands only while the row says that its writer owns it; what breaks it is a finding.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(now)
        self.tables.secrets["cluster"] = [SecretRow(generation=1, secret=bytes(32), valid_until=None)]
        self.servers: dict[str, ServerRow] = {}
        self.shards: list[ShardRow] = []
        self.locks: dict[str, object] = {}
        self.findings: list[str] = []

    # ---- commits and fences -----------------------------------------------------------------------------------

    def commit_now(self, fence: Fence, batch: CommitBatch) -> CommitResult:
        result = super().commit_now(fence, batch)
        if result.fence_held:
            for shard_id in sorted(set(_shards_in(batch))):
                if not self.owns(fence.server, shard_id):
                    self.findings.append(
                        f"owners: {fence.server} has committed about shard {shard_id}, which {self.shards[shard_id]}"
                    )
        return result

    def owns(self, server: str, shard_id: int) -> bool:
        """Whether the table says so."""
        return shard_id < len(self.shards) and self.shards[shard_id].owner == server

    async def raise_if_silent(self, fence: Fence, beat: int) -> Fence:
        """The fence of a server that was seen dead."""
        row = self.servers.get(fence.server)
        if beat != (row.beat if row is not None else 0):
            raise FenceLostError(f"{fence.server} has beaten again")
        return await self.raise_epoch(fence)

    def _held(self, fence: Fence) -> bool:
        return self.tables.fences.get(fence.server) == fence.epoch

    # ---- membership -------------------------------------------------------------------------------------------

    def ensure_shards(self, shards: int) -> None:
        if not self.shards:
            self.shards = [ShardRow(shard_id, None, 0) for shard_id in range(shards)]

    def register(self, fence: Fence, address: str, version: str) -> bool:
        if not self._held(fence):
            return False
        before = self.servers.get(fence.server)
        self.servers[fence.server] = ServerRow(address, version, before.beat + 1 if before is not None else 1)
        return True

    def beat(self, fence: Fence, owners: Sequence[str]) -> Beat:
        """What is said is from before the beat, as all parts of one statement see one snapshot."""
        names = sorted(name for name in {*self.servers, *owners} if name in self.tables.fences)
        seen = tuple(self._member(name) for name in names)
        changes = sum(row.epoch for row in self.shards)
        row = self.servers.get(fence.server)
        if self._held(fence) and row is not None:
            row.beat += 1
            row.beaten = True
        return Beat(self.tables.now(), self._held(fence), changes, seen)

    def _member(self, name: str) -> MemberRow:
        epoch, row = self.tables.fences[name], self.servers.get(name)
        if row is None:
            return MemberRow(name, epoch, 0, "", "", leaving=False, beaten=False)
        return MemberRow(name, epoch, row.beat, row.address, row.version, row.leaving, row.beaten)

    def move(self, fence: Fence, moves: Sequence[Move]) -> Moved:
        if not self._held(fence):
            return Moved(held=False, shards=frozenset())
        moved = {move.shard_id for move in moves if self._move(move)}
        return Moved(held=True, shards=frozenset(moved))

    def _move(self, move: Move) -> bool:
        row = self.shards[move.shard_id]
        is_wanted = move.new_owner is None or move.new_owner in self.servers
        if (row.owner, row.epoch) != (move.owner, move.epoch) or not is_wanted:
            return False
        self.shards[move.shard_id] = ShardRow(move.shard_id, move.new_owner, row.epoch + 1)
        return True

    def mark_leaving(self, fence: Fence) -> bool:
        if self._held(fence) and fence.server in self.servers:
            self.servers[fence.server].leaving = True
        return self._held(fence)

    def forget(self, dead: Fence) -> None:
        if self._held(dead):
            self.servers.pop(dead.server, None)

    def shards_of(self, dead: Fence) -> list[ShardRow]:
        return [row for row in self.shards if row.owner == dead.server] if self._held(dead) else []

    def leave(self, fence: Fence) -> bool:
        if any(row.owner == fence.server for row in self.shards):
            return False
        self.forget(fence)
        return True


def _shards_in(batch: CommitBatch) -> Iterator[int]:
    for field in CommitBatch.__struct_fields__:
        for row in getattr(batch, field):
            yield row.shard_id
