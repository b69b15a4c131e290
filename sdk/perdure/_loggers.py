"""Loggers for workflow and activity code: the standard library's, with who is speaking, silent on replay."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, cast

from perdure._runtime import current, current_activity

_ACTIVITY_FIELDS: Final = ("activity_type", "activity_id", "attempt", "workflow_id", "workflow_run_id", "task_queue")


class WorkflowLogger(logging.LoggerAdapter[logging.Logger]):
    """Logs through the running workflow, which drops what was logged before; outside of one as any logger."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """One record; see `logging.Logger.log`."""
        if not self.isEnabledFor(level):
            return
        runtime = current.get()
        if runtime is None:
            self.logger.log(level, msg, *args, **kwargs)
            return
        text = str(msg)
        if error := _error_of(kwargs.get("exc_info")):
            trace = "".join(traceback.format_exception(error)).rstrip()
            text += "\n" + (trace.replace("%", "%%") if args else trace)
        runtime.log(level, text, args, dict(kwargs.get("extra") or {}))


def _error_of(exc_info: object) -> BaseException | None:
    """The exception that `exc_info=` names: itself, the one in a triple, or the one being handled."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        parts = cast(tuple[object, ...], exc_info)
        return next((part for part in parts if isinstance(part, BaseException)), None)
    return sys.exc_info()[1] if exc_info else None


class ActivityLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds to each record, as `extra`, which attempt of which activity speaks."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """See `logging.LoggerAdapter.process`."""
        runtime = current_activity.get()
        if runtime is None:
            return msg, kwargs
        info = runtime.info()
        given: Mapping[str, Any] = kwargs.get("extra") or {}
        return msg, {**kwargs, "extra": {**{name: getattr(info, name) for name in _ACTIVITY_FIELDS}, **given}}
