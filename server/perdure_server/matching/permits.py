"""Permits of concurrency limits: who has one and who waits, as the home of the limits keeps it. Pure.

A claim is for one attempt. It waits in its limit's line, by priority, then by when the attempt was due, until fewer
than the maximum hold. Each time an attempt asks, its owner gives the claim another number: word of an older one
changes nothing. What is held but known from the store alone has number 0: any word of its owner counts more.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

from msgspec import Struct

Ident = tuple[str, int]
"""Run id and scheduled event id: at most one attempt of an activity runs."""


class Claim(Struct, frozen=True, kw_only=True):
    """What wants a permit, or has one. `due_at` is when the attempt was due, `said_at` when the maximum was said."""

    limit: str
    most: int
    said_at: float
    priority: int
    due_at: float
    shard_id: int
    run_id: str
    scheduled_event_id: int
    number: int

    @property
    def ident(self) -> Ident:
        """What it is for."""
        return self.run_id, self.scheduled_event_id

    @property
    def place(self) -> tuple[int, float, int, str, int]:
        """Its place in the line."""
        return self.priority, self.due_at, self.scheduled_event_id, self.run_id, self.number


class Grant(Struct, frozen=True):
    """A permit, and the server to which it goes."""

    server: str
    claim: Claim


class Line:
    """One limit: those who hold, with the number of their claim, and those who wait."""

    __slots__ = ("held", "most", "places", "said_at", "waiting")

    def __init__(self) -> None:
        self.most = 0
        self.said_at = float("-inf")
        self.held: dict[Ident, int] = {}
        self.waiting: dict[Ident, Grant] = {}
        self.places: list[tuple[tuple[int, float, int, str, int], Ident]] = []
        """A heap; what does not wait any more is skipped."""

    def hear(self, claim: Claim) -> None:
        """Law: if several maxima were said for one key, the newest counts."""
        if claim.said_at >= self.said_at:
            self.most, self.said_at = claim.most, claim.said_at

    def next(self) -> Iterator[Grant]:
        """Those who get a permit now, in order."""
        while self.waiting and len(self.held) < self.most:
            place, ident = heappop(self.places)
            waiting = self.waiting.get(ident)
            if waiting is not None and waiting.claim.place == place:
                del self.waiting[ident]
                self.held[ident] = waiting.claim.number
                yield waiting


class PermitTable:
    """All limits of which one server is the home."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}

    @property
    def waits(self) -> bool:
        """Whether anybody waits."""
        return any(line.waiting for line in self._lines.values())

    def want(self, claim: Claim, server: str) -> None:
        """An attempt is due. A repeat changes nothing; a claim with a new number takes the place of the old one."""
        line = self._line(claim)
        waiting = line.waiting.get(claim.ident)
        known = line.held.get(claim.ident) if waiting is None else waiting.claim.number
        if known == claim.number:
            return
        line.held.pop(claim.ident, None)
        line.waiting[claim.ident] = Grant(server, claim)
        heappush(line.places, (claim.place, claim.ident))

    def hold(self, claim: Claim) -> None:
        """An attempt runs: its permit is held, even if that is one more than the maximum."""
        line = self._line(claim)
        line.waiting.pop(claim.ident, None)
        line.held[claim.ident] = claim.number

    def stored(self, limit: str, ident: Ident) -> None:
        """A row says that it holds a permit: so it does, unless its owner has said something about it."""
        line = self._lines.setdefault(limit, Line())
        if ident not in line.held and ident not in line.waiting:
            line.held[ident] = 0

    def drop(self, claim: Claim) -> None:
        """It neither wants nor holds one any more."""
        line = self._lines.get(claim.limit)
        if line is None:
            return
        if line.held.get(claim.ident) in (0, claim.number):
            del line.held[claim.ident]
        waiting = line.waiting.get(claim.ident)
        if waiting is not None and waiting.claim.number == claim.number:
            del line.waiting[claim.ident]
        if not (line.held or line.waiting):
            del self._lines[claim.limit]

    def grants(self, limit: str) -> list[Grant]:
        """Gives away what is free of one limit."""
        line = self._lines.get(limit)
        return list(line.next()) if line is not None else []

    def all_grants(self) -> list[Grant]:
        """The same for all limits."""
        return [grant for limit in list(self._lines) for grant in self.grants(limit)]

    def _line(self, claim: Claim) -> Line:
        line = self._lines.setdefault(claim.limit, Line())
        line.hear(claim)
        return line
