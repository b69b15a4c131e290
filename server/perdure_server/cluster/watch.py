"""Which servers stand still: judged on our own monotonic clock alone, so that no other clock matters.

A server is dead when its heartbeat was unchanged for the lease while our own heartbeats succeeded. A look that failed,
or came late, starts every count again: an outage of Postgres kills nobody, nor does a pause of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from perdure_server.store.membership import MemberRow


class Watch:
    """For how long each server has been silent."""

    def __init__(self, lease: timedelta, monotonic: Callable[[], float]) -> None:
        self._lease = lease.total_seconds()
        self._monotonic = monotonic
        self._looked = 0.0
        self._since: dict[str, tuple[int, int, float]] = {}
        self._silent: dict[str, float] = {}

    def look(self, members: Sequence[MemberRow]) -> None:
        """Take in what a heartbeat of ours has shown of the others.

        A new epoch starts the count too: its owner has restarted, or another taker is at work.
        """
        now = self._monotonic()
        if now - self._looked > self._lease / 2:
            self.forget()  # we stood still ourselves: perhaps the whole machine did
        self._looked = now
        before, self._since = self._since, {}
        for member in members:
            epoch, beat, since = before.get(member.server, (0, 0, now))
            unchanged = epoch == member.epoch and beat == member.beat
            self._since[member.server] = member.epoch, member.beat, since if unchanged else now
        self._silent = {server: now - since for server, (_, _, since) in self._since.items()}

    def is_dead(self, server: str) -> bool:
        return self._silent.get(server, 0.0) >= self._lease

    def is_silent(self, server: str) -> bool:
        """Whether it is perhaps dead: silent for more than half of the lease."""
        return self._silent.get(server, 0.0) > self._lease / 2

    @property
    def next_death_in(self) -> float:
        """Seconds until somebody would be dead, if nothing is heard of it."""
        return min(
            (self._lease - silent for silent in self._silent.values() if silent < self._lease), default=self._lease
        )

    def forget(self) -> None:
        """Nothing was seen for a while: a heartbeat that we missed may have been made."""
        self._since.clear()
        self._silent.clear()
