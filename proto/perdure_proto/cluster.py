"""Who owns which shard: what a client or worker asks to go straight to the owner of a workflow."""

from __future__ import annotations

from perdure_proto.service import Message


class ClusterMember(Message, frozen=True, kw_only=True):
    """A server that lives; one that is `leaving` gives its shards away."""

    server: str
    address: str
    version: str = ""
    leaving: bool = False
    shards: int = 0


class ClusterAnswer(Message, frozen=True, kw_only=True):
    """`GET /api/v1/cluster`: who owns which shard, as the server sees it now.

    `owners` has for each shard the index of its member, -1 while nobody is known to own it.
    """

    shards: int
    members: tuple[ClusterMember, ...]
    owners: tuple[int, ...]
