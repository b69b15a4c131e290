"""The determinism guard: inside a workflow, time and chance are the workflow's, and what reaches outside is refused.

It is installed once in a process, before user code is imported, and patches the standard library for good; whoever
is not in a workflow gets the real thing at the price of a lookup in a context variable. It is a guard against
accidents, not a sandbox against malice. It must not know how a workflow runs, only who `current` says it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure_worker.guard.asyncio_sets import install_ordered_sets
from perdure_worker.guard.asyncio_timeouts import install_timeouts
from perdure_worker.guard.audit import install_audit
from perdure_worker.guard.blocking import install_refusals
from perdure_worker.guard.chance import install_chance
from perdure_worker.guard.clocks import install_clocks
from perdure_worker.guard.scan import Finding, find_wall_clock_calls
from perdure_worker.guard.seam import GuardedRuntime, RuntimeT, Seam, Suspension

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from contextvars import ContextVar

__all__ = ["Finding", "GuardedRuntime", "find_wall_clock_calls", "install", "workflow_values_suspended"]

_installed: list[Seam[Any]] = []


def install(current: ContextVar[RuntimeT | None]) -> None:
    """Patch the process; a second call does nothing."""
    if _installed:
        if _installed[0].current is not current:
            message = "the guard is installed already, for another context variable"
            raise RuntimeError(message)
        return
    seam = Seam(current)
    _installed.append(seam)
    install_clocks(seam)
    install_chance(seam)
    install_refusals(seam)
    install_ordered_sets()
    install_timeouts()
    install_audit(seam)


def workflow_values_suspended() -> AbstractContextManager[None]:
    """Run a block of the worker's own code within a workflow's context, with real time, chance and files.

    Not across an `await`: the block must end before anything else runs.
    """
    return Suspension(_installed[0].current)
