"""Completions that a service does not take: how large each is, and what is sent in place of one that was refused.

A result that is too large, say, must not be sent for ever, and its task must not stay open: it fails, and says why.
"""

from __future__ import annotations

from msgspec import Raw, structs

from perdure.exceptions import RPCError
from perdure_proto.errors import Code
from perdure_proto.events import WorkflowTaskFailedCause
from perdure_proto.tasks import (
    ActivityTaskCancellation,
    ActivityTaskCompletion,
    ActivityTaskFailure,
    AnyCompletion,
    QueryResult,
    QueryTaskCompletion,
    WorkflowTaskCompletion,
    WorkflowTaskFailure,
)
from perdure_worker.faults import refused

OVERHEAD_BYTES = 200
"""About what a completion costs besides its values."""
FAILURE_BYTES = 4_000
"""About what a failure with its stack costs."""
TOO_LARGE = frozenset({Code.BODY_TOO_LARGE, Code.PAYLOAD_TOO_LARGE})


def weight(completion: AnyCompletion) -> int:
    """About how many bytes it takes in a request."""
    match completion:
        case WorkflowTaskCompletion():
            return OVERHEAD_BYTES + length(completion.commands)
        case ActivityTaskCompletion():
            turn = 0 if completion.turn is None else length(completion.turn.commands)
            return OVERHEAD_BYTES + length(completion.result) + turn
        case QueryTaskCompletion():
            return OVERHEAD_BYTES + sum([length(result.result) for result in completion.results])
        case WorkflowTaskFailure() | ActivityTaskFailure():
            return FAILURE_BYTES
        case _:
            return OVERHEAD_BYTES


def length(value: Raw) -> int:
    """How many bytes of JSON."""
    return memoryview(value).nbytes


def replacement(completion: AnyCompletion, error: RPCError) -> AnyCompletion | None:
    """What to send in its place; None when nothing can be."""
    failure = refused(error.message, error.code)
    match completion:
        case WorkflowTaskCompletion():
            cause: WorkflowTaskFailedCause = "PAYLOADS_TOO_LARGE" if error.code in TOO_LARGE else "BAD_COMMAND"
            return WorkflowTaskFailure(token=completion.token, cause=cause, failure=failure)
        case ActivityTaskCompletion() if completion.turn is not None:
            return structs.replace(completion, turn=None)
        case ActivityTaskCompletion() | ActivityTaskCancellation():
            return ActivityTaskFailure(token=completion.token, failure=failure)
        case QueryTaskCompletion():
            results = tuple([QueryResult(query_id=one.query_id, failure=failure) for one in completion.results])
            refused_already = all(one.failure is not None for one in completion.results)
            return None if refused_already else QueryTaskCompletion(token=completion.token, results=results)
        case _:
            return None
