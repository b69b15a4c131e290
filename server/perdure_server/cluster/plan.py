"""What a server does about what it sees: which shards it takes up, gives away, and assigns for the dead. Pure.

A server counts for the hash once it has registered and beaten, and while it neither leaves nor is dead. One that counts
but was silent for more than half of the lease is given nothing: what it should have stays where it is until it is heard
again, or dead. So shards do not wander because somebody was slow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from msgspec import Struct

from perdure_server.cluster.rendezvous import assignment
from perdure_server.store.membership import Move, ShardRow


class View(Struct, frozen=True):
    """What `server` sees: the shards, the servers that count, and those of them that may be given something."""

    server: str
    owners: Sequence[str | None]
    epochs: Sequence[int]
    counted: Sequence[str]
    steady: Collection[str]

    def move(self, shard_id: int, new_owner: str | None) -> Move:
        """A change of this shard's owner from what is seen."""
        return Move(shard_id, self.owners[shard_id], self.epochs[shard_id], new_owner)


def adoptions(view: View, known: Collection[int]) -> list[Move]:
    """Rows that say that we own them although we know nothing of it: given to us, or left by our former self.

    They are moved from ourselves to ourselves, which raises their epoch: whoever else is about to move them, from a
    look of before, loses.
    """
    return [view.move(s, view.server) for s, owner in enumerate(view.owners) if owner == view.server and s not in known]


def claims(view: View) -> list[Move]:
    """Free rows that are to be ours."""
    if None not in view.owners or view.server not in view.counted:
        return []
    wanted = assignment(len(view.owners), view.counted)
    return [
        view.move(s, view.server) for s, owner in enumerate(view.owners) if owner is None and wanted[s] == view.server
    ]


def gifts(view: View, held: Collection[int], at_most: int) -> list[Move]:
    """Shards that we hold and that are to be another's."""
    if list(view.counted) == [view.server]:
        return []
    wanted = assignment(len(view.owners), view.counted)
    given = [s for s in sorted(held) if wanted[s] != view.server and wanted[s] in view.steady]
    return [view.move(s, wanted[s]) for s in given[:at_most]]


def partings(view: View, at_most: int) -> list[Move]:
    """Shards that we own and must not keep: to others if there are any, else to nobody."""
    mine = [s for s, owner in enumerate(view.owners) if owner == view.server]
    heirs = [server for server in view.counted if server != view.server and server in view.steady]
    if not heirs:
        return [view.move(s, None) for s in mine]
    wanted = assignment(len(view.owners), heirs)
    return [view.move(s, wanted[s]) for s in mine[:at_most]]


def bequests(view: View, rows: Iterable[ShardRow]) -> list[Move]:
    """Shards of a dead server, each to its new owner."""
    heirs = [server for server in view.counted if server == view.server or server in view.steady]
    wanted = assignment(len(view.owners), heirs)
    return [Move(row.shard_id, row.owner, row.epoch, wanted[row.shard_id]) for row in rows]
