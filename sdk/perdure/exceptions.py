"""Every error that users see, as one tree with Temporal's names.

`FailureError` and what is below it can cross the service: each becomes a failure in the log and comes back as the same
class, with its causes. The others tell a caller about its request. Nothing here knows how they are converted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from perdure._retry_after import asked_seconds
from perdure_proto.errors import STATUS, Code
from perdure_proto.failures import Failure, RetryState, TimeoutType

__all__ = [
    "ActivityAlreadyStartedError",
    "ActivityError",
    "ActivityFailureError",
    "ApplicationError",
    "AsyncActivityCancelledError",
    "CancelledError",
    "ChildWorkflowError",
    "ContinueAsNewError",
    "ConversionError",
    "FailureError",
    "NondeterminismError",
    "PerdureError",
    "RPCError",
    "RetryState",
    "ServerError",
    "TerminatedError",
    "TimeoutError",
    "TimeoutType",
    "WorkflowAlreadyStartedError",
    "WorkflowContinuedAsNewError",
    "WorkflowFailureError",
    "WorkflowQueryFailedError",
    "WorkflowUpdateFailedError",
    "is_cancelled_exception",
]


class PerdureError(Exception):
    """The root of every error of perdure."""

    @property
    def cause(self) -> BaseException | None:
        """What caused this error: its `__cause__`."""
        return self.__cause__


class ConversionError(PerdureError, TypeError):
    """A value does not fit its annotated type, or cannot be read or written; the message names the argument."""


class NondeterminismError(PerdureError):
    """Workflow code did something that a replay could not repeat, or a replay took another path than the history.

    It fails the workflow task, never the workflow: repaired code goes on.

    Args:
        message: what was done, and what to use instead.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ContinueAsNewError(BaseException):
    """Raised by `workflow.continue_as_new` to leave the workflow; not to be caught. `request` is for the worker."""

    def __init__(self, request: object = None) -> None:
        super().__init__("continue as new")
        self.request = request


