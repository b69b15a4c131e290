"""What the home of rates knows: who holds how much of each. Pure; time is passed in.

Law: what all servers hold of a rate is never more than its limit. A share that is lowered counts in full until its
holder says that it has heard it, and so does that of a server that is silent, for as long as it lives: it goes on with
it. A home that is new to a rate first hears what every other server holds of it; until then it only confirms.
"""

from __future__ import annotations

from collections.abc import Collection

from perdure_server.rates.homes import RateKey
from perdure_server.rates.messages import Ask, Grant

UNHEARD_SECONDS_MAX = 10.0
"""A server that beats but answers nobody holds nothing after so long, as far as the home can say."""
WARM_SECONDS = 1.0
"""For so long whoever asks first would get what is due to those who ask a moment later: all ask again soon."""
_UNSETTLED = 0.05
"""Less than this part of the limit is not worth another request: it moves with the next one."""


class Holder:
    """One server: what it says that it holds, what it was given since, and how much it could use."""

    __slots__ = ("demand", "given", "held")

    def __init__(self) -> None:
        self.held = 0.0
        self.given = 0.0
        self.demand = 0.0

    @property
    def reserved(self) -> float:
        """What it may be using, whatever it has heard."""
        return max(self.held, self.given)


class Entry:
    """One rate."""

    __slots__ = ("began_at", "holders", "limit", "named_at", "unheard")

    def __init__(self, unheard: set[str], now: float) -> None:
        self.limit = 0.0
        self.named_at = float("-inf")
        self.holders: dict[str, Holder] = {}
        self.unheard = unheard
        self.began_at = now

    def name(self, ask: Ask) -> None:
        """The limit that was named last holds; of two at once the smaller."""
        if (ask.named_at, -ask.limit) > (self.named_at, -self.limit):
            self.limit, self.named_at = ask.limit, ask.named_at

    def fair(self, holder: Holder) -> float:
        """Its part in proportion to demand. Who wants nothing counts for one, so that its first need not wait."""
        return self.limit * (holder.demand + 1) / sum(each.demand + 1 for each in self.holders.values())

    def free_for(self, holder: Holder) -> float:
        """What nobody else may be using."""
        return max(self.limit - sum(each.reserved for each in self.holders.values() if each is not holder), 0.0)


class Table:
    """The rates whose home this server is, or was."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._entries: dict[RateKey, Entry] = {}

    def expect(self, keys: Collection[RateKey], members: Collection[str], now: float) -> dict[str, list[RateKey]]:
        """These are asked for: whom to enquire of which, since nobody knows what they hold."""
        unheard: dict[str, list[RateKey]] = {}
        for key in keys:
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = Entry(set(members) - {self._server}, now)
            entry.unheard &= set(members) if now < entry.began_at + UNHEARD_SECONDS_MAX else set()
            for server in entry.unheard:
                unheard.setdefault(server, []).append(key)
        return unheard

    def hear(self, server: str, key: RateKey, held: float) -> None:
        """A server that did not ask has said what it holds."""
        entry = self._entries.get(key)
        if entry is not None and server in entry.unheard:
            entry.unheard.discard(server)
            if held:
                entry.holders.setdefault(server, Holder()).held = held

    def lease(self, server: str, ask: Ask, now: float) -> Grant:
        """The share of a server from now on. The key was expected."""
        entry = self._entries[ask.key]
        entry.name(ask)
        entry.unheard.discard(server)
        holder = entry.holders.setdefault(server, Holder())
        holder.held, holder.demand = ask.held, ask.demand
        due, free = entry.fair(holder), entry.free_for(holder)
        share = min(ask.held if entry.unheard else due, free)
        holder.given = share
        if server == self._server:
            holder.held = share  # it is told at once
        slack = entry.limit * _UNSETTLED
        is_warm = now >= entry.began_at + WARM_SECONDS
        settled = is_warm and abs(share - due) <= slack and ask.held - share <= slack
        return Grant(share=share, limit=entry.limit, named_at=entry.named_at, settled=settled)

    def holds(self, server: str, key: RateKey) -> bool:
        """Whether the server has been heard of this rate."""
        entry = self._entries.get(key)
        return entry is not None and server in entry.holders

    def release(self, server: str, key: RateKey) -> None:
        """A server has no use for the rate any more, and holds nothing of it."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.holders.pop(server, None)
            entry.unheard.discard(server)
            if not entry.holders:
                del self._entries[key]

    def keep(self, members: Collection[str], keys: Collection[RateKey]) -> None:
        """Only these servers live, and only these rates have their home here: the rest is forgotten."""
        for key in [key for key in self._entries if key not in keys]:
            del self._entries[key]
        for entry in self._entries.values():
            for server in entry.holders.keys() - set(members):
                del entry.holders[server]

    @property
    def keys(self) -> Collection[RateKey]:
        """All rates that are known."""
        return self._entries.keys()
