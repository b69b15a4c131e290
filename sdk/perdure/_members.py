"""Which servers there are, whose each shard is, and which of them can be reached from here.

Plain state: it sends nothing, and time is passed in. Laws: what a server said last about a shard counts; who asked
over https is not sent to an address without; an address that failed is left alone for a while, longer each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from perdure_proto.cluster import ClusterAnswer
from perdure_proto.ids import shard_of

AVOID_SECONDS_FIRST: Final = 1.0
AVOID_SECONDS_MAX: Final = 30.0
SHARDS_MAX: Final = 2**16
"""More than this is no shard map."""


class Workflow(NamedTuple):
    """What a request is about."""

    namespace: str
    workflow_id: str


class Members:
    """The members by address, and the owner of each shard. `given` are the addresses that the user gave."""

    def __init__(self, given: tuple[str, ...]) -> None:
        self.given = given
        self.names: dict[str, str] = {}
        """The server at each address; in the order of the last answer."""
        self._owners: list[str] = []
        self._secure = any(address.startswith("https://") for address in given)

    @property
    def several(self) -> bool:
        """Whether there is something to choose: with one member all goes through the address that was given."""
        return len(self.names) > 1

    def take(self, answer: ClusterAnswer) -> None:
        """What a server knows of the cluster."""
        addresses = [self._usable(member.address) for member in answer.members]
        found = zip(addresses, answer.members, strict=True)
        self.names = {address: member.server for address, member in found if address}
        known = range(len(addresses))
        owners = answer.owners if 0 < answer.shards == len(answer.owners) <= SHARDS_MAX else ()
        self._owners = [addresses[index] if index in known else "" for index in owners]

    def learn(self, shard: object, address: object) -> str:
        """What a server answers that does not own a shard; the usable address of its owner, or nothing."""
        if not (isinstance(shard, int) and isinstance(address, str)):
            return ""
        usable = self._usable(address)
        if usable and 0 <= shard < len(self._owners):
            self._owners[shard] = usable
            self.names.setdefault(usable, "")
        return usable

    def owner_of(self, workflow: Workflow) -> str:
        """The address of the owner; empty while nobody is known."""
        owners = self._owners
        return owners[shard_of(workflow.namespace, workflow.workflow_id, len(owners))] if owners else ""

    def everywhere(self) -> list[str]:
        """All addresses: those that were given first."""
        return list(dict.fromkeys((*self.given, *self.names)))

    def _usable(self, address: str) -> str:
        address = address.rstrip("/")
        plain = address.startswith("http://") and not self._secure
        return address if plain or address.startswith("https://") else ""


class Reach:
    """What is known of addresses: not tried, good, or to be avoided until some time."""

    def __init__(self) -> None:
        self._good: set[str] = set()
        self._avoided: dict[str, tuple[float, float]] = {}

    def found(self, address: str) -> None:
        """It answers."""
        self._good.add(address)
        self._avoided.pop(address, None)

    def lost(self, address: str, now: float) -> None:
        """It does not answer."""
        self._good.discard(address)
        until, pause = self._avoided.get(address, (now, AVOID_SECONDS_FIRST / 2))
        if until <= now:
            pause = min(pause * 2, AVOID_SECONDS_MAX)
            self._avoided[address] = (now + pause, pause)

    def forget(self, address: str) -> None:
        """Nothing is known of it."""
        self._good.discard(address)
        self._avoided.pop(address, None)

    def is_good(self, address: str) -> bool:
        """Whether it answered, and has not failed since."""
        return address in self._good

    def is_new(self, address: str) -> bool:
        """Whether it was never tried."""
        return address not in self._good and address not in self._avoided

    def is_avoided(self, address: str, now: float) -> bool:
        """Whether it failed, and it is too early to try again."""
        return address in self._avoided and now < self._avoided[address][0]

    def best(self, addresses: Iterable[str]) -> list[str]:
        """Those that did not fail first, then the one that failed longest ago; among equals the order stays."""
        return sorted(addresses, key=lambda address: self._avoided.get(address, (0.0, 0.0))[0])
