"""The tasks of a workflow's loop, and how one is taken down when its workflow leaves the cache.

A task hashes by the order of its creation, so a set of tasks iterates alike on every replay. Taking one down closes
its coroutine here and now, in its own context, with GeneratorExit: what is left for the garbage collector would run
the user's `finally:` blocks later, inside whichever workflow happens to be running then. GeneratorExit rather than a
cancellation, because `except CancelledError:` is where compensations live and an eviction is nothing to compensate.
A coroutine that suspends again is closed again, a bounded number of times; one that survives is kept for ever, out of
the collector's reach. This module knows nothing of commands: whoever issues them refuses while the loop is closing.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine
    from contextvars import Context
    from typing import TypeVar

    _T = TypeVar("_T")

# Each `async with` around a TaskGroup suspends once more on its way out, so the bound is a depth of nesting.
CLOSES_PER_COROUTINE_MAX = 100

_survivors: list[tuple[object, BaseException | None]] = []


class _Closable(Protocol):
    def close(self) -> None: ...


# Any: a task of any result, as everywhere in asyncio's own types.
class _NewTask(asyncio.Task[Any]):
    """A task until asyncio has registered it, hashed by address.

    The registry is one weak set for the whole process. Were the creation number its hash, the first task of every
    parked workflow would collide with all the others.
    """

    __slots__ = ("creation_hash", "run_context")

    creation_hash: int
    run_context: Context


class WorkflowTask(_NewTask):
    """A task of a workflow, hashed by its creation number."""

    __slots__ = ()

    def __hash__(self) -> int:
        return self.creation_hash


def new_task(
    coro: Coroutine[Any, Any, _T], loop: asyncio.AbstractEventLoop, name: str, context: Context, creation_hash: int
) -> asyncio.Task[_T]:
    """Make a task whose first step is scheduled."""
    task = _NewTask(coro, loop=loop, name=name, context=context)
    task.creation_hash = creation_hash
    task.run_context = context
    task.__class__ = WorkflowTask
    return cast("asyncio.Task[_T]", task)


def describe_task(task: asyncio.Task[Any]) -> str:
    """Name a task, its function and the line it stands on."""
    coro = task.get_coro()
    function = getattr(coro, "__qualname__", repr(coro))
    frames = task.get_stack(limit=1)
    where = f" at {frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else ""
    return f"{task.get_name()} ({function}{where})"


def take_down(task: WorkflowTask, loop: asyncio.AbstractEventLoop) -> bool:
    """Close a task's coroutine in its own context; say whether it is gone."""
    coro = task.get_coro()
    if task.done() or coro is None:
        return True
    return task.run_context.run(_close_as, task, coro, loop)


def take_down_generator(generator: AsyncGenerator[Any, Any]) -> bool:
    """Close what an async generator awaits; its own frame is then freed without running, as its loop asks."""
    awaited = getattr(generator, "ag_await", None)
    return awaited is None or not hasattr(awaited, "close") or _close(awaited)


def _close_as(task: WorkflowTask, coro: _Closable, loop: asyncio.AbstractEventLoop) -> bool:
    _enter_task(loop, task)
    try:
        return _close(coro)
    finally:
        _leave_task(loop, task)


def _close(coro: _Closable) -> bool:
    failure: BaseException | None = None
    for _ in range(CLOSES_PER_COROUTINE_MAX):
        try:
            coro.close()
        except BaseException as raised:  # noqa: BLE001 - whatever user code raises
            failure = raised.with_traceback(None)
        if getattr(coro, "cr_frame", None) is None:
            return True
    _survivors.append((coro, failure))
    return False
