"""Activities: functions that do what workflows must not, run by workers and tried again until they succeed.

`defn` declares one; the rest is for the code inside of a running one.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal, NoReturn, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

from msgspec import Struct

from perdure._definition import Activity, ActivityDefinition, ActivityHandle, AsyncActivity, SyncActivity
from perdure._loggers import ActivityLogger
from perdure._options import ActivityCancellationType, ActivityOptions, checked
from perdure._runtime import ActivityRuntime, CompleteAsyncError, current_activity
from perdure._signature import caller, scope_around
from perdure.converter import PayloadConverter
from perdure.exceptions import ApplicationError
from perdure.metrics import MetricMeter
from perdure_proto.options import Priority, RetryPolicy

__all__ = [
    "Activity",
    "ActivityCancellationDetails",
    "ActivityCancellationType",
    "ActivityHandle",
    "ActivityOptions",
    "AsyncActivity",
    "Info",
    "SyncActivity",
    "cancellation_details",
    "defn",
    "heartbeat",
    "in_activity",
    "info",
    "is_cancelled",
    "logger",
    "metric_meter",
    "payload_converter",
    "raise_complete_async",
    "transaction",
]

P = ParamSpec("P")
R = TypeVar("R")

Executor = Literal["thread", "process"]


class Info(Struct, frozen=True, kw_only=True):
    """Which attempt of which activity runs. Times are in UTC."""

    activity_id: str
    activity_type: str
    attempt: int = 1
    """1 for the first."""
    heartbeat_details: Sequence[Any] = ()
    """What the last heartbeat of the attempt before carried."""
    task_queue: str
    workflow_id: str
    workflow_run_id: str
    workflow_type: str
    workflow_namespace: str
    scheduled_time: datetime
    """When the first attempt was scheduled."""
    current_attempt_scheduled_time: datetime
    started_time: datetime
    start_to_close_timeout: timedelta | None = None
    schedule_to_close_timeout: timedelta | None = None
    heartbeat_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    priority: Priority | None = None
    is_local: bool = False
    headers: Mapping[str, Any] = MappingProxyType({})
    """What interceptors of the workflow have sent along."""
    task_token: bytes = b""
    """Names this attempt to the service: opaque, and all that `Client.get_async_activity_handle` needs. It is ASCII,
    so that it can be sent as text. Empty in a local activity."""


class ActivityCancellationDetails(Struct, frozen=True, kw_only=True):
    """Why an activity is being cancelled; at least one is true."""

    cancel_requested: bool = False
    """The workflow asked for it."""
    not_found: bool = False
    """The service no longer knows the attempt, such as when the workflow has closed."""
    timed_out: bool = False
    """One of its deadlines has passed."""
    paused: bool = False
    reset: bool = False
    worker_shutdown: bool = False
    """The worker stops."""


class _ActivityDecorator(Protocol):
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncActivity[P, R]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]  # see defn
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SyncActivity[P, R]: ...


# An `async def` matches both signatures; the first one wins, which is what is meant.
@overload
def defn(fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncActivity[P, R]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]  # see above
@overload
def defn(fn: Callable[P, R], /) -> SyncActivity[P, R]: ...
@overload
def defn(
    *, name: str | None = None, dynamic: bool = False, executor: Executor = "thread", **options: Unpack[ActivityOptions]
) -> _ActivityDecorator: ...
def defn(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    dynamic: bool = False,
    executor: Executor = "thread",
    **options: Unpack[ActivityOptions],
) -> Any:
    """Declares an activity: an `async def` (runs on the worker's loop) or a `def` (in a thread or a process).

    Args:
        fn: the function, where it is used as a bare decorator. A method works too.
        name: the activity type. Default: the function's name.
        dynamic: takes every type that has no activity of its own, and gets the list of its arguments, each read as the
            list's annotation says: `args: Sequence[RawValue]`, `args: list[str]`. Default False.
        executor: where a `def` runs: `"thread"` (default) or `"process"`.
        options: timeouts, retry policy and the rest of `ActivityOptions`; a call can replace each.

    Raises `TypeError` or `ValueError` for an option that is not valid.

    Example:
        >>> @defn(start_to_close_timeout=timedelta(seconds=10), retry_policy="fast")
        ... async def charge(amount: int) -> str:
        ...     return f"charged {amount}"
        >>> charge.name
        'charge'
    """
    checked_options = cast(ActivityOptions, checked(options, ActivityOptions, "an activity"))

    def decorate(fn: Callable[..., Any], depth: int = 1) -> Any:
        definition = ActivityDefinition(fn, name, dynamic=dynamic, scope=scope_around(fn, caller(depth)))
        definition.options, definition.executor = checked_options, executor
        return _declared(definition)

    return decorate if fn is None else decorate(fn, 2)


def _declared(definition: ActivityDefinition) -> Activity[..., Any]:
    if not inspect.isroutine(definition.fn):
        raise TypeError(f"{definition.fn!r} is not a function")
    if definition.executor not in {"thread", "process"}:
        raise ValueError(f"executor is 'thread' or 'process', not {definition.executor!r}")
    if definition.executor == "process" and definition.is_async:
        raise TypeError(f"activity {definition.name} is an async def: only a def runs in a process")
    return AsyncActivity(definition) if definition.is_async else SyncActivity(definition)


def _running() -> ActivityRuntime:
    runtime = current_activity.get()
    if runtime is None:
        raise RuntimeError("this works only inside a running activity; in a test, use ActivityEnvironment")
    return runtime


def in_activity() -> bool:
    """Whether the code runs inside an activity of a worker."""
    return current_activity.get() is not None


def info() -> Info:
    """Which attempt of which activity runs. Raises `RuntimeError` outside an activity."""
    return cast(Info, _running().info())


def heartbeat(*details: Any) -> None:
    """Says that the activity goes on; `details` are there for the next attempt in `info().heartbeat_details`.

    May be called often, and from any thread: the worker sends what is due.
    Raises `RuntimeError` outside an activity.

    Example:
        ``activity.heartbeat(row_number)``
    """
    _running().heartbeat(details)


def metric_meter() -> MetricMeter:
    """Metrics of activity code. Values belong to the namespace, the task queue and the activity type.

    Raises `RuntimeError` outside an activity.

    Example:
        ``activity.metric_meter().create_histogram("rows").record(len(rows))``
    """
    info = _running().info()
    belongs_to = {
        "namespace": info.workflow_namespace,
        "task_queue": info.task_queue,
        "activity_type": info.activity_type,
    }
    return _running().metric_meter().with_additional_attributes(belongs_to)


def cancellation_details() -> ActivityCancellationDetails | None:
    """Why the activity is being cancelled; None when it is not. Raises `RuntimeError` outside an activity."""
    return cast(ActivityCancellationDetails | None, _running().cancellation_details())


def payload_converter() -> PayloadConverter:
    """Reads the `RawValue`s that a dynamic activity takes. Raises `RuntimeError` outside an activity."""
    _ = _running()
    return PayloadConverter()


def is_cancelled() -> bool:
    """Whether the activity was asked to stop: what a `def` looks at. Raises `RuntimeError` outside an activity."""
    return _running().is_cancelled()


def raise_complete_async() -> NoReturn:
    """Leaves the activity to be completed from elsewhere; it must not be caught.

    The slot of the worker is free at once. The attempt goes on under its deadlines, heartbeats included, until
    somebody with its `info().task_token`, or its ids, says how it ended: see `Client.get_async_activity_handle`.

    Raises `RuntimeError` outside an activity, and a non-retryable `ApplicationError` in a local one.

    Example:
        >>> @defn(start_to_close_timeout=timedelta(days=7))
        ... def ask_a_person(question: str) -> str:
        ...     print(question, info().task_token.decode())
        ...     raise_complete_async()
    """
    if info().is_local:
        message = "a local activity cannot be completed from elsewhere: call it as a normal one"
        raise ApplicationError(message, type="INVALID_ARGUMENT", non_retryable=True)
    raise CompleteAsyncError


def transaction() -> AbstractAsyncContextManager[Any]:
    """A transaction on the service's own Postgres that commits with the activity's completion: exactly once.

    The block gets an `asyncpg` connection inside a transaction. Leaving it commits nothing yet: when the activity
    returns, its result is recorded in the same transaction, and both commit. When the activity raises, in the block or
    after it, is cancelled, timed out, or run a second time, its rows are rolled back. So of all attempts one commits,
    and its result is the activity's. What the code does besides (other databases, e-mail) can happen more than once,
    as in every activity. Until the activity returns its locks are held: return soon after the block.

    The worker needs the database: `Worker(database_url=…)` or `PERDURE_DATABASE_URL`.

    Raises `RuntimeError` outside an activity; `ApplicationError`, not retried, in a local activity, in a `def`, and
    when it is called a second time; `RPCError` when the service cannot be asked.

    Example:
        ``async with activity.transaction() as conn: await conn.execute("insert into paid values ($1)", order_id)``
    """
    return _running().transaction()


logger: ActivityLogger = ActivityLogger(logging.getLogger("perdure.activity"), {})
"""Logs with the activity's type, id and attempt as extra fields."""
