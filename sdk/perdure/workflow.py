"""Workflows: plain `async def` functions that survive their process.

`defn` declares one; the rest is for the code inside of a running one, and asks its runtime. What is imported here
from private modules is part of this surface.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, cast, overload
from uuid import UUID

from perdure._children import ChildWorkflowHandle, execute_child_workflow, start_child_workflow
from perdure._definition import Workflow, WorkflowDefinition
from perdure._external import ExternalWorkflowHandle, external
from perdure._handle import WorkflowHandle
from perdure._handler_decorators import query, signal, update
from perdure._handlers import HandlerUnfinishedPolicy, UnfinishedPolicy, UpdateHandler, runtime_for
from perdure._last_run import get_last_completion_result, get_last_failure, has_last_completion_result
from perdure._loggers import WorkflowLogger
from perdure._messages import (
    Query,
    QueryCall,
    Signal,
    SignalCall,
    SignalChannel,
    Update,
    UpdateCall,
    seconds_of,
)
from perdure._notes import (
    get_current_details,
    set_current_details,
    upsert_memo,
    upsert_search_attributes,
)
from perdure._options import ActivityOptions, ChildOptions, ChildWorkflowCancellationType, ContinueAsNewOptions
from perdure._runtime import current
from perdure._saga import Saga, saga
from perdure._signature import caller, check_type, remember_scope, scope_around
from perdure._update_handle import WorkflowUpdateHandle
from perdure._waitpoint import Waitpoint, waitpoint
from perdure._workflow_calls import (
    continue_as_new,
    execute_activity,
    execute_local_activity,
    metric_meter,
    start_activity,
)
from perdure._workflow_info import Info, ParentInfo, UpdateInfo
from perdure.converter import PayloadConverter
from perdure.exceptions import ContinueAsNewError, NondeterminismError
from perdure_proto.options import ParentClosePolicy

__all__ = [
    "ActivityOptions",
    "ChildOptions",
    "ChildWorkflowCancellationType",
    "ChildWorkflowHandle",
    "ContinueAsNewError",
    "ContinueAsNewOptions",
    "ExternalWorkflowHandle",
    "HandlerUnfinishedPolicy",
    "Info",
    "NondeterminismError",
    "ParentClosePolicy",
    "ParentInfo",
    "Query",
    "QueryCall",
    "Saga",
    "Signal",
    "SignalCall",
    "SignalChannel",
    "UnfinishedPolicy",
    "Update",
    "UpdateCall",
    "UpdateHandler",
    "UpdateInfo",
    "Waitpoint",
    "Workflow",
    "WorkflowHandle",
    "WorkflowUpdateHandle",
    "all_handlers_finished",
    "cancellation_reason",
    "continue_as_new",
    "current_update",
    "defn",
    "deprecate_patch",
    "execute_activity",
    "execute_child_workflow",
    "execute_local_activity",
    "external",
    "get_current_details",
    "get_last_completion_result",
    "get_last_failure",
    "has_last_completion_result",
    "in_workflow",
    "info",
    "is_replaying",
    "logger",
    "metric_meter",
    "now",
    "patched",
    "payload_converter",
    "query",
    "random",
    "saga",
    "set_current_details",
    "signal",
    "signal_channel",
    "sleep",
    "start_activity",
    "start_child_workflow",
    "time",
    "update",
    "upsert_memo",
    "upsert_search_attributes",
    "uuid4",
    "wait_condition",
    "waitpoint",
]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

VersioningBehavior = Literal["pinned", "auto_upgrade"]


class _WorkflowDecorator(Protocol):
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...


@overload
def defn(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
@overload
def defn(
    *,
    name: str | None = None,
    dynamic: bool = False,
    failure_exception_types: Sequence[type[BaseException]] | None = None,
    versioning_behavior: VersioningBehavior | None = None,
) -> _WorkflowDecorator: ...
def defn(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    dynamic: bool = False,
    failure_exception_types: Sequence[type[BaseException]] | None = None,
    versioning_behavior: VersioningBehavior | None = None,
) -> Any:
    """Declares a workflow: an `async def` that calls activities and waits, and does nothing else itself.

    Args:
        fn: the function, where it is used as a bare decorator.
        name: the workflow type. Default: the function's name.
        dynamic: takes every type that has no workflow of its own, and gets the list of its arguments, each read as the
            list's annotation says: `args: Sequence[RawValue]`, `args: list[str]`. Default False.
        failure_exception_types: which exceptions fail the workflow instead of its task. Default None: all but those
            that say that the program is wrong. `[Exception]` fails on all, `[]` only on `FailureError`.
        versioning_behavior: `"pinned"` or `"auto_upgrade"`, where workers are versioned.

    Raises `TypeError` for what is not an `async def`.

    Example:
        >>> @defn
        ... async def hello(name: str) -> str:
        ...     return f"Hello, {name}!"
        >>> hello.name
        'hello'
    """

    def decorate(fn: Callable[..., Any], depth: int = 1) -> Any:
        if not inspect.iscoroutinefunction(fn):
            raise TypeError(f"a workflow is an async def, which {getattr(fn, '__qualname__', fn)!r} is not")
        scope = scope_around(fn, caller(depth))
        remember_scope(fn, scope)
        definition = WorkflowDefinition(fn, name, dynamic=dynamic, scope=scope)
        definition.failure_exception_types = failure_exception_types
        definition.versioning_behavior = versioning_behavior
        return Workflow[..., Any](definition)

    return decorate if fn is None else decorate(fn, 2)


def in_workflow() -> bool:
    """Whether the code runs inside a workflow."""
    return current.get() is not None


def info() -> Info:
    """The run that asks. Raises `RuntimeError` outside a workflow."""
    return cast(Info, runtime_for("workflow.info()").info())


def now() -> datetime:
    """Workflow time in UTC: the same on replay. Raises `RuntimeError` outside a workflow."""
    return runtime_for("workflow.now()").now()


def time() -> float:
    """Workflow time in seconds since 1970, as `time.time()`. Raises `RuntimeError` outside a workflow."""
    return runtime_for("workflow.time()").now_seconds()


def random() -> Random:
    """The workflow's own generator: the same numbers on replay. Raises `RuntimeError` outside a workflow."""
    return runtime_for("workflow.random()").random()


