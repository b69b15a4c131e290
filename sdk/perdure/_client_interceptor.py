"""Interceptors of clients: what every call of a client passes through before it leaves.

An interceptor wraps the one after it; the last does the call. Inputs are plain and mutable: whoever holds one may
change it and pass it on. `headers` are JSON values by name that travel with the call into the log and on to whoever
handles it; they pass no payload codec. A client without interceptors builds none of this.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure._outbound_activities import OutboundActivities
from perdure._outbound_control import OutboundControl
from perdure_proto.options import IdConflictPolicy, IdReusePolicy, Priority, RetryPolicy

if TYPE_CHECKING:
    from perdure._handle import WorkflowHandle
    from perdure._history import WorkflowExecution, WorkflowExecutionDescription
    from perdure._messages import SignalCall
    from perdure._parameters import Parameters
    from perdure._update_handle import WaitForStage, WorkflowUpdateHandle
    from perdure_proto.events import AnyEvent
    from perdure_proto.service import CountWorkflowsAnswer


@dataclass
class StartWorkflowInput:
    """A start: the options are those of `StartOptions`, None where nothing was said."""

    workflow: str
    args: Sequence[Any]
    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    arg_types: Parameters | None = None
    """Annotated types of the parameters; None where the workflow was given by name."""
    ret_type: Any = None
    task_queue: str | None = None
    execution_timeout: timedelta | None = None
    run_timeout: timedelta | None = None
    task_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    id_reuse_policy: IdReusePolicy | None = None
    id_conflict_policy: IdConflictPolicy | None = None
    cron_schedule: str | None = None
    start_delay: timedelta | None = None
    memo: Mapping[str, Any] | None = None
    search_attributes: Mapping[str, Any] | None = None
    priority: Priority | None = None
    request_id: str | None = None
    start_signal: SignalCall | str | None = None
    start_signal_args: Sequence[Any] | None = None
    static_summary: str | None = None
    static_details: str | None = None
    request_eager_start: bool | None = None


@dataclass
class SignalWorkflowInput:
    """A signal to a workflow."""

    id: str
    run_id: str | None
    signal: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    arg_types: Parameters | None = None


@dataclass
class QueryWorkflowInput:
    """A question to a workflow."""

    id: str
    run_id: str | None
    query: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    arg_types: Parameters | None = None
    ret_type: Any = None


@dataclass
class StartWorkflowUpdateInput:
    """An update to a workflow; `execute_update` passes here too, with `wait_for_stage` `COMPLETED`."""

    id: str
    run_id: str | None
    update_id: str
    update: str
    args: Sequence[Any]
    wait_for_stage: WaitForStage
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    arg_types: Parameters | None = None
    ret_type: Any = None


@dataclass
class UpdateWithStartStartWorkflowInput(StartWorkflowInput):
    """The start of an update-with-start; its headers are the workflow's."""


@dataclass
class UpdateWithStartUpdateWorkflowInput:
    """The update of an update-with-start; its headers are the update's."""

    update_id: str
    update: str
    args: Sequence[Any]
    wait_for_stage: WaitForStage
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    arg_types: Parameters | None = None
    ret_type: Any = None


@dataclass
class StartWorkflowUpdateWithStartInput:
    """A start and an update in one request."""

    start_workflow_input: UpdateWithStartStartWorkflowInput
    update_workflow_input: UpdateWithStartUpdateWorkflowInput
    on_start: Callable[[WorkflowHandle[Any]], None]
    """Tells the operation of its workflow."""


@dataclass
class CancelWorkflowInput:
    """A request to stop."""

    id: str
    run_id: str | None
    reason: str = ""


@dataclass
class TerminateWorkflowInput:
    """An end at once."""

    id: str
    run_id: str | None
    reason: str = ""


@dataclass
class DescribeWorkflowInput:
    """A look at a workflow."""

    id: str
    run_id: str | None


@dataclass
class FetchWorkflowHistoryEventsInput:
    """A read of a run's events."""

    id: str
    run_id: str | None
    wait_new_event: bool = False
    """Whether new events are waited for until the run is closed."""


@dataclass
class ListWorkflowsInput:
    """A list."""

    query: str
    limit: int | None = None
    order_by: str = ""


@dataclass
class CountWorkflowsInput:
    """A count."""

    query: str


class OutboundInterceptor(OutboundActivities, OutboundControl):
    """What the calls of a client pass through. A subclass overrides what it is about, and calls `super()` or `next`.

    Args:
        next: the interceptor after this one.

    Example:
        >>> class Tenant(OutboundInterceptor):
        ...     async def start_workflow(self, input: StartWorkflowInput) -> Any:
        ...         input.headers = {**input.headers, "tenant": "acme"}
        ...         return await super().start_workflow(input)
    """

    def __init__(self, next: OutboundInterceptor) -> None:
        self.next = next

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any]:
        """`Client.start_workflow` and `execute_workflow`. The headers go with a `start_signal` too."""
        return await self.next.start_workflow(input)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        """`WorkflowHandle.signal`."""
        await self.next.signal_workflow(input)

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        """`WorkflowHandle.query`."""
        return await self.next.query_workflow(input)

    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> WorkflowUpdateHandle[Any]:
        """`WorkflowHandle.start_update` and `execute_update`."""
        return await self.next.start_workflow_update(input)

    async def start_update_with_start_workflow(
        self, input: StartWorkflowUpdateWithStartInput
    ) -> WorkflowUpdateHandle[Any]:
        """`Client.start_update_with_start_workflow` and `execute_update_with_start_workflow`."""
        return await self.next.start_update_with_start_workflow(input)

    async def cancel_workflow(self, input: CancelWorkflowInput) -> None:
        """`WorkflowHandle.cancel`."""
        await self.next.cancel_workflow(input)

    async def terminate_workflow(self, input: TerminateWorkflowInput) -> None:
        """`WorkflowHandle.terminate`."""
        await self.next.terminate_workflow(input)

    async def describe_workflow(self, input: DescribeWorkflowInput) -> WorkflowExecutionDescription:
        """`WorkflowHandle.describe`."""
        return await self.next.describe_workflow(input)

    def fetch_workflow_history_events(self, input: FetchWorkflowHistoryEventsInput) -> AsyncIterator[AnyEvent]:
        """`WorkflowHandle.events` and `fetch_history`."""
        return self.next.fetch_workflow_history_events(input)

    def list_workflows(self, input: ListWorkflowsInput) -> AsyncIterator[WorkflowExecution]:
        """`Client.list_workflows`."""
        return self.next.list_workflows(input)

    async def count_workflows(self, input: CountWorkflowsInput) -> CountWorkflowsAnswer:
        """`Client.count_workflows`."""
        return await self.next.count_workflows(input)


class Interceptor:
    """An interceptor of clients, for `Client.connect(interceptors=[…])`.

    One that is a `perdure_worker.Interceptor` too also takes part in every worker of that client.

    Example:
        >>> class Tenants(Interceptor):
        ...     def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        ...         return OutboundInterceptor(next)
    """

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """The interceptor of one client's calls, around the next one. Default: that one itself."""
        return next
