"""Failures: why something did not succeed, as a tree that mirrors Temporal's `Failure` message.

`info` says what kind of failure it is; `cause` is the failure below it. Exceptions become failures and failures
become exceptions in the SDK; the server reads only what retries need (type, flags, delay).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from msgspec import Raw, Struct

from perdure_proto.payload import NULL

TimeoutType = Literal["START_TO_CLOSE", "SCHEDULE_TO_START", "SCHEDULE_TO_CLOSE", "HEARTBEAT"]
RetryState = Literal[
    "IN_PROGRESS",
    "NON_RETRYABLE_FAILURE",
    "TIMEOUT",
    "MAXIMUM_ATTEMPTS_REACHED",
    "RETRY_POLICY_NOT_SET",
    "INTERNAL_SERVER_ERROR",
    "CANCEL_REQUESTED",
]


class FailureInfo(Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True, gc=False):
    """What kind of failure it is; one subclass for each."""


class ApplicationFailure(FailureInfo, frozen=True, kw_only=True, tag="application"):
    """Raised by user code. `details` is a JSON array."""

    type: str = ""
    non_retryable: bool = False
    details: Raw = NULL
    encoding: str = ""
    next_retry_delay: timedelta | None = None


class TimeoutFailure(FailureInfo, frozen=True, kw_only=True, tag="timeout"):
    """A deadline passed. `last_heartbeat_details` is a JSON array."""

    timeout_type: TimeoutType
    last_heartbeat_details: Raw = NULL
    encoding: str = ""


class CanceledFailure(FailureInfo, frozen=True, kw_only=True, tag="canceled"):
    """It was cancelled. `details` is a JSON array."""

    details: Raw = NULL
    encoding: str = ""


class TerminatedFailure(FailureInfo, frozen=True, kw_only=True, tag="terminated"):
    """It was terminated."""


class ServerFailure(FailureInfo, frozen=True, kw_only=True, tag="server"):
    """The service, or a worker that was lost, is the reason; `code` is one of `errors.Code`."""

    code: str = ""
    non_retryable: bool = False


class ActivityFailure(FailureInfo, frozen=True, kw_only=True, tag="activity"):
    """An activity failed; its own failure is the cause."""

    scheduled_event_id: int
    started_event_id: int = 0
    activity_type: str = ""
    activity_id: str = ""
    identity: str = ""
    retry_state: RetryState = "IN_PROGRESS"


class ChildWorkflowFailure(FailureInfo, frozen=True, kw_only=True, tag="child_workflow"):
    """A child workflow failed; its own failure is the cause."""

    namespace: str = ""
    workflow_id: str = ""
    run_id: str = ""
    workflow_type: str = ""
    initiated_event_id: int = 0
    started_event_id: int = 0
    retry_state: RetryState = "IN_PROGRESS"


AnyFailureInfo = (
    ApplicationFailure
    | TimeoutFailure
    | CanceledFailure
    | TerminatedFailure
    | ServerFailure
    | ActivityFailure
    | ChildWorkflowFailure
)


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One failure and what caused it. `stack_trace` is text, in the language it was raised in."""

    message: str = ""
    info: AnyFailureInfo
    stack_trace: str = ""
    cause: Failure | None = None