class FailureError(PerdureError):
    """An error that crosses the service, with the failure it was read from.

    Args:
        message: what went wrong, in one sentence.
        failure: the failure it was read from; None for one that was raised here.
    """

    def __init__(self, message: str, *, failure: Failure | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.failure = failure

    @property
    def stack_trace(self) -> str:
        """The stack of the code that raised it, as text; empty for one that was raised here."""
        return self.failure.stack_trace if self.failure is not None else ""


class ApplicationError(FailureError):
    """An error of workflow or activity code, with what retries and callers need to know.

    Args:
        message: what went wrong.
        details: any values that the data converter can write; read back with the error.
        type: what `RetryPolicy.non_retryable_error_types` is compared with; callers can branch on it.
        non_retryable: whether the attempt is the last whatever the retry policy says. Default False.
        next_retry_delay: replaces the retry policy's next interval.

    Example:
        >>> raise ApplicationError("card declined", {"limit": 100}, type="Declined", non_retryable=True)
        Traceback (most recent call last):
        ...
        perdure.exceptions.ApplicationError: Declined: card declined
    """

    def __init__(
        self,
        message: str,
        *details: Any,
        type: str | None = None,
        non_retryable: bool = False,
        next_retry_delay: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.type = type
        self.details = details
        self.non_retryable = non_retryable
        self.next_retry_delay = next_retry_delay

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.type else self.message


class CancelledError(FailureError):
    """It was cancelled. In workflow and activity code a cancellation itself arrives as `asyncio.CancelledError`.

    Args:
        message: why. Default "Cancelled".
        details: any values that the data converter can write.
    """

    def __init__(self, message: str = "Cancelled", *details: Any) -> None:
        super().__init__(message)
        self.details = details


class TerminatedError(FailureError):
    """It was terminated: `details` are what the caller of `terminate` gave.

    Args:
        message: why.
        details: any values.
    """

    def __init__(self, message: str, *details: Any) -> None:
        super().__init__(message)
        self.details = details


class TimeoutError(FailureError):
    """A deadline of an activity or a workflow passed.

    Args:
        message: what took too long.
        type: which deadline: `START_TO_CLOSE`, `SCHEDULE_TO_START`, `SCHEDULE_TO_CLOSE` or `HEARTBEAT`.
        last_heartbeat_details: what the last heartbeat of the attempt carried.
    """

    def __init__(
        self, message: str, *, type: TimeoutType | None = None, last_heartbeat_details: tuple[Any, ...] = ()
    ) -> None:
        super().__init__(message)
        self.type: TimeoutType | None = type
        self.last_heartbeat_details = last_heartbeat_details


class ServerError(FailureError):
    """The service, or a worker that was lost, is the reason.

    Args:
        message: what happened.
        code: one of the stable error codes, such as `WORKER_LOST`.
        non_retryable: whether a retry is useless. Default False.
    """

    def __init__(self, message: str, *, code: str = "", non_retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.non_retryable = non_retryable


class ActivityError(FailureError):
    """An activity failed, was cancelled or timed out; `cause` is its own error.

    `activity_type`, `activity_id`, `scheduled_event_id`, `started_event_id` (0 when it never started) and `identity`
    (of the last worker) say which; `retry_state` says why it was not tried again.
    """

    scheduled_event_id: int = 0
    started_event_id: int = 0
    identity: str = ""
    activity_type: str = ""
    activity_id: str = ""
    retry_state: RetryState | None = None


class ChildWorkflowError(FailureError):
    """A child workflow failed, was cancelled, terminated or timed out; `cause` is its own error.

    `namespace`, `workflow_id`, `run_id`, `workflow_type`, `initiated_event_id` and `started_event_id` say which;
    `retry_state` says why it was not tried again.
    """

    namespace: str = ""
    workflow_id: str = ""
    run_id: str = ""
    workflow_type: str = ""
    initiated_event_id: int = 0
    started_event_id: int = 0
    retry_state: RetryState | None = None


class WorkflowAlreadyStartedError(FailureError):
    """A workflow of this id runs already, or ran and its id may not be used again.

    Args:
        workflow_id: the id that was asked for.
        workflow_type: the type that was to be started.
        run_id: the run that holds the id, where the service told it.
    """

    def __init__(self, workflow_id: str, workflow_type: str, *, run_id: str | None = None) -> None:
        super().__init__(
            f"workflow {workflow_id!r} is already started; choose another id, or an id_conflict_policy "
            "(it runs) or id_reuse_policy (it is closed) that allows it"
        )
        self.workflow_id = workflow_id
        self.workflow_type = workflow_type
        self.run_id = run_id


class WorkflowFailureError(PerdureError):
    """A workflow did not return a result; `cause` is the tree of what happened.

    Raised by `handle.result()`: the cause is an `ApplicationError`, `ActivityError`, `ChildWorkflowError`,
    `CancelledError`, `TerminatedError` or `TimeoutError`.
    """

    def __init__(self, message: str = "Workflow execution failed", *, cause: BaseException) -> None:
        super().__init__(message)
        self.__cause__: BaseException | None = cause

    @property
    def cause(self) -> BaseException:
        """Why the workflow failed."""
        assert self.__cause__ is not None
        return self.__cause__

    def __str__(self) -> str:
        return f"{self.args[0]}: {type(self.cause).__name__}: {self.cause}"


class ActivityFailureError(PerdureError):
    """A standalone activity did not return; `cause` says why.

    Raised by `result()` and `execute_activity`. The cause is an `ApplicationError`, `CancelledError`,
    `TerminatedError` or `TimeoutError`.
    """

    def __init__(self, message: str = "Activity failed", *, cause: BaseException) -> None:
        super().__init__(message)
        self.__cause__: BaseException | None = cause

    @property
    def cause(self) -> BaseException:
        """Why the activity failed."""
        assert self.__cause__ is not None
        return self.__cause__

    def __str__(self) -> str:
        return f"{self.args[0]}: {type(self.cause).__name__}: {self.cause}"


class ActivityAlreadyStartedError(PerdureError):
    """The id is taken by a standalone activity, and the id policies do not allow another.

    Args:
        activity_id: the id that is taken.
        activity_type: the type that was to be started.
        run_id: the run that has it, where known.
    """

    def __init__(self, activity_id: str, activity_type: str, *, run_id: str | None = None) -> None:
        super().__init__(f"Activity {activity_id!r} is already started")
        self.activity_id = activity_id
        self.activity_type = activity_type
        self.run_id = run_id


class WorkflowContinuedAsNewError(PerdureError):
    """The run went on as another one, and `result(follow_runs=False)` was asked for."""

    def __init__(self, new_execution_run_id: str) -> None:
        super().__init__("Workflow continued as new")
        self.new_execution_run_id = new_execution_run_id


class WorkflowQueryFailedError(PerdureError):
    """A query's handler raised, or there is none of that name.

    Args:
        message: what the handler raised.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class WorkflowUpdateFailedError(PerdureError):
    """An update was rejected or its handler raised; `cause` says why."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__("Workflow update failed")
        self.__cause__: BaseException | None = cause

    @property
    def cause(self) -> BaseException:
        """Why the update failed."""
        assert self.__cause__ is not None
        return self.__cause__

    def __str__(self) -> str:
        return f"{self.args[0]}: {type(self.cause).__name__}: {self.cause}"


class AsyncActivityCancelledError(PerdureError):
    """The activity behind an `AsyncActivityHandle` was asked to stop: raised by its `heartbeat`.

    Stop the work, then say so with `handle.report_cancellation()`.
    """


class RPCError(PerdureError):
    """The service refused a request, or could not be reached.

    Args:
        message: what was wrong and what to do.
        status: the HTTP status; 503 when the service could not be reached.
        code: the stable error code, such as `WORKFLOW_NOT_FOUND`: a `str`.
        details: what the service said beside it.

    Example:
        >>> error = RPCError("no workflow 'x'", status=404, code="WORKFLOW_NOT_FOUND")
        >>> error.status, error.code == "WORKFLOW_NOT_FOUND"
        (404, True)
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        code: Code | str = Code.UNAVAILABLE,
        details: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code: Code = Code(code)
        self.status: int = status if status is not None else STATUS[self.code]
        self.details: Mapping[str, Any] = details

    @property
    def retry_after(self) -> float:
        """Seconds before which a repeat is in vain, as the service or a proxy said; 0 when it said nothing.

        The client and workers keep to it by themselves; this is for who repeats in another way.

        Example:
            >>> RPCError("too much", code="RESOURCE_EXHAUSTED", details={"retry_after": 2}).retry_after
            2.0
        """
        return asked_seconds(self.details)

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


def is_cancelled_exception(exception: BaseException) -> bool:
    """Whether an exception means that something was cancelled: itself, or the cause of a failed activity or child.

    Example:
        >>> is_cancelled_exception(asyncio.CancelledError())
        True
    """
    if isinstance(exception, asyncio.CancelledError | CancelledError):
        return True
    return isinstance(exception, ActivityError | ChildWorkflowError) and isinstance(exception.cause, CancelledError)
