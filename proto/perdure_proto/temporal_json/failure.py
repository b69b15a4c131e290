"""Failures, retry policies and priorities.

The kind of a failure is told by the key of its info. A kind that perdure does not have (Nexus, a reset) is read as
an application failure without a type; `encodedAttributes` are left sealed, so ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from perdure_proto import failures as f
from perdure_proto.options import Priority, RetryPolicy
from perdure_proto.temporal_json import entry as e
from perdure_proto.temporal_json import enumerations as enums
from perdure_proto.temporal_json import notation as n
from perdure_proto.temporal_json.message import Message

RETRY_STATE: Final = e.at("retry_state", enums.RETRY_STATE)

RETRY_POLICY: Final = Message(
    RetryPolicy,
    e.at("initial_interval", n.DURATION),
    e.at("backoff_coefficient", n.NUMBER),
    e.timeouts("maximum_interval"),
    e.int32("maximum_attempts"),
    e.at("non_retryable_error_types", n.TEXTS),
)

PRIORITY: Final = Message(Priority, e.int32("priority_key"), e.text("fairness_key"), e.at("fairness_weight", n.NUMBER))

INFOS: Final[Mapping[str, Message[Any]]] = {
    "applicationFailureInfo": Message(
        f.ApplicationFailure,
        e.text("type"),
        e.flag("non_retryable"),
        e.details(),
        e.timeouts("next_retry_delay"),
    ),
    "timeoutFailureInfo": Message(
        f.TimeoutFailure, e.at("timeout_type", enums.TIMEOUT_TYPE), e.details("last_heartbeat_details")
    ),
    "canceledFailureInfo": Message(f.CanceledFailure, e.details()),
    "terminatedFailureInfo": Message(f.TerminatedFailure),
    "serverFailureInfo": Message(f.ServerFailure, e.flag("non_retryable")),
    "activityFailureInfo": Message(
        f.ActivityFailure,
        e.int64("scheduled_event_id", "started_event_id"),
        e.named("activity_type"),
        e.texts("activity_id", "identity"),
        RETRY_STATE,
    ),
    "childWorkflowExecutionFailureInfo": Message(
        f.ChildWorkflowFailure,
        e.text("namespace"),
        e.execution("workflow_id", "run_id", "workflowExecution"),
        e.named("workflow_type"),
        e.int64("initiated_event_id", "started_event_id"),
        RETRY_STATE,
    ),
}
"""The tables of infos by their keys in Temporal's failure."""

FAILURE: Final[Message[f.Failure]] = Message(
    f.Failure,
    e.text("message"),
    [e.variant("info", message, key) for key, message in INFOS.items()],
    e.text("stack_trace"),
    e.nested("cause", lambda: FAILURE),
)
