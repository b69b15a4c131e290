"""What no worker was waiting for: the tasks of one queue and slot kind, in the order in which they are to leave.

Order: priority, then turn (see `fairness`), then arrival. Tasks lie in lanes by type, so that a type nobody knows
waits without blocking others; all types that no session names share one lane, which only dynamic sessions serve, so
the number of lanes is bounded by what sessions register. A session's sticky tasks are merged in by the caller's
heap: within a priority they go first. It must not know sessions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from heapq import heapify, heappop, heappush, heapreplace
from typing import NamedTuple

from perdure_server.matching.fairness import Turns
from perdure_server.matching.port import PRIORITY_MAX, TaskRef

Entry = tuple[int, float, int, TaskRef]
"""Priority (0: a query), place in it, arrival, task.

The place is a turn in a lane, and the instant of expiry in a sticky heap. Arrivals are unique, so comparing two
entries never compares tasks.
"""

UNNAMED = ""
"""The lane of the types that no session names."""


class Skill(NamedTuple):
    """The types that a session takes; a dynamic one takes every type."""

    types: frozenset[str]
    dynamic: bool

    def covers(self, type_name: str) -> bool:
        """Whether a task of this type may go to the session."""
        return self.dynamic or type_name in self.types


def priority_of(ref: TaskRef) -> int:
    """Somebody waits for a query, so it goes before everything."""
    return 0 if ref.kind == "query" else min(max(ref.priority_key, 1), PRIORITY_MAX)


class Backlog:
    """Lanes of one queue and slot kind. `named_size` and `unnamed_size` are what its two windows bound.

    `names` counts the sessions that name each type.
    """

    __slots__ = ("lanes", "named_size", "names", "turns", "unnamed_size")

    def __init__(self) -> None:
        self.lanes: dict[str, list[Entry]] = {}
        self.turns = Turns()
        self.named_size = 0
        self.unnamed_size = 0
        self.names: dict[str, int] = {}

    def __len__(self) -> int:
        return self.named_size + self.unnamed_size

    def lane_of(self, type_name: str) -> str:
        """The lane of a type; one that a leaving session left behind keeps its tasks until it is empty."""
        return type_name if type_name in self.names or type_name in self.lanes else UNNAMED

    def add(self, ref: TaskRef, arrival: int) -> None:
        """A task arrives."""
        priority = priority_of(ref)
        self.push((priority, self.turns.stamp(priority, ref.fairness_key, ref.fairness_weight), arrival, ref))

    def push(self, entry: Entry) -> None:
        """Put an entry where its key says: also back, after it was matched in vain."""
        name = self.lane_of(entry[3].type_name)
        lane = self.lanes.get(name)
        if lane is None:
            self.lanes[name] = [entry]
        else:
            heappush(lane, entry)
        if name:
            self.named_size += 1
        else:
            self.unnamed_size += 1

    def name(self, types: Iterable[str]) -> None:
        """A session names these types: what waits of them gets lanes of its own."""
        new = {name for name in types if name not in self.names and name not in self.lanes}
        for name in types:
            self.names[name] = self.names.get(name, 0) + 1
        unnamed = self.lanes.get(UNNAMED)
        if new and unnamed:
            self._part(unnamed, new)

    def unname(self, types: Iterable[str]) -> None:
        """A session that named these types is gone."""
        for name in types:
            if self.names[name] == 1:
                del self.names[name]
            else:
                self.names[name] -= 1

    def pull(self, skill: Skill, sticky: list[Entry], room: int) -> list[Entry]:
        """The next tasks, at most `room`, that the skill covers, merged with a sticky heap."""
        heads = [(lane[0], name) for name, lane in self.lanes.items() if skill.dynamic or name in skill.types]
        heapify(heads)
        taken: list[Entry] = []
        while len(taken) < room and (heads or sticky):
            if sticky and (not heads or sticky[0][0] <= heads[0][0][0]):
                taken.append(heappop(sticky))
                continue
            entry, name = heads[0]
            taken.append(entry)
            self.turns.served(entry[0], entry[1])
            lane = self.lanes[name]
            heappop(lane)
            if lane:
                heapreplace(heads, (lane[0], name))
            else:
                heappop(heads)
            self._left(name)
        return taken

    def withdraw(self, shards: Collection[int]) -> None:
        """The tasks of these shards are another server's to hand out."""
        for name, lane in list(self.lanes.items()):
            kept = [entry for entry in lane if entry[3].shard_id not in shards]
            if name:
                self.named_size -= len(lane) - len(kept)
            else:
                self.unnamed_size -= len(lane) - len(kept)
            if kept:
                heapify(kept)
                self.lanes[name] = kept
            else:
                del self.lanes[name]
        if not self.lanes:
            self.turns.reset()

    def _left(self, name: str) -> None:
        if name:
            self.named_size -= 1
        else:
            self.unnamed_size -= 1
        if not self.lanes[name]:
            del self.lanes[name]
            if not self.lanes:
                self.turns.reset()

    def _part(self, unnamed: list[Entry], new: set[str]) -> None:
        """One pass over the unnamed lane; it happens when a session brings a type that nobody had named."""
        stay = [entry for entry in unnamed if entry[3].type_name not in new]
        for entry in unnamed:
            if entry[3].type_name in new:
                self.lanes.setdefault(entry[3].type_name, []).append(entry)
        for name in new & self.lanes.keys():
            heapify(self.lanes[name])
        self.named_size += len(unnamed) - len(stay)
        self.unnamed_size = len(stay)
        if stay:
            heapify(stay)
            self.lanes[UNNAMED] = stay
        else:
            del self.lanes[UNNAMED]
