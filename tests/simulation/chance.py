"""Time and chance of the whole process, taken from the world that runs: for simulation processes only.

The engine takes its clocks as arguments; SDK and worker read `time`, `os.urandom` and `random`. These are replaced once
for the process, under the worker's guard, and give the values of the current world while there is one.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from perdure_worker import origins, registry
from perdure_worker.guard import find_wall_clock_calls
from perdure_worker.watchdog import Watchdog
from tests.simulation.loop import Pause, SimulatedLoop

BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_BEGAN_SECONDS: Final = BEGAN.timestamp()


class Current:
    """The world that gives time and chance now."""

    loop: SimulatedLoop | None = None
    random: random.Random


def wall() -> datetime:
    """The clock of the host whose step this is."""
    loop = Current.loop
    assert loop is not None, "a world runs"
    host = loop.host
    return BEGAN + timedelta(seconds=loop.now + (host.clock_error if host is not None else 0.0))


def cluster_now() -> datetime:
    """The clock of the store, which is right."""
    assert Current.loop is not None, "a world runs"
    return BEGAN + timedelta(seconds=Current.loop.now)


def install() -> None:
    """Replaces the sources of this process, before the guard does."""
    for name in ("time", "monotonic", "perf_counter"):
        setattr(time, name, _clock(getattr(time, name), _BEGAN_SECONDS if name == "time" else 0.0))
    os.urandom = _bytes(os.urandom)
    random._urandom = os.urandom  # type: ignore[attr-defined]
    random.Random.seed = _seed(random.Random.seed)  # type: ignore[method-assign]
    sys.unraisablehook = _hook(sys.unraisablehook)
    # The same code is scanned for each worker of each world.
    setattr(registry, "find_wall_clock_calls", cache(find_wall_clock_calls))  # noqa: B010 - it is not its own
    setattr(asyncio, "sleep", _sleep(asyncio.sleep))  # noqa: B010 - mypy does not allow it
    origins._own_files[__file__] = True  # a workflow that sleeps does so where it says, not here
    # Nobody asks for all tasks; to register them costs as much as to make them.
    setattr(asyncio.tasks._all_tasks, "add", callable)  # type: ignore[attr-defined]  # noqa: B010 - mypy
    # No thread beside the world: virtual time would not wait for it.
    setattr(Watchdog, "start", lambda _: None)  # noqa: B010 - mypy does not allow it


def _clock(real: Callable[[], float], origin: float) -> Callable[[], float]:
    def clock() -> float:
        loop = Current.loop
        if loop is None:
            return real()
        return origin + loop.now + (loop.host.clock_error if origin and loop.host is not None else 0.0)

    return clock


def _sleep(real: Callable[[float, Any], Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def sleep(delay: float, result: Any = None) -> Any:
        loop = asyncio.get_running_loop()
        if delay <= 0 or not isinstance(loop, SimulatedLoop):  # in a workflow it is the workflow's
            return await real(delay, result)
        await Pause(loop, delay)
        return result

    return sleep


def _bytes(real: Callable[[int], bytes]) -> Callable[[int], bytes]:
    def urandom(size: int, /) -> bytes:
        return real(size) if Current.loop is None else Current.random.randbytes(size)

    return urandom


def _seed(real: Callable[..., None]) -> Callable[..., None]:
    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        if a is None and Current.loop is not None:
            a = Current.random.getrandbits(64)
        real(self, a, version)

    return seed


def _hook(real: Callable[[Any], None]) -> Callable[[Any], None]:
    def unraisable(what: Any) -> None:
        """Coroutines of a world that is over may complain as they are collected; those of one that runs may not."""
        if Current.loop is not None:
            Current.loop.errors.append({"message": str(what.err_msg or what.object), "exception": what.exc_value})

    return unraisable


@contextmanager
def world_of(loop: SimulatedLoop, seed: str) -> Iterator[None]:
    """For the length of the block time and chance are those of this world."""
    Current.random = random.Random(f"{seed}/process")
    before = random.getstate()
    random.seed(f"{seed}/module")
    Current.loop = loop
    try:
        yield
    finally:
        Current.loop = None
        random.setstate(before)
