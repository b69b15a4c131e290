"""The clocks of the `time` module: inside a workflow every one of them is the workflow's.

`monotonic` and `perf_counter` too: what is measured with them ends up in conditions, and a real one would differ on
replay. So within one activation no time passes. `process_time` and `thread_time` measure the process, and are left.
`datetime.now()` is a C method that cannot be replaced; the scan finds it.
"""

from __future__ import annotations

import time
from threading import get_ident
from typing import TYPE_CHECKING, Any

from perdure_worker.guard.seam import Seam, replace
from perdure_worker.loop_drive import driving

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    _Calendar: TypeAlias = time.struct_time | tuple[int, int, int, int, int, int, int, int, int]

_SECONDS = ("time", "monotonic", "perf_counter")
_NANOSECONDS = ("time_ns", "monotonic_ns", "perf_counter_ns")
_OF_AN_INSTANT = ("gmtime", "localtime", "ctime")


def install_clocks(seam: Seam[Any]) -> None:
    """Replace the clocks of the `time` module."""
    for name in _SECONDS:
        replace(time, name, _seconds(seam, name), known_as=f"time.{name}")
    for name in _NANOSECONDS:
        replace(time, name, _nanoseconds(seam, name), known_as=f"time.{name}")
    for name in _OF_AN_INSTANT:
        replace(time, name, _of_an_instant(seam, name), known_as=f"time.{name}")
    replace(time, "strftime", _strftime(seam), known_as="time.strftime")
    replace(time, "asctime", _asctime(seam), known_as="time.asctime")


def _seconds(seam: Seam[Any], name: str) -> Callable[[], float]:
    real: Callable[[], float] = getattr(time, name)
    get = seam.current.get

    def guarded() -> float:
        # Written out, not `seam.runtime()`: this is the hottest patch, and most of its calls come from no workflow.
        runtime = get(None)
        if runtime is not None:
            now: float = runtime.now_seconds()
            return now
        if driving and get_ident() in driving:
            seam.runtime(f"time.{name}()")
        return real()

    return guarded


def _nanoseconds(seam: Seam[Any], name: str) -> Callable[[], int]:
    real: Callable[[], int] = getattr(time, name)

    def guarded() -> int:
        runtime = seam.runtime(f"time.{name}()")
        # A double holds microseconds of an instant; more digits would be noise.
        return real() if runtime is None else round(runtime.now_seconds() * 1_000_000) * 1000

    return guarded


def _of_an_instant(seam: Seam[Any], name: str) -> Callable[[float | None], object]:
    real: Callable[[float | None], object] = getattr(time, name)

    def guarded(secs: float | None = None, /) -> object:
        if secs is None:
            runtime = seam.runtime(f"time.{name}()")
            secs = None if runtime is None else runtime.now_seconds()
        return real(secs)

    return guarded


def _strftime(seam: Seam[Any]) -> Callable[..., str]:
    real = time.strftime

    def guarded(form: str, when: _Calendar | None = None, /) -> str:
        if when is not None:
            return real(form, when)
        runtime = seam.runtime("time.strftime()")
        return real(form) if runtime is None else real(form, time.localtime(runtime.now_seconds()))

    return guarded


def _asctime(seam: Seam[Any]) -> Callable[..., str]:
    real = time.asctime

    def guarded(when: _Calendar | None = None, /) -> str:
        if when is not None:
            return real(when)
        runtime = seam.runtime("time.asctime()")
        return real() if runtime is None else real(time.localtime(runtime.now_seconds()))

    return guarded
