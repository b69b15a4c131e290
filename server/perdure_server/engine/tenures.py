"""Which shards are ours, and since which gain.

Law: what was read of a shard before it was given away says nothing after it was gained again, for another server wrote
meanwhile. Whoever reads notes the tenure first, and believes what it has read only while that tenure lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from perdure_proto.errors import Code, ServiceError


class Tenures:
    """The shards of this server. `owned` is one set for life: the hot path looks into it and nowhere else."""

    def __init__(self, address_of: Callable[[int], str]) -> None:
        self.owned: set[int] = set()
        self._address_of = address_of
        self._tenures: dict[int, int] = {}
        self._number = 0

    def gain(self, shards: Iterable[int]) -> list[int]:
        """These are ours from now on. Returns those that were not."""
        gained = [shard_id for shard_id in dict.fromkeys(shards) if shard_id not in self.owned]
        for shard_id in gained:
            self._number += 1
            self._tenures[shard_id] = self._number
        self.owned.update(gained)
        return gained

    def end(self, shards: Iterable[int]) -> None:
        """These are not ours any more."""
        for shard_id in shards:
            self._tenures.pop(shard_id, None)
            self.owned.discard(shard_id)

    def tenure(self, shard_id: int) -> int:
        """Since which gain the shard is ours. Raises `WRONG_OWNER`."""
        found = self._tenures.get(shard_id)
        if found is None:
            raise self.refusal(shard_id)
        return found

    def lasts(self, shard_id: int, tenure: int) -> bool:
        """Whether the shard was ours all the time since."""
        return self._tenures.get(shard_id) == tenure

    def check(self, shard_id: int) -> None:
        """Raises `WRONG_OWNER` if the shard is not ours."""
        if shard_id not in self.owned:
            raise self.refusal(shard_id)

    def confirm(self, shard_id: int, tenure: int) -> None:
        """Raises if the shard was not ours all the time since: what was read of it may be old."""
        self.check(shard_id)
        if not self.lasts(shard_id, tenure):
            raise ServiceError(Code.UNAVAILABLE, f"shard {shard_id} was away meanwhile: try again")

    def refusal(self, shard_id: int) -> ServiceError:
        """What a request about a shard of another server gets."""
        address = self._address_of(shard_id)
        where = f"at {address}" if address else "that is not known here yet"
        message = f"shard {shard_id} belongs to a server {where}: ask there"
        return ServiceError(Code.WRONG_OWNER, message, shard=shard_id, address=address)
