"""The three functions of asyncio that put what they are given into sets: `wait`, `as_completed` and `all_tasks`.

A set iterates by hash. Tasks and handles of a workflow hash by creation number, so their sets iterate alike on every
replay; coroutines and plain futures hash by address. `as_completed` gets a task for each coroutine, in the order
given; plain futures are refused.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from perdure_worker.guard.seam import replace
from perdure_worker.loop import WorkflowLoop
from perdure_worker.loop_refusals import refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def install_ordered_sets() -> None:
    """Replace the three functions, in `asyncio` and in the module that defines them."""
    replacements: tuple[tuple[str, Callable[..., Any]], ...] = (
        ("wait", _wait()),
        ("as_completed", _as_completed()),
        ("all_tasks", _all_tasks()),
    )
    for name, replacement in replacements:
        for module in (asyncio, asyncio.tasks):
            replace(module, name, replacement, known_as=f"asyncio.{name}")


def _workflow_loop() -> WorkflowLoop | None:
    loop = asyncio._get_running_loop()  # noqa: SLF001 - the public function raises where there is none
    return loop if isinstance(loop, WorkflowLoop) else None


def _refuse_unordered(awaitables: Iterable[Any], call: str) -> None:
    for awaitable in awaitables:
        if asyncio.isfuture(awaitable) and type(awaitable).__hash__ is object.__hash__:
            refuse(f"{call} on a bare future", "its order differs on replay; give it tasks, or use asyncio.gather()")


def _wait() -> Callable[..., Any]:
    real = asyncio.wait

    # These stand in for generic functions, whose types callers see in typeshed; here they are only passed on.
    async def wait(fs: Any, **options: Any) -> Any:  # noqa: ANN401 - passed on as it came
        if _workflow_loop() is not None and not asyncio.isfuture(fs) and not asyncio.iscoroutine(fs):
            fs = list(fs)
            _refuse_unordered(fs, "asyncio.wait()")
        return await real(fs, **options)

    return wait


def _as_completed() -> Callable[..., Any]:
    real = asyncio.as_completed

    def as_completed(fs: Any, **options: Any) -> Any:  # noqa: ANN401 - passed on as it came
        loop = _workflow_loop()
        if loop is not None and not asyncio.isfuture(fs) and not asyncio.iscoroutine(fs):
            fs = _ordered(fs, loop)
        return real(fs, **options)

    return as_completed


def _ordered(fs: Iterable[Any], loop: WorkflowLoop) -> list[asyncio.Future[Any]]:
    unordered = isinstance(fs, (set, frozenset))
    awaitables = list(dict.fromkeys(fs))
    _refuse_unordered(awaitables, "asyncio.as_completed()")
    if unordered and not all(asyncio.isfuture(awaitable) for awaitable in awaitables):
        refuse("asyncio.as_completed() on a set of coroutines", "its order differs on replay; give it a list")
    return [asyncio.ensure_future(awaitable, loop=loop) for awaitable in awaitables]


def _all_tasks() -> Callable[..., set[asyncio.Task[Any]]]:
    real = asyncio.all_tasks

    def all_tasks(loop: asyncio.AbstractEventLoop | None = None) -> set[asyncio.Task[Any]]:
        of = loop if isinstance(loop, WorkflowLoop) else _workflow_loop() if loop is None else None
        return real(loop) if of is None else set(of.tasks())

    return all_tasks
