"""The store on Postgres: one connection that commits, a small pool that reads, and fences.

Lock order of every statement, within a table by primary key: fences, current_executions, history, executions,
activities, buffered_events, wakes, parked, snapshots, outcomes. One committer writes a group; against it there are only
whoever takes over (fences alone), retention (closed runs, in this order), seals (fences, outcomes), and users'
transactions (executions for key share, outcomes).
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from perdure_server.store.commit import CommitConnection
from perdure_server.store.fences import Fences
from perdure_server.store.namespaces import Namespaces
from perdure_server.store.outcomes import Outcomes
from perdure_server.store.pool import ReadPool
from perdure_server.store.port import CommitBatch, CommitResult, Fence
from perdure_server.store.read import RunReads
from perdure_server.store.resets import Resets
from perdure_server.store.retention import Retention
from perdure_server.store.secrets import Secrets
from perdure_server.store.visibility import Visibility


class PostgresStore(RunReads, Outcomes, Visibility, Namespaces, Secrets, Retention, Resets):
    """The port's `Store` for one group. `await PostgresStore.open(dsn)`; a context manager that closes itself."""

    def __init__(self, dsn: str, pool: ReadPool, seal_pool: ReadPool, group_id: int) -> None:
        self.dsn = dsn
        self.group_id = group_id
        self._pool = pool
        self._seal_pool = seal_pool
        self._committing = CommitConnection(dsn)
        self.fences = Fences(dsn, pool)

    @classmethod
    async def open(cls, dsn: str, *, group_id: int = 1) -> Self:
        """A store over a migrated database; it connects when first used."""
        return cls(dsn, await ReadPool.open(dsn), await ReadPool.open(dsn), group_id)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._committing.close()
        await self._pool.close()
        await self._seal_pool.close()

    async def commit(self, fence: Fence, batch: CommitBatch) -> CommitResult:
        """The whole batch in one statement, or nothing."""
        assert fence.group_id == self.group_id, "a store serves one group"
        return await self._committing.commit(fence, batch)

    async def raise_epoch(self, fence: Fence) -> Fence:
        """The own fence one epoch up, after every commit in flight. Raises `FenceLostError`."""
        return await self.fences.raise_epoch(fence)

    async def take_fence(self, server: str) -> Fence:
        """The fence of this server, or of a dead one, one epoch up whatever it was."""
        return await self.fences.take_fence(self.group_id, server)

    async def raise_if_silent(self, fence: Fence, beat: int) -> Fence:
        """The fence of a server that was seen dead, one epoch up. Raises `FenceLostError` if it was not after all."""
        return await self.fences.raise_if_silent(fence, beat)

    def fence_of(self, server: str, epoch: int) -> Fence:
        """A server's fence as it was seen."""
        return Fence(self.group_id, server, epoch)

    async def confirm_fence(self, fence: Fence) -> bool:
        """Whether nobody has raised the fence."""
        return await self.fences.confirm_fence(fence)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
