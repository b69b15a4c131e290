"""Mutants: sentences of the architecture taken out, one at a time, to prove that the checkers can fail.

Each replaces one function of the service, in a process that does nothing else. The table of laws is in the README.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.mutants import across, cluster, log, started, upkeep, write_path
from tests.simulation.shared import mutants as shared

MUTANTS: dict[str, Callable[[], None]] = {
    each.__name__: each for module in (log, write_path, started, upkeep, across, cluster) for each in module.MUTANTS
}
MUTANTS.update(shared.MUTANTS)
