"""Sagas: what undoes the steps of a block, run backwards when the block fails or is cancelled.

Compensations run in a task of their own, so that a cancellation of the workflow does not reach them. What only parks
the workflow (a mistake in its code) or goes on in the next run undoes nothing: the block has not failed.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, ParamSpec, Self, cast

from perdure._handlers import runtime_for
from perdure._runtime import current
from perdure.exceptions import ContinueAsNewError

P = ParamSpec("P")


class Saga:
    """Compensations, run in reverse order when the block fails or is cancelled. Made by `workflow.saga()`."""

    def __init__(self) -> None:
        self._undo: list[tuple[Callable[..., object], tuple[object, ...], dict[str, Any]]] = []
        self._failures: list[tuple[str, BaseException]] = []

    def compensate(self, fn: Callable[P, Awaitable[object]], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Adds what undoes a step: call it before the step, where a step that failed may have done its work.

        Args:
            fn: an activity, an activity with options, a child workflow, or an `async def`; called when it is needed.
            args: its arguments.
            kwargs: its keyword arguments.

        Example:
            ``saga.compensate(refund.with_options(retry_policy="patient"), payment_id)``
        """
        self._undo.append((fn, args, kwargs))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if error is None or _undoes_nothing(error):
            self._undo.clear()
            return
        planned = len(self._undo)
        cancelled = await self._shielded(asyncio.ensure_future(self._run_back()))
        if self._failures:
            raise self._all_of(error, planned)
        if cancelled is not None and not isinstance(error, asyncio.CancelledError):
            raise cancelled from error  # it was for the workflow, which must not lose it

    async def _shielded(self, running: asyncio.Future[None]) -> asyncio.CancelledError | None:
        """Waits for the compensations, whoever cancels meanwhile; that is told afterwards."""
        cancelled = None
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError as error:
                cancelled = error
        running.result()
        return cancelled

    async def _run_back(self) -> None:
        """One that fails does not keep the others from running; a mistake in the program does, until it is repaired."""
        while self._undo:
            fn, args, kwargs = self._undo.pop()
            try:
                done = fn(*args, **kwargs)
                if inspect.isawaitable(done):
                    await done
            except (Exception, asyncio.CancelledError) as error:
                if _undoes_nothing(error):
                    raise
                self._failures.append((getattr(fn, "__name__", repr(fn)), error))

    def _all_of(self, error: BaseException, planned: int) -> BaseExceptionGroup[BaseException]:
        failed = "; ".join(f"{name}: {failure!r}" for name, failure in self._failures)
        message = f"{error!r}; and {len(self._failures)} of {planned} compensations failed: {failed}"
        return BaseExceptionGroup(message, [error, *(failure for _, failure in self._failures)])


def saga() -> Saga:
    """A block whose steps are undone when it fails: compensations run in reverse order, then its error goes on.

    They run to their end even if the workflow is cancelled meanwhile; that cancellation is delivered after them. If
    some fail, the others still run, and an `ExceptionGroup` of the block's error and theirs goes on instead (where the
    block was cancelled, a `BaseExceptionGroup`, and the workflow closes as failed). A mistake in the program, in the
    block or in a compensation, parks the workflow there until it is repaired. Continue-as-new undoes nothing.

    Raises `RuntimeError` outside a workflow.

    Example:
        ``async with workflow.saga() as saga: saga.compensate(cancel_hotel, trip); await book_hotel(trip)``
    """
    runtime_for("workflow.saga()")
    return Saga()


def _undoes_nothing(error: BaseException) -> bool:
    """Whether the workflow has not failed: it goes on as new, waits for repaired code, or leaves memory."""
    if isinstance(error, BaseExceptionGroup):
        return any(_undoes_nothing(one) for one in cast(BaseExceptionGroup[BaseException], error).exceptions)
    if isinstance(error, ContinueAsNewError) or not isinstance(error, Exception | asyncio.CancelledError):
        return True
    runtime = current.get()
    return runtime is not None and runtime.fails_task(error)
