"""Hosts: the simulated processes. What runs for a host carries it in its context, so the loop knows whose step it is.

A killed host takes no further step: its tasks stay where they are, no `finally` of theirs runs. A frozen one takes its
steps later, all that have come due at once, as a process after SIGCONT.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")


class Host:
    """One process of the world."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.loop = loop
        self.is_dead = False
        self.is_frozen = False
        self.steps_left = -1
        """Steps that it takes until it is killed; below 0: nobody counts."""
        self.on_death: list[Callable[[], None]] = []
        self.held: deque[Any] = deque()
        self.clock_error = 0.0
        """Seconds by which its clock is off."""
        self.context: Context = copy_context()
        self.context.run(HOST.set, self)
        self.failure: BaseException | None = None

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of this host."""
        return self.loop.create_task(work, context=self.context.copy())

    def main(self, work: Coroutine[Any, Any, None]) -> None:
        """The task that a process lives as long as; what it dies of is a finding."""
        self.spawn(work).add_done_callback(self._ended)

    def kill(self) -> None:
        """SIGKILL."""
        if not self.is_dead:
            self.is_dead = True
            for tell in self.on_death:
                tell()

    def _ended(self, main: asyncio.Task[None]) -> None:
        if not main.cancelled():
            self.failure = main.exception()


HOST: ContextVar[Host | None] = ContextVar("simulated_host", default=None)


def this_host() -> Host:
    """Whose step this is."""
    host = HOST.get()
    assert host is not None, "only hosts may ask"
    return host
