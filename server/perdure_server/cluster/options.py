"""Who we are, how long we wait, and whom we tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct

from perdure_server.clock import time_of_day


def say_nothing(_: str) -> None:
    """The default of the callbacks."""


def nudge_nobody(_: Collection[str]) -> None:
    """The others find out at their next heartbeat."""


def wait_as_before() -> None:
    """Nobody waits for an instant of cluster time."""


def go_on(_: bool) -> None:  # noqa: FBT001 - the one thing that it says
    """Nobody is told."""


class OwnershipOptions(Struct, frozen=True, kw_only=True):
    """`on_waiting` is called once for each reason, `on_lost` once at most.

    `on_away` says that Postgres went away while we were a member, `on_back` that it is there again. `on_given` names
    the servers that had better look at once (`ShardMap.look`), instead of at their next heartbeat: they were given
    shards, or we have come, or are about to leave. `on_clock_moved` says that cluster time is not what it was thought
    to be: who waits for an instant of it waits anew. `on_cut_off` says that no heartbeat of ours was answered for the
    lease, so others may have taken over without our knowing; and false when one is answered again. Shards are given
    `give_max` at a time, with a `give_pause` between.
    """

    server: str
    address: str
    version: str = ""
    shards: int = 512
    heartbeat_every: timedelta = timedelta(seconds=0.5)
    lease: timedelta = timedelta(seconds=4)
    give_max: int = 64
    give_pause: timedelta = timedelta(milliseconds=50)
    on_waiting: Callable[[str], None] = say_nothing
    on_lost: Callable[[str], None] = say_nothing
    on_away: Callable[[str], None] = say_nothing
    on_back: Callable[[str], None] = say_nothing
    on_given: Callable[[Collection[str]], None] = nudge_nobody
    on_clock_moved: Callable[[], None] = wait_as_before
    on_cut_off: Callable[[bool], None] = go_on
    monotonic: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], datetime] = time_of_day


class ShardHolder(Protocol):
    """Whoever works on the shards: the engine."""

    def gain(self, shards: Collection[int]) -> None:
        """They are ours from now on: requests may come, loading begins in the background."""
        ...

    async def give_up(self, shards: Collection[int]) -> None:
        """Refuse what is new about them and return when the last commit about them has landed.

        May be cancelled, and is then called again for the same ones.
        """
        ...

    def given(self, shards: Collection[int]) -> None:
        """The table says who has them now. When nobody took them, `gain` is called instead."""
        ...
