"""Exceptions to failures and back.

A failure is a tree: each `__cause__` is the failure below. What was read from a failure and is raised again keeps it
unchanged. Text that Postgres cannot hold is escaped, and long text is cut, since a failure has to be storable.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from perdure import exceptions
from perdure.converter import DataConverter
from perdure_proto.failures import (
    ActivityFailure,
    AnyFailureInfo,
    ApplicationFailure,
    CanceledFailure,
    ChildWorkflowFailure,
    Failure,
    ServerFailure,
    TerminatedFailure,
    TimeoutFailure,
)

CAUSES_MAX: Final = 20
"""How deep a tree of causes goes before the rest is left out."""

TEXT_MAX: Final = 20_000
"""Longest message or stack trace, in characters."""

_OWN_CODE: Final = (str(Path(__file__).parent), str(Path(asyncio.__file__).parent), f"perdure_worker{os.sep}")
"""Parts of file names whose frames only lead to user code."""


def failure_of(error: BaseException, converter: DataConverter) -> Failure:
    """The failure that an exception becomes.

    An exception that is none of perdure's becomes an application failure whose type is the name of its class.
    """
    return _failure_of(error, converter, CAUSES_MAX)


def _failure_of(error: BaseException, converter: DataConverter, depth: int) -> Failure:
    if isinstance(error, exceptions.FailureError) and error.failure is not None:
        return error.failure
    below = _cause_of(error) if depth > 0 else None
    return Failure(
        message=_storable(error.message if isinstance(error, exceptions.FailureError) else str(error)),
        info=_info_of(error, converter),
        stack_trace=_storable(_stack_of(error)),
        cause=_failure_of(below, converter, depth - 1) if below is not None else None,
    )


def _cause_of(error: BaseException) -> BaseException | None:
    """What it was raised from; of a group, its first member."""
    if error.__cause__ is None and isinstance(error, BaseExceptionGroup):
        return cast(BaseExceptionGroup[BaseException], error).exceptions[0]
    return error.__cause__


def _info_of(error: BaseException, converter: DataConverter) -> AnyFailureInfo:
    match error:
        case exceptions.ApplicationError():
            return _application(error, converter)
        case exceptions.CancelledError() | asyncio.CancelledError():
            raw, encoding = _details(getattr(error, "details", ()), converter)
            return CanceledFailure(details=raw, encoding=encoding)
        case exceptions.TimeoutError():
            raw, encoding = _details(error.last_heartbeat_details, converter)
            kind = error.type or "START_TO_CLOSE"
            return TimeoutFailure(timeout_type=kind, last_heartbeat_details=raw, encoding=encoding)
        case exceptions.TerminatedError():
            return TerminatedFailure()
        case exceptions.ServerError():
            return ServerFailure(code=error.code, non_retryable=error.non_retryable)
        case exceptions.ActivityError() | exceptions.ChildWorkflowError():
            return _wrapper(error)
        case _:
            return ApplicationFailure(type=type(error).__name__)


def _application(error: exceptions.ApplicationError, converter: DataConverter) -> ApplicationFailure:
    raw, encoding = _details(error.details, converter)
    return ApplicationFailure(
        type=error.type or "",
        non_retryable=error.non_retryable,
        details=raw,
        encoding=encoding,
        next_retry_delay=error.next_retry_delay,
    )


def _details(details: tuple[Any, ...], converter: DataConverter) -> tuple[Any, str]:
    """Details as they travel; those that cannot be written travel as their `repr`, so that the error itself is kept."""
    try:
        return converter.encode_values(details)
    except exceptions.ConversionError:
        return converter.encode_values([repr(detail) for detail in details])


def _wrapper(error: exceptions.ActivityError | exceptions.ChildWorkflowError) -> ActivityFailure | ChildWorkflowFailure:
    """The failure of one that user code or a test made itself."""
    retry_state = error.retry_state or "IN_PROGRESS"
    if isinstance(error, exceptions.ActivityError):
        return ActivityFailure(
            scheduled_event_id=error.scheduled_event_id,
            started_event_id=error.started_event_id,
            activity_type=error.activity_type,
            activity_id=error.activity_id,
            identity=error.identity,
            retry_state=retry_state,
        )
    return ChildWorkflowFailure(
        namespace=error.namespace,
        workflow_id=error.workflow_id,
        run_id=error.run_id,
        workflow_type=error.workflow_type,
        initiated_event_id=error.initiated_event_id,
        started_event_id=error.started_event_id,
        retry_state=retry_state,
    )


def _stack_of(error: BaseException) -> str:
    """The traceback as Python prints it, without the frames of perdure that only lead to user code."""
    if error.__traceback__ is None:
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    user = next((i for i, f in enumerate(frames) if not any(part in f.filename for part in _OWN_CODE)), 0)
    head = "Traceback (most recent call last):\n"
    return head + "".join(traceback.format_list(frames[user:])) + "".join(traceback.format_exception_only(error))


def _storable(text: str) -> str:
    if len(text) > TEXT_MAX:
        text = text[: TEXT_MAX // 2] + "\n… cut …\n" + text[-TEXT_MAX // 2 :]
    if "\0" not in text and text.isprintable():
        return text
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def exception_of(failure: Failure, converter: DataConverter) -> exceptions.FailureError:
    """The exception that a failure stands for, with its causes; the remote traceback is a note of it."""
    error = _MAKERS[type(failure.info)](failure, failure.info, converter)
    error.failure = failure
    if failure.stack_trace:
        error.add_note(f"\nRemote traceback:\n{failure.stack_trace.rstrip()}")
    if failure.cause is not None:
        error.__cause__ = exception_of(failure.cause, converter)
    return error


def _make_application(failure: Failure, info: ApplicationFailure, converter: DataConverter) -> exceptions.FailureError:
    return exceptions.ApplicationError(
        failure.message,
        *converter.decode_values(info.details, info.encoding),
        type=info.type or None,
        non_retryable=info.non_retryable,
        next_retry_delay=info.next_retry_delay,
    )


def _make_timeout(failure: Failure, info: TimeoutFailure, converter: DataConverter) -> exceptions.FailureError:
    details = converter.decode_values(info.last_heartbeat_details, info.encoding)
    return exceptions.TimeoutError(failure.message, type=info.timeout_type, last_heartbeat_details=details)


def _make_canceled(failure: Failure, info: CanceledFailure, converter: DataConverter) -> exceptions.FailureError:
    return exceptions.CancelledError(
        failure.message or "Cancelled", *converter.decode_values(info.details, info.encoding)
    )


def _make_terminated(failure: Failure, _: TerminatedFailure, __: DataConverter) -> exceptions.FailureError:
    return exceptions.TerminatedError(failure.message)


def _make_server(failure: Failure, info: ServerFailure, _: DataConverter) -> exceptions.FailureError:
    return exceptions.ServerError(failure.message, code=info.code, non_retryable=info.non_retryable)


def _make_wrapper(
    failure: Failure, info: ActivityFailure | ChildWorkflowFailure, _: DataConverter
) -> exceptions.FailureError:
    activity = isinstance(info, ActivityFailure)
    error = exceptions.ActivityError(failure.message) if activity else exceptions.ChildWorkflowError(failure.message)
    for name in info.__struct_fields__:
        setattr(error, name, getattr(info, name))
    return error


_MAKERS: Final[dict[type, Callable[[Failure, Any, DataConverter], exceptions.FailureError]]] = {
    ApplicationFailure: _make_application,
    TimeoutFailure: _make_timeout,
    CanceledFailure: _make_canceled,
    TerminatedFailure: _make_terminated,
    ServerFailure: _make_server,
    ActivityFailure: _make_wrapper,
    ChildWorkflowFailure: _make_wrapper,
}
