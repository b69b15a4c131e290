"""Fences: who may commit. A commit happens at one instant, so whoever raises an epoch never finds one in flight."""

from __future__ import annotations

from perdure_server.store.model.tables import Tables
from perdure_server.store.port import Fence, FenceLostError


class Fences:
    """Raises and confirms epochs."""

    tables: Tables
    group_id: int

    async def raise_epoch(self, fence: Fence) -> Fence:
        """The own fence, one epoch up. Raises `FenceLostError` if somebody else raised it before."""
        epoch = self.tables.fences.get(fence.server)
        if epoch != fence.epoch:
            raise FenceLostError(f"the fence of {fence.server} is at epoch {epoch}, not at {fence.epoch}")
        return self._raise(fence.server)

    async def take_fence(self, server: str) -> Fence:
        """The fence of a server that is dead or that we are, one epoch up whatever it was."""
        return self._raise(server)

    async def confirm_fence(self, fence: Fence) -> bool:
        """Whether the fence is still held."""
        return self.tables.fences.get(fence.server) == fence.epoch

    def _raise(self, server: str) -> Fence:
        epoch = self.tables.fences[server] = self.tables.fences.get(server, 0) + 1
        return Fence(self.group_id, server, epoch)
