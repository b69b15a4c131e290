"""The cluster as the HTTP edge of one server sees it: the map of shards, without itself among those to ask.

Before the server has a place in the cluster there is no map, and nobody to ask.
"""

from __future__ import annotations

import asyncio

from perdure_proto.cluster import ClusterAnswer, ClusterMember
from perdure_server.cluster.shard_map import ShardMap


class ClusterView:
    """`map` is that of the time in which the server holds its fence; one that is cut off does not know any more."""

    def __init__(self, server: str) -> None:
        self.map: ShardMap | None = None
        self.is_cut_off = False
        self._server = server

    @property
    def cut_off(self) -> str:
        """The name of this server while others may have taken over without its knowing."""
        return self._server if self.is_cut_off else ""

    def answer(self) -> ClusterAnswer:
        """All of it."""
        if self.map is None:
            return ClusterAnswer(shards=0, members=(), owners=())
        names = sorted(self.map.members)
        index = {name: number for number, name in enumerate(names)}
        members = [self.map.members[name] for name in names]
        return ClusterAnswer(
            shards=len(self.map.owners),
            members=tuple(
                ClusterMember(
                    server=each.server,
                    address=each.address,
                    version=each.version,
                    leaving=each.leaving,
                    shards=each.shards,
                )
                for each in members
            ),
            owners=tuple(index.get(owner or "", -1) for owner in self.map.owners),
        )

    def address_of(self, shard_id: int) -> str:
        """Where the owner of a shard is; nothing where that is this server, or nobody is known."""
        if self.map is None or self.map.owner_of(shard_id) == self._server:
            return ""
        return self.map.address_of(shard_id)

    def way_to(self, server: str) -> str | None:
        """Where a member is; nothing where that is this server, None where nobody of that name is known."""
        if server == self._server:
            return ""
        member = None if self.map is None else self.map.members.get(server)
        return None if member is None else member.address

    def look(self) -> None:
        """Asks for a fresh look."""
        if self.map is not None:
            self.map.look()

    async def changed(self, timeout: float) -> bool:
        """Waits so many seconds for a change, and says whether there was one."""
        if self.map is None:
            await asyncio.sleep(timeout)
            return False
        return await self.map.changed(timeout)
