"""A drive: the stretch of time in which one thread is inside one workflow's loop.

It owns what a drive changes on its thread (running loop, current task, hooks of async generators) and puts it back,
and the record of which thread is inside which loop, by which the guard finds workflow code that lost its context.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import _get_running_loop, _set_running_loop
from threading import get_ident
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from typing import TypeAlias

    GeneratorHook: TypeAlias = Callable[[AsyncGenerator[Any, Any]], None]

driving: dict[int, asyncio.AbstractEventLoop] = {}

# Up to 3.13 the current task is kept by loop, and the outer loop's is not in the way.
_ONE_TASK_A_THREAD = sys.version_info >= (3, 14)


class Drive:
    """What one drive changed on its thread."""

    __slots__ = ("_hooks", "_outer_loop", "_outer_task")

    def __init__(self, loop: asyncio.AbstractEventLoop, started: GeneratorHook, dropped: GeneratorHook) -> None:
        self._outer_loop = _get_running_loop()
        self._outer_task = _swap_task(self._outer_loop, None)
        self._hooks = sys.get_asyncgen_hooks()
        driving[get_ident()] = loop
        _set_running_loop(loop)
        sys.set_asyncgen_hooks(started, dropped)

    def leave(self) -> None:
        """Put everything back as it was."""
        sys.set_asyncgen_hooks(*self._hooks)
        _set_running_loop(self._outer_loop)
        _swap_task(self._outer_loop, self._outer_task)
        driving.pop(get_ident(), None)


class OutsideDrive:
    """A block of the worker's own code that runs while a workflow's loop is on the stack."""

    __slots__ = ("_loop",)

    def __enter__(self) -> None:
        """Hide the drive from the guard."""
        self._loop = driving.pop(get_ident(), None)

    def __exit__(self, *_exc: object) -> None:
        """Show it again."""
        if self._loop is not None:
            driving[get_ident()] = self._loop


def _swap_task(loop: asyncio.AbstractEventLoop | None, task: asyncio.Task[Any] | None) -> asyncio.Task[Any] | None:
    if loop is None or not _ONE_TASK_A_THREAD:
        return None
    outer: asyncio.Task[Any] | None = asyncio.tasks._swap_current_task(loop, task)  # type: ignore[attr-defined]  # noqa: SLF001 - there is no public way
    return outer
