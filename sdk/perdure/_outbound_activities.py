"""What interceptors of clients see of activities: those without a workflow, and those that are ended from elsewhere.

The inputs are plain and mutable, as all inputs of interceptors; an id without a run means the current run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure._options import NamedRetryPolicy
from perdure_proto.options import IdConflictPolicy, IdReusePolicy, Priority, RetryPolicy

if TYPE_CHECKING:
    from perdure._client_interceptor import OutboundInterceptor
    from perdure._parameters import Parameters
    from perdure._standalone import ActivityExecution, ActivityExecutionDescription, StandaloneActivityHandle
    from perdure_proto.service import CountActivitiesAnswer


@dataclass
class StartActivityInput:
    """The start of a standalone activity: options as in `StartActivityOptions`, None where nothing was said."""

    activity_type: str
    args: Sequence[Any]
    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    arg_types: Parameters | None = None
    """Annotated types of the parameters; None where the activity was given by name."""
    result_type: Any = None
    task_queue: str | None = None
    start_to_close_timeout: timedelta | None = None
    schedule_to_close_timeout: timedelta | None = None
    schedule_to_start_timeout: timedelta | None = None
    heartbeat_timeout: timedelta | None = None
    retry_policy: RetryPolicy | NamedRetryPolicy | None = None
    id_reuse_policy: IdReusePolicy | None = None
    id_conflict_policy: IdConflictPolicy | None = None
    memo: Mapping[str, Any] | None = None
    search_attributes: Mapping[str, Any] | None = None
    priority: Priority | None = None
    concurrency_key: str | None = None
    concurrency_max: int | None = None
    request_id: str | None = None
    static_summary: str | None = None
    static_details: str | None = None


@dataclass
class GetActivityResultInput:
    """The wait for a standalone activity."""

    activity_id: str
    activity_run_id: str | None
    result_type: Any = None


@dataclass
class DescribeActivityInput:
    """A look at a standalone activity."""

    activity_id: str
    activity_run_id: str | None


@dataclass
class CancelActivityInput:
    """A request to a standalone activity to stop."""

    activity_id: str
    activity_run_id: str | None
    reason: str = ""


@dataclass
class TerminateActivityInput:
    """The end of a standalone activity at once."""

    activity_id: str
    activity_run_id: str | None
    reason: str = ""


@dataclass
class ListActivitiesInput:
    """A list of standalone activities."""

    query: str
    limit: int | None = None


@dataclass
class CountActivitiesInput:
    """A count of standalone activities."""

    query: str


@dataclass(frozen=True)
class AsyncActivityIDReference:
    """An activity by its ids: whatever attempt of it is pending. One of no workflow is a standalone activity."""

    workflow_id: str | None
    run_id: str | None
    activity_id: str


@dataclass
class HeartbeatAsyncActivityInput:
    """A sign of life from elsewhere, for an activity by its ids or for the attempt that a token was made for."""

    id_or_token: AsyncActivityIDReference | bytes
    details: Sequence[Any]


@dataclass
class CompleteAsyncActivityInput:
    """A result from elsewhere."""

    id_or_token: AsyncActivityIDReference | bytes
    result: Any


@dataclass
class FailAsyncActivityInput:
    """A failure from elsewhere."""

    id_or_token: AsyncActivityIDReference | bytes
    error: BaseException
    last_heartbeat_details: Sequence[Any]


@dataclass
class ReportCancellationAsyncActivityInput:
    """Word from elsewhere that an activity has stopped."""

    id_or_token: AsyncActivityIDReference | bytes
    details: Sequence[Any]


class OutboundActivities:
    """The part of `OutboundInterceptor` that is about activities."""

    next: OutboundInterceptor

    async def start_activity(self, input: StartActivityInput) -> StandaloneActivityHandle[Any]:
        """`Client.start_activity` and `execute_activity`."""
        return await self.next.start_activity(input)

    async def get_activity_result(self, input: GetActivityResultInput) -> Any:
        """`StandaloneActivityHandle.result`."""
        return await self.next.get_activity_result(input)

    async def describe_activity(self, input: DescribeActivityInput) -> ActivityExecutionDescription:
        """`StandaloneActivityHandle.describe`."""
        return await self.next.describe_activity(input)

    async def cancel_activity(self, input: CancelActivityInput) -> None:
        """`StandaloneActivityHandle.cancel`."""
        await self.next.cancel_activity(input)

    async def terminate_activity(self, input: TerminateActivityInput) -> None:
        """`StandaloneActivityHandle.terminate`."""
        await self.next.terminate_activity(input)

    def list_activities(self, input: ListActivitiesInput) -> AsyncIterator[ActivityExecution]:
        """`Client.list_activities`."""
        return self.next.list_activities(input)

    async def count_activities(self, input: CountActivitiesInput) -> CountActivitiesAnswer:
        """`Client.count_activities`."""
        return await self.next.count_activities(input)

    async def heartbeat_async_activity(self, input: HeartbeatAsyncActivityInput) -> None:
        """`AsyncActivityHandle.heartbeat`."""
        await self.next.heartbeat_async_activity(input)

    async def complete_async_activity(self, input: CompleteAsyncActivityInput) -> None:
        """`AsyncActivityHandle.complete`."""
        await self.next.complete_async_activity(input)

    async def fail_async_activity(self, input: FailAsyncActivityInput) -> None:
        """`AsyncActivityHandle.fail`."""
        await self.next.fail_async_activity(input)

    async def report_cancellation_async_activity(self, input: ReportCancellationAsyncActivityInput) -> None:
        """`AsyncActivityHandle.report_cancellation`."""
        await self.next.report_cancellation_async_activity(input)
