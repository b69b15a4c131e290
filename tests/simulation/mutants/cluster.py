"""The cluster: epochs and clocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure_server.history.decision import Draft
from perdure_server.store.model import ModelStore
from perdure_server.store.port import Fence
from tests.simulation.membership import Ownership
from tests.simulation.mutants.replace import replace


def takers_raise_no_epoch() -> None:
    """Who takes shards over leaves the epoch of the former owner as it is."""

    async def take_fence(self: ModelStore, server: str) -> Fence:
        epoch = self.tables.fences.setdefault(server, 1)
        return Fence(self.group_id, server, epoch)

    replace(ModelStore, "take_fence", take_fence)


def times_not_clamped() -> None:
    """An event has the time of the server's clock, wherever that stands."""

    def place(self: Draft, at: Any) -> Any:
        return at if at is not None else self.now

    replace(Draft, "_place", place)


def own_clocks() -> None:
    """Each server believes its own clock, not the database's."""
    replace(Ownership, "_beat", _unmeasured(Ownership._beat))


def _unmeasured(real: Any) -> Any:
    async def beat(self: Ownership) -> Any:
        held = await real(self)
        self.clock_offset -= self.clock_offset
        return held

    return beat


MUTANTS: tuple[Callable[[], None], ...] = (takers_raise_no_epoch, times_not_clamped, own_clocks)
