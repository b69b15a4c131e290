"""Who waits for tasks of one queue and slot kind: open exchanges, found by the type of a task.

Exchanges are grouped by skill (a fleet usually has one), and a group is a heap: a respond before the polls, then the
one with most free slots, then the oldest. Keys in the heap may be out of date, since slots are also taken through
the sticky lane; a head is corrected when it is looked at. It must not know what tasks are.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace

from perdure_server.matching.backlog import Skill
from perdure_server.matching.exchange import Exchange

TYPES_REMEMBERED_MAX = 10_000
SLACK = 32

Waiting = tuple[bool, int, int, Exchange]
"""Is a poll, minus the free slots, arrival: arrivals are unique, so exchanges are never compared."""


class Group:
    """The open exchanges of sessions of one skill."""

    __slots__ = ("heap", "live", "sessions", "skill", "slot")

    def __init__(self, skill: Skill, slot: int) -> None:
        self.skill = skill
        self.slot = slot
        self.heap: list[Waiting] = []
        self.live = 0
        self.sessions = 0

    def add(self, exchange: Exchange) -> None:
        """An exchange opened with free slots."""
        self.live += 1
        heappush(self.heap, (not exchange.front, -exchange.free[self.slot], exchange.arrival, exchange))

    def removed(self) -> None:
        """An exchange closed; its key is dropped when it comes up, or when such keys outweigh the rest."""
        self.live -= 1
        if len(self.heap) > 2 * self.live + SLACK:
            self.heap = [waiting for waiting in self.heap if waiting[3].open]
            heapify(self.heap)

    def head(self) -> Waiting | None:
        """The exchange that is next, with a true key."""
        heap = self.heap
        while heap:
            is_poll, minus_free, arrival, exchange = heap[0]
            free = exchange.free[self.slot]
            if not exchange.open or not free:
                heappop(heap)
            elif minus_free != -free:
                heapreplace(heap, (is_poll, -free, arrival, exchange))
            else:
                return heap[0]
        return None


class Takers:
    """The groups, and which of them know a type."""

    __slots__ = ("_by_type", "_slot", "groups")

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self.groups: dict[Skill, Group] = {}
        self._by_type: dict[str, list[Group]] = {}

    def join(self, skill: Skill) -> Group:
        """A session with this skill came."""
        group = self.groups.get(skill)
        if group is None:
            group = self.groups[skill] = Group(skill, self._slot)
            self._by_type.clear()
        group.sessions += 1
        return group

    def part(self, group: Group) -> None:
        """A session with this skill is gone."""
        group.sessions -= 1
        if not group.sessions:
            del self.groups[group.skill]
            self._by_type.clear()

    def knowing(self, type_name: str) -> list[Group]:
        """The groups that take a type; empty when no session does."""
        groups = self._by_type.get(type_name)
        if groups is None:
            if len(self._by_type) >= TYPES_REMEMBERED_MAX:
                self._by_type.clear()
            groups = [group for group in self.groups.values() if group.skill.covers(type_name)]
            self._by_type[type_name] = groups
        return groups

    def find(self, type_name: str) -> Exchange | None:
        """The exchange that a task of this type goes to, if one waits."""
        best: Waiting | None = None
        for group in self._by_type.get(type_name) or self.knowing(type_name):
            if group.heap and (head := group.head()) is not None and (best is None or head < best):
                best = head
        return None if best is None else best[3]
