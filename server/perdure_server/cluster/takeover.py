"""Taking the shards of the dead.

The order is the safety. First the dead server's fence is raised, from the epoch that was seen together with the
heartbeat that stood still, and only if it has not beaten since: that waits for its last commit, and refuses what comes
later. Only then is anything of it read, and its shards assigned, all of them, by compare-and-set on what was read.

It may come back in between, under the same name: its own raise makes what we read or have yet to read worthless (its
adoptions raise the epochs of the rows, and under our epoch of its fence there is nothing to read any more). Two takers:
the second finds the fence raised, and looks again. A taker that stops half-way leaves a server without a row, which is
as dead as before to everybody else.
"""

from __future__ import annotations

import structlog

from perdure_server.cluster.plan import bequests
from perdure_server.cluster.presence import Presence
from perdure_server.store.membership import MemberRow
from perdure_server.store.port import Fence, FenceLostError

log = structlog.get_logger()


async def take_over(presence: Presence) -> None:
    """End the dead, and assign what they owned. Ours are then gained like others that were given to us."""
    for dead in presence.dead():
        await _end(presence, dead)
    for raised in list(presence.ended.values()):
        await _assign(presence, raised)


async def _end(presence: Presence, dead: MemberRow) -> None:
    seen = presence.store.fence_of(dead.server, dead.epoch)
    try:
        presence.ended[dead.server] = await presence.store.raise_if_silent(seen, dead.beat)
    except FenceLostError as error:
        log.info("takeover_not_needed", server=dead.server, reason=str(error))
        presence.map.look()


async def _assign(presence: Presence, raised: Fence) -> None:
    async with presence.speaking() as member:
        await member.forget(raised)
        rows = await member.shards_of(raised)
        moves = bequests(presence.view(), rows)
        moved = await presence.move_on(member, moves)
    if len(moved) == len(moves):
        presence.ended.pop(raised.server, None)
        presence.map.look()
        log.info("taken_over", server=raised.server, shards=len(moved))
    presence.tell(move.new_owner for move in moves if move.shard_id in moved)
