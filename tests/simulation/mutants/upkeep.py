"""`wakes`: the timer queue and the recovery list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure_server.engine import execution, transactor
from perdure_server.engine.batch import Staged
from perdure_server.engine.upkeep import Upkeep
from tests.simulation.mutants.replace import replace


def nothing_owed() -> None:
    """The recovery list is not written."""

    def owe(self: Any, run: execution.Execution, staged: Staged) -> None:
        run.wake_owed = True

    replace(transactor.Transactor, "_owe", owe)


def wakes_only_when_owed() -> None:
    """The row says nothing of the earliest deadline."""
    real = Staged.set_wake

    def set_wake(self: Staged, wake_at: Any, *, owed: bool) -> None:
        real(self, None, owed=owed)

    replace(Staged, "set_wake", set_wake)


def owed_cleared_at_once() -> None:
    """What is owed is cleared while it is still owed."""
    replace(Upkeep, "_is_owed", lambda *_: False)


def evicted_whenever_idle() -> None:
    """A run leaves memory though the scan will not find it again in time."""
    replace(Upkeep, "_can_evict", lambda _, run: not run.is_busy())


def nothing_scanned() -> None:
    """Nobody looks for what comes due."""

    async def scan(self: Upkeep) -> int:
        return 0

    replace(Upkeep, "scan", scan)


def nothing_recovered() -> None:
    """A new owner waits until somebody asks for a run."""

    async def load_owed(*_: Any) -> int:
        return 0

    replace(Upkeep, "_load_owed", load_owed)


def dropped_runs_not_read_again() -> None:
    """A run whose memory could not be trusted is read again only when somebody asks for it."""

    async def reload(_: Upkeep) -> None:
        return

    replace(Upkeep, "reload", reload)


MUTANTS: tuple[Callable[[], None], ...] = (
    nothing_owed,
    wakes_only_when_owed,
    owed_cleared_at_once,
    evicted_whenever_idle,
    nothing_scanned,
    nothing_recovered,
    dropped_runs_not_read_again,
)
