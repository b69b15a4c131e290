"""The watchdog: a thread that notices an activation which blocks its thread, tells of it, and interrupts it.

It reports the stack first, interrupts second; whether to recycle the process is for its owner. Arming and disarming
cost well under a microsecond: the watching thread polls, it is never woken. An interrupt is an asynchronous
exception, which workflow code may swallow and which C code sees only when it returns, so what counts is the
watchdog's record, never whether an exception came out. It must not know workflows.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Self, TypeVar

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

TIMEOUT_S = 2.0
_CHECKS_PER_TIMEOUT = 4
_DRIVER = "perdure_worker.loop"

_T = TypeVar("_T")

_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_async_exc.argtypes = (ctypes.c_ulong, ctypes.py_object)
_set_async_exc.restype = ctypes.c_int
_NULL = ctypes.py_object()

# Kept from before the determinism guard, which replaces the one in the module.
_monotonic = time.monotonic


class DeadlockError(BaseException):
    """Workflow code held its thread for too long; raised in the midst of it."""

    def __str__(self) -> str:
        return "workflow code blocked its thread: it must await, or leave the work to an activity"


class Stall(Struct, frozen=True, kw_only=True):
    """The record of one activation that blocked. `interrupts` counts the attempts to end it, this one included."""

    blocked_s: float
    interrupts: int
    thread: int
    stack: str


class Watchdog:
    """Watches one thread at a time. `on_stall` is called on the watching thread, before each interrupt."""

    def __init__(
        self,
        on_stall: Callable[[Stall], None] = lambda _stall: None,
        *,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = _monotonic,
    ) -> None:
        self._on_stall = on_stall
        self._timeout_s = timeout_s
        self._clock = clock
        # Arm, disarm and interrupt exclude each other: an interrupt must never reach whatever runs after a disarm.
        self._lock = threading.Lock()
        self._thread = 0
        self._activation = 0
        self._armed_at = 0.0
        self._armed = False
        self._interrupts = 0
        self._stall: Stall | None = None
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    def start(self) -> None:
        """Start the watching thread."""
        self._stopping.clear()
        self._watcher = threading.Thread(target=self._watch, name="perdure-watchdog", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """End the watching thread and wait for it; a stopped watchdog may be started again."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
            self._watcher = None

    def run(self, drive: Callable[[], _T]) -> tuple[_T | None, Stall | None]:
        """Run `drive` under watch; when there is a stall, the result means nothing.

        This is the safe form: an interrupt may land anywhere up to the end of `disarm`, and here none escapes.
        """
        result: _T | None = None
        try:
            self.arm()
            try:
                result = drive()
            finally:
                stall = self.disarm()
        except DeadlockError:
            stall = self.disarm()
        return result, stall

    def armed(self) -> Armed:
        """Watch a `with` block; its value has `.stall` afterwards. Catch DeadlockError around it."""
        return Armed(self)

    def arm(self) -> None:
        """Begin to watch the calling thread."""
        with self._lock:
            self._thread = threading.get_ident()
            self._activation += 1
            self._interrupts = 0
            self._stall = None
            self._armed_at = self._clock()
            self._armed = True

    def disarm(self) -> Stall | None:
        """End the watch, take back an interrupt that has not landed, and say what was recorded."""
        with self._lock:
            self._armed = False
            if self._interrupts:
                _set_async_exc(self._thread, _NULL)
            return self._stall

    def check(self) -> Stall | None:
        """Look once, as the watching thread does: report and interrupt what has blocked for another full timeout."""
        with self._lock:
            stall = self._look()
            activation = self._activation
        if stall is None:
            return None
        # Without the lock: whoever is told may take his time, and the thread may come to its end meanwhile.
        self._on_stall(stall)
        with self._lock:
            if self._armed and self._activation == activation:
                self._interrupts = stall.interrupts
                _set_async_exc(self._thread, ctypes.py_object(DeadlockError))
        return stall

    def _look(self) -> Stall | None:
        blocked_s = self._clock() - self._armed_at
        if not self._armed or blocked_s < self._timeout_s * (self._interrupts + 1):
            return None
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - the only way to another thread's stack
        stack = self._stall.stack if self._stall else _format(frame)
        self._stall = Stall(blocked_s=blocked_s, interrupts=self._interrupts + 1, thread=self._thread, stack=stack)
        return self._stall

    def _watch(self) -> None:
        while not self._stopping.wait(self._timeout_s / _CHECKS_PER_TIMEOUT):
            self.check()


class Armed:
    """A `with` block under watch."""

    __slots__ = ("_watchdog", "stall")

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self.stall: Stall | None = None

    def __enter__(self) -> Self:
        self._watchdog.arm()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stall = self._watchdog.disarm()


def _format(frame: FrameType | None) -> str:
    """Format a stack, outermost call first, without the frames below the driver: they are the worker's own."""
    frames = []
    for walked, line in traceback.walk_stack(frame):
        if str(walked.f_globals.get("__name__", "")) == _DRIVER:
            break
        frames.append((walked, line))
    summary = traceback.StackSummary.extract(reversed(frames))
    return "".join(summary.format())
