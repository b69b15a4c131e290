"""The one seam between what users import and whoever runs a workflow or an activity.

`current` holds the runtime of the workflow whose code is running, or None. The SDK turns each public call into a
request and hands it over; the worker implements the protocols. Neither side knows more of the other than this.
Values in requests are Python values: the runtime converts them, with the data converter of its client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import ContextVar
from datetime import datetime, timedelta
from random import Random
from typing import Any, NoReturn, Protocol
from uuid import UUID

from msgspec import Struct

from perdure.metrics import MetricMeter
from perdure_proto.options import CancellationType, IdReusePolicy, ParentClosePolicy, Priority, RetryPolicy


class CompleteAsyncError(BaseException):
    """Leaves the code of an activity that is completed from elsewhere; the worker alone catches it."""


class ActivityRequest(Struct, frozen=True, kw_only=True):
    """One call of an activity from workflow code. `result_type` is what its result is decoded to.

    `local` runs it in the workflow's own worker. Timeouts and policy are as the definition, its options or the
    defaults say: the runtime adds none.
    """

    activity_type: str
    args: tuple[object, ...]
    kwargs: dict[str, object]
    result_type: Any
    local: bool = False
    activity_id: str | None = None
    task_queue: str | None = None
    start_to_close_timeout: timedelta | None = None
    schedule_to_close_timeout: timedelta | None = None
    schedule_to_start_timeout: timedelta | None = None
    heartbeat_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    cancellation_type: CancellationType = "try_cancel"
    local_retry_threshold: timedelta | None = None
    summary: str | None = None
    priority: Priority | None = None
    concurrency_key: str | None = None
    concurrency_max: int | None = None
    arg_types: Sequence[Any] | None = None
    """Annotated types of the positional parameters, in order (a `Parameters`); None when called by name."""
    headers: Mapping[str, Any] | None = None


class ChildWorkflowRequest(Struct, frozen=True, kw_only=True):
    """One child workflow that workflow code starts. What is None is the runtime's to choose: a fresh id, its queue."""

    workflow_type: str
    args: tuple[object, ...]
    kwargs: dict[str, object]
    result_type: Any
    id: str | None = None
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
    memo: Mapping[str, Any] = {}
    search_attributes: Mapping[str, Any] = {}
    static_summary: str = ""
    static_details: str = ""
    priority: Priority | None = None
    arg_types: Sequence[Any] | None = None
    """Annotated types of the positional parameters, in order; None when called by name."""
    headers: Mapping[str, Any] | None = None


class Target(Struct, frozen=True, kw_only=True):
    """Another execution. Without a run id its current one is meant, without a namespace one of the same."""

    workflow_id: str
    run_id: str = ""
    namespace: str = ""
    child_workflow_only: bool = False


class SignalExternalRequest(Struct, frozen=True, kw_only=True):
    """A signal from workflow code to another execution."""

    target: Target
    signal_name: str
    args: tuple[object, ...]
    kwargs: dict[str, object]
    arg_types: Sequence[Any] | None = None
    headers: Mapping[str, Any] | None = None


class CancelExternalRequest(Struct, frozen=True, kw_only=True):
    """A request from workflow code that another execution stop."""

    target: Target
    reason: str = ""


class ContinueAsNewRequest(Struct, frozen=True, kw_only=True):
    """What the next run is to be; None means as this one."""

    args: tuple[object, ...]
    kwargs: dict[str, object]
    workflow_type: str | None = None
    task_queue: str | None = None
    run_timeout: timedelta | None = None
    task_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    memo: dict[str, Any] | None = None
    search_attributes: dict[str, Any] | None = None
    backoff_start_interval: timedelta | None = None
    arg_types: Sequence[Any] | None = None
    """Annotated types of the next run's positional parameters; None when it is this type, or was named."""
    headers: Mapping[str, Any] | None = None


class Handler(Struct, frozen=True, kw_only=True):
    """A signal, query or update handler: the closure and the types its arguments come back as.

    `name` None makes it dynamic: it takes `(name, args)` of any message that has no handler of its own.
    """

    kind: str
    """`signal`, `query` or `update`."""
    name: str | None
    fn: Callable[..., Any]
    arg_types: Sequence[Any] | None = None
    kwarg_types: dict[str, Any] = {}
    result_type: Any = None
    unfinished_policy: str = "warn_and_abandon"
    description: str = ""


class Channel(Protocol):
    """A mailbox of signals of one name: what `SignalChannel` wraps."""

    def receive(self) -> asyncio.Future[Any]:
        """The next value; cancelling the future before it is taken gives the value back."""
        ...

    def receive_nowait(self) -> Any:
        """The next value, or raises `asyncio.QueueEmpty`."""
        ...


class OpenWaitpoint(Struct, frozen=True):
    """A waitpoint that was opened: what completes it, and the mailbox in which its value arrives.

    A value that does not fit arrives as the `FailureError` that it is to raise.
    """

    token: str
    url: str
    channel: Channel


