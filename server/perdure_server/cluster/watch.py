"""Which servers stand still: judged on our own monotonic clock alone, so that no other clock matters.

A server is dead when its heartbeat was unchanged for the lease while our own heartbeats succeeded. A look that failed,
or came late, starts every count again: an outage of Postgres kills nobody, nor does a pause of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

from perdure_server.store.membership import MemberRow


class _Seen(NamedTuple):
    """What a look has shown, since when that was so, and when the heartbeat last moved."""

    epoch: int
    beat: int
    since: float
    heard: float


class Watch:
    """For how long each server has been silent."""

    def __init__(self, lease: timedelta, monotonic: Callable[[], float]) -> None:
        self._lease = lease.total_seconds()
        self._monotonic = monotonic
        self._looked = 0.0
        self._seen: dict[str, _Seen] = {}

    def look(self, members: Sequence[MemberRow]) -> None:
        """Take in what a heartbeat of ours has shown of the others.

        A new epoch starts the count to death too: its owner has restarted, or another taker is at work. It is no sign
        of life: whoever was silent is given nothing until it is heard.
        """
        now = self._monotonic()
        if now - self._looked > self._lease / 2:
            self.forget()  # we stood still ourselves: perhaps the whole machine did
        self._looked = now
        self._seen = {member.server: _seen(member, self._seen.get(member.server), now) for member in members}

    def is_dead(self, server: str) -> bool:
        return server in self._seen and self._looked - self._seen[server].since >= self._lease

    def is_silent(self, server: str) -> bool:
        """Whether it is perhaps dead: silent for more than half of the lease."""
        return server in self._seen and self._looked - self._seen[server].heard > self._lease / 2

    @property
    def next_death_in(self) -> float:
        """Seconds until somebody would be dead, if nothing is heard of it."""
        left = (self._lease - (self._looked - seen.since) for seen in self._seen.values())
        return min((seconds for seconds in left if seconds > 0), default=self._lease)

    def forget(self) -> None:
        """Nothing was seen for a while: a heartbeat that we missed may have been made."""
        self._seen.clear()


def _seen(member: MemberRow, before: _Seen | None, now: float) -> _Seen:
    if before is None or member.beat != before.beat:
        return _Seen(member.epoch, member.beat, now, now)
    since = before.since if member.epoch == before.epoch else now
    return _Seen(member.epoch, member.beat, since, before.heard)
