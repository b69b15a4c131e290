"""The garbage collector of a long process that belongs to us: `perdure server` and `perdure worker`.

What is loaded at the start stays for good, so it is taken out of every later collection; and the youngest generation
may grow further before it is looked through, for nearly all that the processes allocate is freed by its count. A
program that runs a `Worker` of its own keeps the settings that it has.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

YOUNGEST_MAX: Final = 50_000
"""Objects that may be made, beyond those freed, before the youngest generation is collected."""

YOUNG_ROUNDS: Final = 20
"""Collections of one generation before the next older one is collected with it."""


@contextmanager
def loading() -> Generator[None]:
    """While modules are imported the collector rests: it would look again and again through what stays for good."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def settle_collector() -> None:
    """To be called once, when all modules are imported."""
    gc.freeze()
    gc.set_threshold(YOUNGEST_MAX, YOUNG_ROUNDS, YOUNG_ROUNDS)
