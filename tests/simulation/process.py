"""A process that runs worlds: its time, chance and logs belong to them, so it does nothing else."""

from __future__ import annotations

import gc
import logging
import warnings

import structlog

from tests.simulation import chance
from tests.simulation.shared.server import install

_worlds = [0]
COLLECT_EVERY = 20
"""So many worlds leave their garbage together: a collection takes as long as a world."""


def prepare() -> None:
    """Once, before the first world."""
    chance.install()
    install()
    logging.disable(logging.CRITICAL)
    # Coroutines of killed processes are never awaited.
    warnings.simplefilter("ignore", RuntimeWarning)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    gc.freeze()


def collect() -> None:
    """Between two worlds."""
    _worlds[0] += 1
    if _worlds[0] % COLLECT_EVERY == 0:
        gc.collect()
