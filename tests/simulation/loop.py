"""A deterministic asyncio loop of virtual time: nothing waits, time jumps to the next timer.

Callbacks run in the order in which they were scheduled, as asyncio promises; timers that are due at one instant run in
a seeded order, which asyncio leaves open. A step takes a microsecond. Steps of dead hosts are not taken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Any, Final

from msgspec import Struct

from tests.simulation.hosts import HOST, Host

STEP_SECONDS: Final = 1e-6


class StuckError(Exception):
    """The world took its limit of steps and did not come to rest."""


def _nothing() -> None:
    """What a cancelled step does."""


class Handle(Struct):
    """A step that will be taken. No `asyncio.Handle`, but all that is asked of one: half of all objects are these."""

    callback: Callable[..., object]
    args: tuple[Any, ...]
    context: Context
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.callback, self.args = _nothing, ()  # what is waited for in vain is not kept

    def cancelled(self) -> bool:
        return self.is_cancelled


class Timer(Handle):
    """A step at a time. One that is cancelled is skipped when its time comes."""

    at: float = 0.0

    def when(self) -> float:
        return self.at


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs one world. `steps_max` bounds a world that does not come to rest."""

    def __init__(self, random: Random, *, steps_max: int = 2_000_000) -> None:
        super().__init__()
        self.now = 1.0
        self.steps = 0
        self.steps_max = steps_max
        self.host: Host | None = None
        self.is_over = False
        self.errors: list[dict[str, Any]] = []
        self.tasks: list[asyncio.Task[Any]] = []
        """All, to the end: a coroutine that is collected runs its `finally`, which a killed process does not."""
        self.create_future = partial(asyncio.Future, loop=self)  # type: ignore[method-assign] # without a call between
        self._draw = random.random
        self._due: deque[Handle] = deque()
        self._timers: list[tuple[float, float, int, Timer]] = []
        self._number = 0

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def create_task(self, coro: Any, *, name: object = None, context: Context | None = None) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, context=context)
        self.tasks.append(task)
        return task

    def call_soon(  # type: ignore[override] # typeshed is stricter on Ts
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, context or copy_context())
        if not self.is_over:
            self._due.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment] # there is one thread

    def call_at(  # type: ignore[override] # typeshed is stricter on Ts
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Timer:
        handle = Timer(callback, args, context or copy_context(), False, when)
        self._number += 1
        heappush(self._timers, (when, self._draw(), self._number, handle))
        return handle

    def call_later(  # type: ignore[override] # typeshed is stricter on Ts
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Timer:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append({**context, "host": self.host.name if self.host else ""})

    def run_until(self, until: float) -> None:
        """Steps until that time."""
        asyncio._set_running_loop(self)
        try:
            while self._turn(until):
                if self.steps > self.steps_max:
                    raise StuckError(f"no rest after {self.steps} steps")
        finally:
            asyncio._set_running_loop(None)

    def thaw(self, host: Host) -> None:
        """A frozen host goes on: what has come due meanwhile is done now."""
        host.is_frozen = False
        self._due.extend(host.held)
        host.held.clear()

    def _turn(self, until: float) -> bool:
        """All that is ready now; where nothing is, time jumps. False: nothing is to be done before that time."""
        due, timers = self._due, self._timers
        if not due:
            while timers and timers[0][3].is_cancelled:
                heappop(timers)
            if not timers or timers[0][0] > until:
                self.now = max(self.now, until)
                return False
            self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            due.append(heappop(timers)[3])
        for _ in range(len(due)):
            handle = due.popleft()
            if handle.is_cancelled:
                continue
            self.host = host = handle.context.get(HOST)
            if host is not None and not self._may_step(host, handle):
                continue
            self.now += STEP_SECONDS
            self.steps += 1
            try:
                handle.context.run(handle.callback, *handle.args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001 - as asyncio's own
                self.call_exception_handler({"message": f"in {handle.callback}", "exception": error})
        return True

    def _may_step(self, host: Host, handle: Handle) -> bool:
        """Whether a host lives, goes on, and is not to die at this step."""
        if host.is_dead:
            return False
        if host.is_frozen:
            host.held.append(handle)
            return False
        if host.steps_left >= 0:
            host.steps_left -= 1
            if host.steps_left < 0:
                host.kill()
                return False
        return True

    def end(self) -> None:
        """The world is over: what still waits is let go of without a word."""
        self.is_over = True
        for task in self.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.tasks.clear()
        self._due.clear()
        self._timers.clear()


class Pause:
    """A wait for a time: the timer takes the next step of the task itself, where a future would need a step more.

    It is what a task of asyncio needs of a future, and no more.
    """

    def __init__(self, loop: SimulatedLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._asyncio_future_blocking = False
        self._is_cancelled = False

    def __await__(self) -> Generator[Pause, None, None]:
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> SimulatedLoop:
        return self._loop

    def add_done_callback(self, wake: Callable[[Pause], object], *, context: Context) -> None:
        self._timer = self._loop.call_later(self._seconds, wake, self, context=context)

    def cancel(self, msg: object = None) -> bool:
        """The task wakes at once, to hear of it."""
        timer = self._timer
        if self._is_cancelled or timer.is_cancelled:
            return False
        self._is_cancelled = True
        self._loop.call_soon(timer.callback, self, context=timer.context)
        timer.cancel()
        return True

    def result(self) -> None:
        if self._is_cancelled:
            raise asyncio.CancelledError


def outside() -> Context:
    """A context of no host: for what belongs to the world itself."""
    context = copy_context()
    context.run(HOST.set, None)
    return context
