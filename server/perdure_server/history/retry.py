"""When a failed attempt is repeated, and why it is not: Temporal's retry rules, for activities and workflows alike."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from perdure_proto.failures import (
    ApplicationFailure,
    CanceledFailure,
    Failure,
    RetryState,
    ServerFailure,
    TerminatedFailure,
    TimeoutFailure,
)
from perdure_proto.options import RetryPolicy

DEFAULT_POLICY: Final = RetryPolicy()
_MAXIMUM_INTERVAL_FACTOR: Final = 100
_INTERVAL_MAX: Final = timedelta(days=365)
_RETRIED_TIMEOUTS: Final = {"START_TO_CLOSE": "TemporalTimeout:StartToClose", "HEARTBEAT": "TemporalTimeout:Heartbeat"}
"""By which name a policy can say that a timeout is not retried; Temporal's."""


class Retry(Struct, frozen=True):
    """`at` is when the next attempt begins; None when there is none, and `state` says why."""

    at: datetime | None
    state: RetryState


class Trial(Struct, frozen=True, kw_only=True):
    """The attempt that failed, and the bound that no later one may pass."""

    attempt: int
    now: datetime
    expiration: datetime | None = None


def plan_retry(policy: RetryPolicy, failure: Failure, trial: Trial) -> Retry:
    """Whether and when to try again.

    >>> from datetime import UTC
    >>> failure = Failure(message="x", info=ApplicationFailure(type="Boom"))
    >>> trial = Trial(attempt=1, now=datetime(2026, 1, 1, tzinfo=UTC))
    >>> plan_retry(RetryPolicy(), failure, trial).at
    datetime.datetime(2026, 1, 1, 0, 0, 1, tzinfo=datetime.timezone.utc)
    """
    if not _is_retryable(policy, failure):
        return Retry(None, "NON_RETRYABLE_FAILURE")
    if policy.maximum_attempts and trial.attempt >= policy.maximum_attempts:
        return Retry(None, "MAXIMUM_ATTEMPTS_REACHED")
    asked = _asked_delay(failure)
    at = trial.now + (interval(policy, trial.attempt) if asked is None else max(asked, timedelta(0)))
    if trial.expiration is not None and at > trial.expiration:
        return Retry(None, "TIMEOUT")
    return Retry(at, "IN_PROGRESS")


def interval(policy: RetryPolicy, attempt: int) -> timedelta:
    """How long to wait after a failed attempt (1, 2, …)."""
    maximum = policy.maximum_interval or min(policy.initial_interval * _MAXIMUM_INTERVAL_FACTOR, _INTERVAL_MAX)
    try:
        return min(policy.initial_interval * policy.backoff_coefficient ** (attempt - 1), maximum)
    except OverflowError:
        return maximum


def _is_retryable(policy: RetryPolicy, failure: Failure) -> bool:
    info = failure.info
    if isinstance(info, ApplicationFailure):
        return not info.non_retryable and info.type not in policy.non_retryable_error_types
    if isinstance(info, ServerFailure):
        return not info.non_retryable
    if isinstance(info, TimeoutFailure):
        name = _RETRIED_TIMEOUTS.get(info.timeout_type)
        return name is not None and name not in policy.non_retryable_error_types
    return not isinstance(info, CanceledFailure | TerminatedFailure)


def _asked_delay(failure: Failure) -> timedelta | None:
    return failure.info.next_retry_delay if isinstance(failure.info, ApplicationFailure) else None
