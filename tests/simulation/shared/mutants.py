"""Laws of the cluster taken out, one at a time, as in `tests.simulation.mutants`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress

from perdure_server.cluster import holdings, presence
from perdure_server.cluster.options import ShardHolder
from perdure_server.engine import handover, tenures
from perdure_server.store.membership import Move
from perdure_server.store.port import Fence, StoreUnavailableError
from tests.simulation.shared.tables import SharedModel


def given_undrained() -> None:
    """A shard is given while commits about it are on their way."""

    async def give_up(self: handover.Handover, shards: Collection[int]) -> None:
        self._let_go(frozenset(self._engine.tenures.owned.intersection(shards)))
        await asyncio.sleep(0)

    handover.Handover.give_up = give_up  # type: ignore[method-assign]


def given_unrefused() -> None:
    """A shard is given while its giver goes on working on it."""

    async def drain(self: holdings.Holdings, holder: ShardHolder, shards: set[int]) -> bool:
        self.held -= shards
        self._given_up |= shards
        return True

    holdings.Holdings._drain = drain  # type: ignore[method-assign]


def taken_unfenced() -> None:
    """The dead are not ended: one that was only slow goes on."""

    async def look(self: SharedModel, fence: Fence, beat: int) -> Fence:
        return Fence(self.group_id, fence.server, self.tables.fences[fence.server])

    SharedModel.raise_if_silent = look  # type: ignore[method-assign]


def moved_whatever_epoch() -> None:
    """A change of an owner does not look at the row's epoch."""
    real = SharedModel._move

    def move(self: SharedModel, move: Move) -> bool:
        return real(self, Move(move.shard_id, move.owner, self.shards[move.shard_id].epoch, move.new_owner))

    SharedModel._move = move  # type: ignore[method-assign]


def moved_whatever_owner() -> None:
    """A change of an owner does not look at the row."""
    real = SharedModel._move

    def move(self: SharedModel, move: Move) -> bool:
        row = self.shards[move.shard_id]
        return real(self, Move(move.shard_id, row.owner, row.epoch, move.new_owner))

    SharedModel._move = move  # type: ignore[method-assign]


def moves_believed() -> None:
    """A shard is taken up whether or not its row could be written."""
    real = presence.Presence.move

    async def move(self: presence.Presence, moves: list[Move]) -> set[int]:
        with suppress(StoreUnavailableError):
            await real(self, moves)
        return {move.shard_id for move in moves}

    presence.Presence.move = move  # type: ignore[method-assign,assignment]


def memory_kept() -> None:
    """What was read under an earlier gain is believed in a later one."""

    def lasts(self: tenures.Tenures, shard_id: int, tenure: int) -> bool:
        return shard_id in self.owned

    tenures.Tenures.lasts = lasts  # type: ignore[method-assign]


def loads_kept() -> None:
    """Runs of a shard that was given stay in memory."""

    def let_go(self: handover.Handover, shards: frozenset[int]) -> None:
        self._engine.tenures.end(shards)

    handover.Handover._let_go = let_go  # type: ignore[method-assign]


def nothing_kept() -> None:
    """What was given out is not written before a shard is given away."""
    handover.Handover._keep = lambda *_: None  # type: ignore[method-assign]


MUTANTS: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        given_undrained,
        given_unrefused,
        taken_unfenced,
        moved_whatever_epoch,
        moved_whatever_owner,
        moves_believed,
        memory_kept,
        loads_kept,
        nothing_kept,
    )
}
