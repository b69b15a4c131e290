"""What workflow code logs, and what is logged of it: silent on replay, outside of the guard.

Records go through the standard library's logger `perdure.workflow`, with the run's ids in `extra`. Handlers of a log
may open files and read clocks, so they run as the worker's own code.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from perdure._runtime import current
from perdure_worker.guard.seam import Suspension

if TYPE_CHECKING:
    from perdure_worker.run import Run

logger: Final = logging.getLogger("perdure.workflow")


def log(run: Run, level: int, message: str, *args: object, extra: dict[str, Any] | None = None) -> None:
    """One record, unless the workflow only repeats what it did before."""
    if run.replaying or run.gone or not logger.isEnabledFor(level):
        return
    given = extra or {}
    exc_info = given.pop("exc_info", None)
    ids = {"workflow_id": run.workflow_id, "run_id": run.run_id, "workflow_type": run.workflow_type}
    with Suspension(current):
        logger.log(level, message, *args, exc_info=exc_info, extra={**ids, **given})


def log_unhandled(run: Run, context: dict[str, Any]) -> None:
    """What asyncio reports of a failure that nobody awaited."""
    log(run, logging.ERROR, "%s", context.get("message", ""), extra={"exc_info": context.get("exception")})
