"""The shards that we work on: taken up when the table says that they are ours, given away when they are to be
another's.

- The order of giving is: refuse what is new and drain (`give_up`), then compare-and-set. Turned round, our last commit
  would land after the new owner has read.
- A compare-and-set of unknown outcome counts as given until the table was read again. If the rows say then that they
  are ours, they are taken up by compare-and-set like any others (`plan.adoptions`): the lost one may still be in
  flight, and of the two only one can win.
- A gained shard is shown to the holder only after its row has said so to a statement that depends on our fence: never
  from the map alone, which is late.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from perdure_proto.errors import ServiceError
from perdure_server.cluster.options import ShardHolder
from perdure_server.cluster.plan import adoptions, claims, gifts, partings
from perdure_server.cluster.presence import Presence
from perdure_server.store.membership import Move
from perdure_server.store.port import StoreUnavailableError

log = structlog.get_logger()


class Holdings:
    """`held`: the holder has them. `given_up`: it has drained them, and we do not know yet who has them."""

    def __init__(self, presence: Presence) -> None:
        self.held: set[int] = set()
        self._given_up: set[int] = set()
        self._presence = presence

    async def gain(self, holder: ShardHolder) -> None:
        """Take up what says that it is ours, and what is free and to be ours."""
        view = self._presence.view()
        await self._take_up(holder, adoptions(view, self.held | self._given_up) + claims(view))

    async def give(self, holder: ShardHolder) -> None:
        """Give away what is to be another's, a portion at a time."""
        options = self._presence.options
        while gift := gifts(self._presence.view(), self.held, options.give_max):
            if not await self._drain(holder, {move.shard_id for move in gift}):
                return
            await self._hand_over(gift)
            await self._settle(holder)
            await asyncio.sleep(options.give_pause.total_seconds())

    async def part(self, holder: ShardHolder) -> None:
        """Give everything away because we leave, also what somebody gives us while we do."""
        presence, options = self._presence, self._presence.options
        await presence.next_look()
        while not presence.lost and (parting := partings(presence.view(), options.give_max)):
            is_drained = await self._drain(holder, {move.shard_id for move in parting} & self.held)
            is_given = is_drained and await self._hand_over(parting)
            self._let_go(holder)
            if not is_given:
                await presence.next_look()
            elif presence.map.shards_of(options.server):
                await asyncio.sleep(options.give_pause.total_seconds())

    async def _take_up(self, holder: ShardHolder, moves: list[Move]) -> None:
        gained = await self._presence.move(moves)
        if gained:
            self._given_up -= gained
            self.held |= gained
            holder.gain(gained)

    async def _drain(self, holder: ShardHolder, shards: set[int]) -> bool:
        """Refuse and drain. They are held until that is done, so whoever is cut off in the middle begins again."""
        try:
            if shards:
                await holder.give_up(shards)
        except ServiceError as error:  # nothing can land: the fence is lost, as we shall see
            log.warning("shards_not_drained", shards=len(shards), reason=str(error))
            return False
        self.held -= shards
        self._given_up |= shards
        return True

    async def _hand_over(self, moves: list[Move]) -> bool:
        """Whether all of it was moved for sure. If we do not know, the table has been read again."""
        try:
            moved = await self._presence.move(moves)
        except StoreUnavailableError as error:
            log.warning("shards_given_perhaps", shards=len(moves), reason=str(error))
            await self._presence.next_look()
            return False
        self._presence.tell(move.new_owner for move in moves if move.shard_id in moved)
        return len(moved) == len(moves)

    async def _settle(self, holder: ShardHolder) -> None:
        """Tell the holder what is gone, and take up again what nobody took."""
        presence = self._presence
        self._let_go(holder)
        while self._given_up and not presence.lost:
            still_ours = adoptions(presence.view(), presence.map.shards_of(presence.options.server) - self._given_up)
            with suppress(StoreUnavailableError):
                await self._take_up(holder, still_ours)
            if self._given_up:
                await presence.next_look()
            self._let_go(holder)

    def _let_go(self, holder: ShardHolder) -> None:
        gone = self._given_up - self._presence.map.shards_of(self._presence.options.server)
        self._given_up -= gone
        if gone:
            holder.given(gone)
