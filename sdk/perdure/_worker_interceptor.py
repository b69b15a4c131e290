"""Interceptors of workers: what runs around activities and workflows, and what their code's own calls pass through.

Inbound is what the service asks of the code, outbound what the code asks for. Interceptors of a workflow are part of
it: they run in its loop, under its rules of determinism, again on each replay, and are made anew for each run.
Inputs are plain and mutable. `headers` are JSON values by name; what an outbound call carries, the inbound one gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn

from perdure._children import ChildWorkflowHandle
from perdure._definition import ActivityHandle
from perdure._workflow_info import Info as WorkflowInfo
from perdure.activity import Info as ActivityInfo
from perdure_proto.options import CancellationType, IdReusePolicy, ParentClosePolicy, Priority, RetryPolicy

# ---- activities ----------------------------------------------------------------------------------------------------


@dataclass
class ExecuteActivityInput:
    """An attempt of an activity: the function, bound where it is a method, and its arguments as its types."""

    fn: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])


class ActivityOutboundInterceptor:
    """What the calls of running activities pass through."""

    def __init__(self, next: ActivityOutboundInterceptor) -> None:
        self.next = next

    def info(self) -> ActivityInfo:
        """`activity.info()`."""
        return self.next.info()

    def heartbeat(self, *details: Any) -> None:
        """`activity.heartbeat(…)`; may be called from any thread."""
        self.next.heartbeat(*details)


class ActivityInboundInterceptor:
    """What runs around an attempt of an activity, a local one too; made for each attempt.

    Example:
        >>> class Timed(ActivityInboundInterceptor):
        ...     async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        ...         return await super().execute_activity(input)
    """

    def __init__(self, next: ActivityInboundInterceptor) -> None:
        self.next = next

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        """Called before the attempt; may pass on an outbound interceptor of its own, around the one it gets."""
        self.next.init(outbound)

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        """Runs the activity and gives its result. A `def` runs in its thread all the same."""
        return await self.next.execute_activity(input)


# ---- workflows, inbound --------------------------------------------------------------------------------------------


@dataclass
class ExecuteWorkflowInput:
    """A run of a workflow: its function, and its arguments as its types."""

    run_fn: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class HandleSignalInput:
    """A signal on its way to its handler, `fn`, or to a channel: `fn(value)` then takes the value."""

    signal: str
    fn: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class HandleQueryInput:
    """A query on its way to its handler, `fn`."""

    id: str
    query: str
    fn: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class HandleUpdateInput:
    """An update on its way to its validator, then to its handler: `fn` is the one or the other."""

    id: str
    update: str
    fn: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])


class WorkflowInboundInterceptor:
    """What runs around a workflow and its handlers; made for each run that is in memory.

    `handle_query` and `handle_update_validator` may not wait, nor `handle_signal` for what `receive_nowait()` takes.

    Example:
        >>> class Logged(WorkflowInboundInterceptor):
        ...     async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        ...         return await super().execute_workflow(input)
    """

    def __init__(self, next: WorkflowInboundInterceptor) -> None:
        self.next = next

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """Called before the run; may pass on an outbound interceptor of its own, around the one it gets."""
        self.next.init(outbound)

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        """Runs the workflow and gives its result."""
        return await self.next.execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        """Runs a signal's handler; or lets a channel take the signal, in the task that receives it, as it does.

        A signal that is not passed on is used up. Waitpoints do not pass here.
        """
        await self.next.handle_signal(input)

    async def handle_query(self, input: HandleQueryInput) -> Any:
        """Runs a query's handler and gives the answer."""
        return await self.next.handle_query(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        """Runs an update's validator; not again on replay. An exception rejects the update."""
        self.next.handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        """Runs an update's handler and gives its result."""
        return await self.next.handle_update_handler(input)


# ---- workflows, outbound -------------------------------------------------------------------------------------------


@dataclass
class ContinueAsNewInput:
    """The next run; None means as this one."""

    workflow: str | None
    args: Sequence[Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    task_queue: str | None = None
    run_timeout: timedelta | None = None
    task_timeout: timedelta | None = None
    backoff_start_interval: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    memo: Mapping[str, Any] | None = None
    search_attributes: Mapping[str, Any] | None = None
    arg_types: Sequence[Any] | None = None


@dataclass
class StartLocalActivityInput:
    """A call of a local activity."""

    activity: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    activity_id: str | None = None
    schedule_to_close_timeout: timedelta | None = None
    schedule_to_start_timeout: timedelta | None = None
    start_to_close_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    local_retry_threshold: timedelta | None = None
    cancellation_type: CancellationType = "try_cancel"
    summary: str | None = None
    arg_types: Sequence[Any] | None = None
    ret_type: Any = None


@dataclass
class StartActivityInput(StartLocalActivityInput):
    """A call of an activity."""

    task_queue: str | None = None
    heartbeat_timeout: timedelta | None = None
    priority: Priority | None = None
    concurrency_key: str | None = None
    concurrency_max: int | None = None


@dataclass
class StartChildWorkflowInput:
    """A call of a child workflow."""

    workflow: str
    args: Sequence[Any]
    id: str | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    namespace: str | None = None
    task_queue: str | None = None
    cancellation_type: CancellationType = "wait_cancellation_completed"
    parent_close_policy: ParentClosePolicy = "terminate"
    execution_timeout: timedelta | None = None
    run_timeout: timedelta | None = None
    task_timeout: timedelta | None = None
    id_reuse_policy: IdReusePolicy = "allow_duplicate"
    retry_policy: RetryPolicy | None = None
    cron_schedule: str = ""
    memo: Mapping[str, Any] = field(default_factory=dict[str, Any])
    search_attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    static_summary: str = ""
    static_details: str = ""
    priority: Priority | None = None
    arg_types: Sequence[Any] | None = None
    ret_type: Any = None


@dataclass
class SignalChildWorkflowInput:
    """A signal to a child."""

    signal: str
    args: Sequence[Any]
    child_workflow_id: str
    namespace: str | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    arg_types: Sequence[Any] | None = None


@dataclass
class SignalExternalWorkflowInput:
    """A signal to another workflow."""

    signal: str
    args: Sequence[Any]
    workflow_id: str
    workflow_run_id: str | None = None
    namespace: str | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    arg_types: Sequence[Any] | None = None


class WorkflowOutboundInterceptor:
    """What the calls of workflow code pass through; see `WorkflowInboundInterceptor.init`.

    Example:
        >>> class Tenant(WorkflowOutboundInterceptor):
        ...     def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        ...         input.headers = {**input.headers, "tenant": "acme"}
        ...         return super().start_activity(input)
    """

    def __init__(self, next: WorkflowOutboundInterceptor) -> None:
        self.next = next

    def info(self) -> WorkflowInfo:
        """`workflow.info()`."""
        return self.next.info()

    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        """Every call of an activity."""
        return self.next.start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
        """Every call of a local activity."""
        return self.next.start_local_activity(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> ChildWorkflowHandle[Any]:
        """Every call of a child workflow. The handle is there at once, before the child runs; this may not wait."""
        return await self.next.start_child_workflow(input)

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        """`ChildWorkflowHandle.signal`."""
        await self.next.signal_child_workflow(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        """`workflow.external(…).signal`."""
        await self.next.signal_external_workflow(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        """`workflow.continue_as_new(…)`."""
        self.next.continue_as_new(input)
        raise AssertionError("continue_as_new does not return")


# ---- the interceptor of a worker -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class WorkflowInterceptorClassInput:
    """What `workflow_interceptor_class` is told: nothing yet."""


class Interceptor:
    """An interceptor of workers, for `Worker(interceptors=[…])`.

    Example:
        >>> class Tenants(Interceptor):
        ...     def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        ...         return ActivityInboundInterceptor(next)
    """

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """What runs around an attempt, around the next one. Default: that one itself. Called for each attempt."""
        return next

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput, /
    ) -> type[WorkflowInboundInterceptor] | None:
        """The class whose instances run around workflows, made with the next one. Default None: none. Called once."""
        _ = input
        return None
