"""Failures that the worker itself reports: what user code did not raise."""

from __future__ import annotations

from perdure_proto.errors import Code
from perdure_proto.failures import ApplicationFailure, Failure, ServerFailure, TimeoutFailure, TimeoutType


def refused(message: str, code: str) -> Failure:
    """The service did not take it; repeating does not mend it."""
    return Failure(message=message, info=ApplicationFailure(type=code, non_retryable=True))


def broken(error: BaseException | None) -> Failure:
    """The worker's own code raised."""
    return Failure(message=f"{type(error).__name__}: {error}", info=ApplicationFailure(type=type(error).__name__))


def worker_stopped() -> Failure:
    """The worker stopped before the attempt was done; another worker may try again."""
    return Failure(
        message="the worker was shut down before the attempt was done", info=ServerFailure(code=Code.WORKER_LOST)
    )


def out_of_time(kind: TimeoutType = "START_TO_CLOSE") -> Failure:
    """The attempt took longer than it may, or all of them together did."""
    return Failure(message="the attempt took too long", info=TimeoutFailure(timeout_type=kind))


def nobody_asked() -> Failure:
    """A cancellation came out of user code that nobody had requested."""
    return Failure(
        message="the activity raised CancelledError, though its cancellation was not requested",
        info=ApplicationFailure(type="CancelledError"),
    )
