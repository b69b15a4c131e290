"""Failures that the worker itself reports: what user code did not raise."""

from __future__ import annotations

from perdure.exceptions import ApplicationError
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


def transaction_undone(reason: str) -> Failure:
    """The activity's transaction could not commit, and left nothing."""
    words = "the service was closing the activity" if reason == "sealed" else "the service does not know the run"
    info = ApplicationFailure(type=Code.TASK_NOT_FOUND)
    return Failure(message=f"the activity's transaction was rolled back: {words}", info=info)


def no_transaction(where: str) -> ApplicationError:
    """What `activity.transaction()` raises where there can be none: another attempt would meet the same."""
    return ApplicationError(f"activity.transaction() works {where}", type=Code.NOT_SUPPORTED, non_retryable=True)


ON_THE_LOOP = "in an `async def` activity alone, for it is on the worker's loop"


def nobody_asked() -> Failure:
    """A cancellation came out of user code that nobody had requested."""
    return Failure(
        message="the activity raised CancelledError, though its cancellation was not requested",
        info=ApplicationFailure(type="CancelledError"),
    )
