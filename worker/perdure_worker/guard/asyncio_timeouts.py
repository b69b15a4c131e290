"""`asyncio.wait_for` of Python 3.11: in a workflow it is what it is from 3.12 on, a block of `asyncio.timeout`.

The old one gives a result that is there although its time was over before, or although the task was cancelled: the
log would not decide a race, a workflow would not hear that it is to stop, and a history made on one version of Python
would not replay on another.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from perdure_worker.guard.seam import replace
from perdure_worker.loop import WorkflowLoop


def install_timeouts() -> None:
    """Replace the function, in `asyncio` and in the module that defines it, where it is the old one."""
    if sys.version_info >= (3, 12):
        return
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
