"""The cluster as the homes of concurrency limits need it: who lives, whether the dead can still write, and letters."""

from __future__ import annotations

from perdure_server.cluster.view import ClusterView
from perdure_server.frontend.others import Others


class PermitNeighbours:
    """The other servers, to a home of limits."""

    def __init__(self, me: str, cluster: ClusterView, others: Others) -> None:
        self.me = me
        self._cluster = cluster
        self._others = others

    def members(self) -> tuple[tuple[str, bool], ...]:
        """The living servers in order of name, each with whether it leaves."""
        known = self._cluster.map
        return tuple(sorted((each.server, each.leaving) for each in known.members.values())) if known else ()

    def is_settled(self) -> bool:
        """Whether every shard is a living member's, or nobody's, and this server is a member."""
        known = self._cluster.map
        if known is None or self.me not in known.members:
            return False
        return all(owner is None or owner in known.members for owner in set(known.owners))

    def look(self) -> None:
        """Asks for a fresh look."""
        self._cluster.look()

    async def ask(self, server: str, body: bytes) -> bytes:
        """The answer to a letter. Raises `ServiceError` where there is none."""
        return await self._others.ask_permits(server, body)
