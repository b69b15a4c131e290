"""What goes in and out of one drive of a workflow: the values that the worker and a `WorkflowInstance` exchange.

Rules: plain data. A task of a workflow is driven by `activate`, and by `resolve` once for each local
activity that ended meanwhile; each gives an `Outcome` with *all* commands of the task so far. It knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from msgspec import Raw, Struct

from perdure._worker_interceptor import WorkflowInboundInterceptor
from perdure.metrics import MetricMeter
from perdure_proto.commands import AnyCommand, ScheduleActivityTask
from perdure_proto.events import WorkflowTaskFailedCause
from perdure_proto.failures import Failure, RetryState
from perdure_proto.options import RetryPolicy
from perdure_proto.payload import NULL
from perdure_worker.token_settings import TokenSettings


class LocalActivity(Struct, frozen=True, kw_only=True):
    """A local activity that the worker is to run now. Arguments are the Python values that were passed.

    `result_type` and retries are the instance's and the worker's: the worker repeats attempts by `retry_policy` and
    reports the last one alone, in a `LocalActivityResult`.
    """

    activity_id: str
    activity_type: str
    args: tuple[object, ...]
    kwargs: dict[str, object]
    start_to_close_timeout: timedelta | None = None
    schedule_to_close_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    local_retry_threshold: timedelta | None = None
    """The longest pause between two attempts that the worker makes itself; None: the timeout of a workflow task."""
    attempt: int = 1
    """The first attempt to make: above 1 after a durable pause."""
    headers: Mapping[str, Any] | None = None


class LocalActivityResult(Struct, frozen=True, kw_only=True):
    """How a local activity ended: a value, or the failure of its last attempt (`CanceledFailure` if cancelled).

    With `backoff` it has not: there is to be another attempt after that time, which is too long to wait here.
    """

    activity_id: str
    attempt: int = 1
    result: Raw = NULL
    encoding: str = ""
    failure: Failure | None = None
    backoff: timedelta | None = None
    retry_state: RetryState = "IN_PROGRESS"


class Outcome(Struct, kw_only=True):
    """What one drive asks for.

    With `failure` the *task* failed: respond `WorkflowTaskFailure(cause, failure)` and evict; nothing else counts.
    While `local_pending` is not 0 the completion waits for them, or is sent with `force_new_task` to keep them alive.
    """

    commands: list[AnyCommand]
    """All commands of this task so far, in order."""
    local_activities: list[LocalActivity]
    """To start now; each is told once."""
    local_cancelled: list[str]
    """Activity ids of local activities to cancel; told once."""
    local_pending: int = 0
    """Local activities that have not ended yet."""
    closed: bool = False
    """Whether the commands close the run."""
    current_details: str | None = None
    """What the workflow says of itself, where that changed in this task."""
    failure: Failure | None = None
    cause: WorkflowTaskFailedCause = "WORKFLOW_WORKER_UNHANDLED_FAILURE"
    error: BaseException | None = None
    """The exception behind `failure`, for the worker's log."""


def sole_activity(commands: list[AnyCommand]) -> ScheduleActivityTask | None:
    """The activity that the commands schedule, if they do nothing else."""
    if len(commands) == 1 and isinstance(commands[0], ScheduleActivityTask):
        return commands[0]
    return None


class InstanceOptions(Struct, frozen=True, kw_only=True):
    """What every instance of one worker shares."""

    namespace: str = "default"
    task_queue: str = "default"
    converter: Any
    """The client's `DataConverter`."""
    interceptors: tuple[type[WorkflowInboundInterceptor], ...] = ()
    """What runs around workflows, the first one outermost."""
    meter: MetricMeter = MetricMeter()
    waitpoints: TokenSettings = TokenSettings()
    """What tokens are made with; it says nothing where no service is there to take them."""
    watchdog: Any = None
    """Armed around each drive; None leaves out the check for blocked loops."""