def uuid4() -> UUID:
    """A UUID that is the same on replay. Raises `RuntimeError` outside a workflow."""
    return runtime_for("workflow.uuid4()").uuid4()


def is_replaying() -> bool:
    """Whether what runs now ran before. Raises `RuntimeError` outside a workflow."""
    return runtime_for("workflow.is_replaying()").is_replaying()


def payload_converter() -> PayloadConverter:
    """Reads the `RawValue`s that a dynamic workflow or handler takes. Raises `RuntimeError` outside a workflow.

    Example:
        ``name = workflow.payload_converter().from_payload(args[0].payload, str)``
    """
    _ = runtime_for("workflow.payload_converter()")
    return PayloadConverter()


def all_handlers_finished() -> bool:
    """Whether no signal or update handler is under way: what to wait for before returning.

    Raises `RuntimeError` outside a workflow.

    Example:
        ``await workflow.wait_condition(workflow.all_handlers_finished)``
    """
    return runtime_for("workflow.all_handlers_finished()").all_handlers_finished()


def cancellation_reason() -> str | None:
    """Why the workflow was asked to stop; None when it was not. Raises `RuntimeError` outside a workflow."""
    return runtime_for("workflow.cancellation_reason()").cancellation_reason()


def current_update() -> UpdateInfo | None:
    """The update whose handler runs; None outside of one. Raises `RuntimeError` outside a workflow."""
    return cast(UpdateInfo | None, runtime_for("workflow.current_update()").current_update())


def patched(id: str) -> bool:
    """Whether new code is to run: False only where history has passed here before the patch was there.

    Args:
        id: names the change; once used it keeps its meaning for ever.

    Raises `RuntimeError` outside a workflow.

    Example:
        ``await (new_way() if workflow.patched("faster-2026") else old_way())``
    """
    return runtime_for("workflow.patched()").patched(id, deprecated=False)


def deprecate_patch(id: str) -> None:
    """Says that a patch's old code is gone while histories that hold its mark still run.

    Raises `RuntimeError` outside a workflow.
    """
    runtime_for("workflow.deprecate_patch()").patched(id, deprecated=True)


async def sleep(duration: timedelta | float, *, summary: str | None = None) -> None:
    """Waits for a durable timer; `asyncio.sleep` is the same without a summary.

    Args:
        duration: a timedelta or seconds.
        summary: one line about the timer, for people.

    Raises `RuntimeError` outside a workflow.

    Example:
        ``await workflow.sleep(timedelta(days=30), summary="trial period")``
    """
    runtime = runtime_for("workflow.sleep()")
    seconds = seconds_of(duration)
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    await runtime.start_timer(seconds, summary)


async def wait_condition(fn: Callable[[], bool], *, timeout: timedelta | float | None = None) -> None:
    """Waits until a function of the workflow's own variables gives true; asked after each step.

    Args:
        fn: looks at variables, changes nothing.
        timeout: a timedelta or seconds. Default None: waits for ever.

    Raises `TimeoutError` when it is over, and `RuntimeError` outside a workflow.

    Example:
        ``await workflow.wait_condition(lambda: approved, timeout=timedelta(hours=1))``
    """
    future = runtime_for("workflow.wait_condition()").wait_condition(fn)
    if timeout is None:
        await future
        return
    async with asyncio.timeout(seconds_of(timeout)):
        await future


@overload
def signal_channel(name: str, type: type[T], /) -> SignalChannel[T]: ...
@overload
def signal_channel(name: str, type: Any = ..., /) -> SignalChannel[Any]: ...
def signal_channel(name: str, type: Any = Any, /) -> SignalChannel[Any]:
    """The signals of a name as a mailbox of values of a type.

    Args:
        name: the signal's name; a handler of the same name is an error.
        type: what each signal carries. Default: any JSON value.

    Raises `RuntimeError` outside a workflow, and `ConversionError` for a type nobody can read.

    Example:
        ``item = await workflow.signal_channel("items", int).receive()``
    """
    runtime = runtime_for("workflow.signal_channel()")
    check_type(type, f"signal {name!r}")
    return SignalChannel(runtime.signal_channel(name, type))


logger: WorkflowLogger = WorkflowLogger(logging.getLogger("perdure.workflow"), {})
"""Logs once: what ran before is silent on replay."""
