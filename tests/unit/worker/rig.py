"""Runs workflow programs on a loop whose timers are a list: what fires next is the earliest, and no time passes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Iterator
from contextvars import copy_context
from typing import Any, TypeVar, cast

from perdure import _runtime
from perdure_worker import guard
from perdure_worker.loop import WorkflowLoop

guard.install(_runtime.current)

T = TypeVar("T")

START_S = 1_700_000_000.0


class ListedTimers:
    """A timer port that keeps what was started and cancelled."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.waiting: dict[int, tuple[float, Callable[[], None]]] = {}
        self.now = START_S

    def start_timer(self, delay_s: float, callback: Callable[[], None]) -> int:
        number = sum(entry.startswith("start") for entry in self.log) + 1
        self.log.append(f"start {number} {delay_s:g}")
        self.waiting[number] = (self.now + delay_s, callback)
        return number

    def cancel_timer(self, timer: int) -> None:
        self.log.append(f"cancel {timer}")
        del self.waiting[timer]

    def fire_next(self) -> None:
        number = min(self.waiting, key=lambda n: (self.waiting[n][0], n))
        self.now, callback = self.waiting.pop(number)
        callback()


class Rig:
    """A loop, its timers, and what it reported."""

    def __init__(self, *, hash_origin: int = 0) -> None:
        self.timers = ListedTimers()
        self.reports: list[dict[str, Any]] = []
        self.loop = WorkflowLoop(self.timers, self.reports.append, hash_origin=hash_origin)
        self.loop.set_time(START_S)

    def begin(self, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self.loop.create_task(coro)
        self.loop.run_until_idle()
        return task

    def run(self, coro: Coroutine[Any, Any, T]) -> T:
        task = self.begin(coro)
        while not task.done():
            self.timers.fire_next()
            self.loop.set_time(self.timers.now)
            self.loop.run_until_idle()
        return task.result()


class SeededRuntime:
    """The values a guarded workflow gets."""

    def __init__(self, seed: int = 7, *, read_only: bool = False) -> None:
        self.generator = random.Random(seed)
        self.read_only = read_only

    def now_seconds(self) -> float:
        return START_S

    def random(self) -> random.Random:
        return self.generator

    def is_read_only(self) -> bool:
        return self.read_only


@contextlib.contextmanager
def inside(runtime: SeededRuntime) -> Iterator[None]:
    """Make the runtime the current one."""
    token = _runtime.current.set(cast("_runtime.WorkflowRuntime", runtime))
    try:
        yield
    finally:
        _runtime.current.reset(token)


def guarded(program: Callable[[], Coroutine[Any, Any, T]], runtime: SeededRuntime | None = None) -> T:
    """Run a program on a loop, as the workflow of a runtime."""
    context = copy_context()
    context.run(_runtime.current.set, cast("_runtime.WorkflowRuntime", runtime or SeededRuntime()))
    return context.run(lambda: Rig().run(program()))
