"""`asyncio.wait_for` of Python 3.11: in a workflow it is what it is from 3.12 on, a block of `asyncio.timeout`.

And `asyncio.timeout` of 3.11.0 to 3.11.2: in a workflow that was asked to stop, a clean-up that takes too long ends in
a `TimeoutError`, as it does from 3.11.3 on, and not as another cancellation.

The old one gives a result that is there although its time was over before, or although the task was cancelled: the
log would not decide a race, a workflow would not hear that it is to stop, and a history made on one version of Python
would not replay on another.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from weakref import WeakKeyDictionary

from perdure_worker.guard.seam import replace
from perdure_worker.loop import WorkflowLoop


def install_timeouts() -> None:
    """Replace the function, in `asyncio` and in the module that defines it, where it is the old one."""
    if sys.version_info >= (3, 12):
        return
    if sys.version_info < (3, 11, 3):
        _count_cancellations()
    real = asyncio.wait_for

    # It stands in for a generic function, whose types callers see in typeshed; here they are only passed on.
    async def wait_for(fut: Any, timeout: float | None) -> Any:  # noqa: ANN401 - passed on as it came
        is_in_workflow = isinstance(asyncio.get_running_loop(), WorkflowLoop)
        if not is_in_workflow or (timeout is not None and timeout <= 0):
            return await real(fut, timeout)
        async with asyncio.timeout(timeout):
            return await fut

    for module in (asyncio, asyncio.tasks):
        replace(module, "wait_for", wait_for, known_as="asyncio.wait_for")


def _count_cancellations() -> None:
    """Lets a timeout know how often its task had been cancelled before it began, as later versions do."""
    real_enter, real_exit = asyncio.Timeout.__aenter__, asyncio.Timeout.__aexit__
    before: WeakKeyDictionary[asyncio.Timeout, tuple[asyncio.Task[Any], int]] = WeakKeyDictionary()

    async def enter(self: asyncio.Timeout) -> asyncio.Timeout:
        task = asyncio.current_task()
        if task is not None and isinstance(asyncio.get_running_loop(), WorkflowLoop):
            before[self] = task, task.cancelling()
        return await real_enter(self)

    async def leave(self: asyncio.Timeout, kind: Any, error: Any, trace: Any) -> bool | None:  # noqa: ANN401 - passed on
        await real_exit(self, kind, error, trace)
        task, count = before.pop(self, (None, 0))
        if task is not None and self.expired() and kind is asyncio.CancelledError and task.cancelling() <= count:
            raise TimeoutError from error
        return None

    replace(asyncio.Timeout, "__aenter__", enter, known_as="asyncio.timeout")
    replace(asyncio.Timeout, "__aexit__", leave, known_as="asyncio.timeout")
