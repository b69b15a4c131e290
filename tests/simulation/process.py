"""A process that runs worlds: its time, chance and logs belong to them, so it does nothing else."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import traceback
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from tests.simulation import chance
from tests.simulation.shared.server import install

T = TypeVar("T")

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


def apart(work: Callable[..., T], *args: Any) -> T:
    """What `work` returns, done in a copy of this process that ends with all that its worlds left: to collect that
    takes a tenth of the time that a world does. There must be no thread beside this one.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _end_with(work, args, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError(f"a process of worlds died, {work} of {args}")
    found: T = pickle.loads(said)
    return found


def _end_with(work: Callable[..., object], args: tuple[Any, ...], writing: int) -> None:
    status = 1
    try:
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(work(*args), pipe)
        status = 0
    except BaseException:  # noqa: BLE001 - the parent has the last word
        traceback.print_exc()
    finally:
        os._exit(status)
