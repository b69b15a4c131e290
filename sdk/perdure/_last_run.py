"""What a run of a chain can know of the one before: the last result, and the failure that it ended with."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from perdure._handlers import runtime_for

T = TypeVar("T")


def has_last_completion_result() -> bool:
    """Whether a run of this cron workflow has completed before. Raises `RuntimeError` outside a workflow."""
    return runtime_for("workflow.has_last_completion_result()").has_last_completion_result()


@overload
def get_last_completion_result(type_hint: type[T]) -> T | None: ...
@overload
def get_last_completion_result(type_hint: Any = ...) -> Any: ...
def get_last_completion_result(type_hint: Any = Any) -> Any:
    """The result of the last run of this cron workflow that completed; a run that failed since changes nothing.

    Args:
        type_hint: what it comes back as. Default: plain JSON values.

    None when no run has completed yet, or when the last one returned None: `has_last_completion_result()` tells.
    Raises `ConversionError` for a result that does not fit, and `RuntimeError` outside a workflow.

    Example:
        ``seen = workflow.get_last_completion_result(int) or 0``
    """
    return runtime_for("workflow.get_last_completion_result()").last_completion_result(type_hint)


def get_last_failure() -> BaseException | None:
    """Why the run before this one failed, where a retry policy or a cron schedule goes on after it; else None.

    Raises `RuntimeError` outside a workflow.

    Example:
        ``if (before := workflow.get_last_failure()) is not None: workflow.logger.info("again after %s", before)``
    """
    return runtime_for("workflow.get_last_failure()").last_failure()