class WorkflowRuntime(Protocol):
    """What a running workflow can ask for. Every method is called from workflow code, on the workflow's loop."""

    def start_activity(self, request: ActivityRequest) -> asyncio.Future[Any]:
        """Schedules an activity, also a local one, now. `cancel()` on the future follows its cancellation type.

        The future hashes by creation number. In a query or a validator this raises.
        """
        ...

    def start_child_workflow(self, request: ChildWorkflowRequest) -> asyncio.Future[Any]:
        """Starts a child now: a `ChildWorkflowHandle`. `cancel()` on it follows its cancellation type."""
        ...

    def child_started(self, child: asyncio.Future[Any]) -> asyncio.Future[None]:
        """Done when that child has started, or could not be; cancelling it cancels the child."""
        ...

    def signal_external_workflow(self, request: SignalExternalRequest) -> Awaitable[None]:
        """Done when the other execution has the signal. Cancelling it takes back a signal that has not left.

        Awaited at once: with interceptors it is a coroutine.
        """
        ...

    def cancel_external_workflow(self, request: CancelExternalRequest) -> asyncio.Future[None]:
        """Done when the other execution has been asked to stop. Cancelling it only stops waiting."""
        ...

    def start_timer(self, delay: float, summary: str | None = None) -> asyncio.Future[None]:
        """A durable timer of so many seconds; cancelling the future cancels it."""
        ...

    def wait_condition(self, fn: Callable[[], bool]) -> asyncio.Future[None]:
        """Done when `fn()` is true; asked after every step in which something happened."""
        ...

    def set_handler(self, handler: Handler) -> None:
        """Declares or replaces a handler; messages that waited for it are delivered soon, never inline."""
        ...

    def set_validator(self, update_name: str | None, fn: Callable[..., None]) -> None:
        """Declares the validator of an update."""
        ...

    def signal_channel(self, name: str, value_type: Any) -> Channel:
        """The channel of a signal name; a second call gives the same. A handler of that name is an error."""
        ...

    def waitpoint(self, name: str, value_type: Any, expires_at: datetime | None) -> OpenWaitpoint:
        """Another waitpoint of a name; it can be completed until `expires_at`."""
        ...

    def continue_as_new(self, request: ContinueAsNewRequest) -> NoReturn:
        """Ends this run and begins the next."""
        ...

    def upsert_search_attributes(self, upserted: dict[str, Any]) -> None:
        """Changes search attributes, of JSON values that were checked; None removes one."""
        ...

    def upsert_memo(self, upserted: dict[str, Any]) -> None:
        """Changes the memo, of JSON values; None removes a key."""
        ...

    def set_current_details(self, details: str) -> None:
        """Says what the workflow does now."""
        ...

    def current_details(self) -> str:
        """What the workflow said of itself last in this run."""
        ...

    def info(self) -> Any:
        """The `workflow.Info` of this run."""
        ...

    def has_last_completion_result(self) -> bool:
        """Whether a run of the chain has completed before."""
        ...

    def last_completion_result(self, result_type: Any) -> Any:
        """The last result of the chain; None where there is none."""
        ...

    def last_failure(self) -> BaseException | None:
        """What the run before failed with."""
        ...

    def now(self) -> datetime:
        """Workflow time, in UTC."""
        ...

    def now_seconds(self) -> float:
        """Workflow time as `time.time()` gives it."""
        ...

    def random(self) -> Random:
        """The workflow's own seeded generator."""
        ...

    def uuid4(self) -> UUID:
        """A UUID from the workflow's own generator."""
        ...

    def is_replaying(self) -> bool:
        """Whether what runs now ran before."""
        ...

    def fails_task(self, error: BaseException) -> bool:
        """Whether an exception of workflow code parks the workflow, rather than failing it."""
        ...

    def is_read_only(self) -> bool:
        """Whether a query or a validator runs now."""
        ...

    def all_handlers_finished(self) -> bool:
        """Whether no signal or update handler is under way."""
        ...

    def cancellation_reason(self) -> str | None:
        """Why the workflow was asked to stop; None when it was not."""
        ...

    def current_update(self) -> Any:
        """The `workflow.UpdateInfo` of the update whose handler runs; None outside one."""
        ...

    def patched(self, patch_id: str, *, deprecated: bool) -> bool:
        """Whether new code is to run for this patch."""
        ...

    def log(self, level: int, message: str, args: tuple[object, ...], extra: dict[str, Any]) -> None:
        """One log record, dropped on replay."""
        ...

    def never_awaited(self, name: str, filename: str, line: int) -> None:
        """A call of an activity or workflow, made in this workflow at that line, was dropped without an await.

        Called from a finalizer, on any thread and inside of any other workflow: it only takes a note. The note means
        nothing after the runtime was closed, or when the workflow left the block by an exception.
        """
        ...

    def converter(self) -> Any:
        """The data converter of the worker's client."""
        ...

    def metric_meter(self) -> MetricMeter:
        """The client's meter, silent on replay."""
        ...

    def outside(self) -> AbstractContextManager[None]:
        """A block that sees real clocks and chance and may do I/O: for what exports, never for workflow code."""
        ...


class ActivityRuntime(Protocol):
    """What a running activity can ask for."""

    def info(self) -> Any:
        """The `activity.Info` of this attempt."""
        ...

    def heartbeat(self, details: tuple[object, ...]) -> None:
        """Says that it goes on; thread-safe."""
        ...

    def cancellation_details(self) -> Any:
        """Why it is being cancelled; None when it is not."""
        ...

    def is_cancelled(self) -> bool:
        """Whether it was asked to stop."""
        ...

    def metric_meter(self) -> MetricMeter:
        """The client's meter."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """The transaction that commits with its completion. Raises `ApplicationError` where there can be none."""
        ...


current: ContextVar[WorkflowRuntime | None] = ContextVar("perdure_workflow", default=None)
"""The runtime of the workflow whose code is running."""

current_activity: ContextVar[ActivityRuntime | None] = ContextVar("perdure_activity", default=None)
"""The runtime of the activity attempt that is running."""
