"""What the decorators make: definitions of activities and workflows, and the callable objects that stand for them.

A definition is data: a name, the function, its options, and its signature once it is resolved. `Activity` and
`Workflow` are what users hold: calling one gives a `Call`, which asks the runtime of the workflow it is awaited in,
and without one runs the activity's function. They know nothing of workers.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import logging
import sys
from collections.abc import Callable, Coroutine, Generator, Sequence
from datetime import timedelta
from types import CodeType, MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    Self,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from perdure._call import Call
from perdure._children import ChildWorkflowHandle, child_fields, until_started
from perdure._options import ActivityOptions, ChildOptions, checked
from perdure._runtime import ActivityRequest, ChildWorkflowRequest, WorkflowRuntime, current
from perdure._signature import Scope, Signature, is_untyped, resolve, resolve_dynamic

P = ParamSpec("P")
P2 = ParamSpec("P2")
R = TypeVar("R")
S = TypeVar("S")
R_co = TypeVar("R_co", covariant=True)

DEFAULT_START_TO_CLOSE: Final = timedelta(minutes=1)
"""How long an attempt may take where code gives neither this nor a schedule-to-close timeout."""

_log = logging.getLogger("perdure.activity")
_told: set[str] = set()
"""Activity types that ran on the default timeout: each is named once."""


class Definition:
    """What workflows and activities have: a type name, the function, and its signature."""

    def __init__(self, fn: Callable[..., Any], name: str | None, *, dynamic: bool, scope: Scope) -> None:
        self.fn = fn
        if dynamic and name is not None:
            raise TypeError(f"{name!r} is dynamic: it has no name, for it takes every type that nothing else takes")
        self.name: str = name or fn.__name__
        self.dynamic = dynamic
        """It takes every type that has no definition of its own, and gets the list of their arguments."""
        self._scope = scope
        self._signature: Signature | None = None

    def resolve(self) -> Signature:
        """The signature, resolved on first use.

        Raises `ConversionError` naming the parameter whose type is unknown or cannot be read.
        """
        if self._signature is None:
            read = resolve_dynamic if self.dynamic else resolve
            self._signature = read(self.fn, self.name, self._scope, skip=self._skipped())
            if is_untyped(self._signature.result):
                _log.warning("the result of %s() is generic: it comes back as plain JSON values", self.name)
        return self._signature

    def _skipped(self) -> int:
        return 0


class ActivityDefinition(Definition):
    """An activity type. `executor` says where a `def` runs; `is_method` that its first parameter is an instance."""

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, *, dynamic: bool = False, scope: Scope | None = None
    ) -> None:
        super().__init__(fn, name, dynamic=dynamic, scope=scope or {})
        self.options: ActivityOptions = {}
        self.executor: Literal["thread", "process"] = "thread"
        self.is_async: bool = inspect.iscoroutinefunction(fn)
        self.is_method = False

    def _skipped(self) -> int:
        return 1 if self.is_method else 0


class WorkflowDefinition(Definition):
    """A workflow type. `failure_exception_types` None means the default rule of which errors fail the workflow."""

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, *, dynamic: bool = False, scope: Scope | None = None
    ) -> None:
        super().__init__(fn, name, dynamic=dynamic, scope=scope or {})
        self.failure_exception_types: Sequence[type[BaseException]] | None = None
        self.versioning_behavior: Literal["pinned", "auto_upgrade"] | None = None


class ActivityHandle(asyncio.Future[R]):
    """An activity that was scheduled: await it, or cancel it. `cancel()` asks for the activity's cancellation.

    What the await does then follows the `cancellation_type`; an activity that was cancelled raises `ActivityError`
    with a `CancelledError` as its cause.
    """


class Activity(Generic[P, R_co]):
    """An activity: `await act(x)` in a workflow schedules it and gives its result.

    Outside a workflow, and in another activity, `await act(x)` calls the function (a `def` in a thread).

    Example:
        >>> from perdure import activity
        >>> @activity.defn(start_to_close_timeout=timedelta(seconds=10))
        ... async def greet(name: str) -> str:
        ...     return f"Hello, {name}!"
        >>> asyncio.run(greet("Ada"))
        'Hello, Ada!'
    """

    def __init__(self, definition: ActivityDefinition) -> None:
        self.definition = definition
        self.instance: object = None
        """What it is bound to, when it is a method."""
        self._options: ActivityOptions = definition.options
        self._local = False
        _look_like(self, definition.fn)

    @property
    def name(self) -> str:
        """The activity type."""
        return self.definition.name

    @property
    def options(self) -> ActivityOptions:
        """Its options, as declared and as changed by `with_options`."""
        return self._options

    @property
    def fn(self) -> Callable[P, Any]:
        """The function itself; bound where the activity is a method of an instance."""
        if self.instance is None:
            return self.definition.fn
        return MethodType(self.definition.fn, self.instance)

    # Typed `async def` on purpose: it is the only return form that mypy both reports when it is not awaited and
    # keeps through `asyncio.gather` (a written-out Coroutine[Any, Any, R] becomes Any there). At run time it is a Call.
    if TYPE_CHECKING:

        async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
            """Schedules the activity when awaited, and waits for its result.

            Raises `ActivityError`, whose cause says what went wrong, and `ConversionError` for an argument that does
            not fit its type.
            """
            raise NotImplementedError

        async def local(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
            """Runs the activity in the workflow's own worker, recorded as a marker: for short work.

            Raises as the call itself does.
            """
            raise NotImplementedError

    else:

        def __call__(self, *args: Any, **kwargs: Any) -> Call[Any]:
            return Call(self, args, kwargs)

        def local(self, *args: Any, **kwargs: Any) -> Call[Any]:
            return Call(self._copy(_local=True), args, kwargs)

    def start(self, *args: P.args, **kwargs: P.kwargs) -> ActivityHandle[R_co]:
        """Schedules the activity now; the handle gives its result when awaited.

        Example:
            ``first, second = greet.start("Ada"), greet.start("Bob")``
        """
        runtime = current.get()
        if runtime is None:
            return cast(ActivityHandle[R_co], asyncio.ensure_future(Call[R_co](self, args, kwargs)))
        return cast(ActivityHandle[R_co], runtime.start_activity(self._request(args, kwargs)))

    def with_options(self, **options: Unpack[ActivityOptions]) -> Self:
        """The same activity with other options; those that are not given stay.

        Raises `TypeError` or `ValueError` for an option that is not valid.

        Example:
            ``await greet.with_options(retry_policy="fast")("Ada")``
        """
        return self._copy(_options=checked({**self._options, **options}, ActivityOptions, "an activity"))

    @overload
    def __get__(self: Activity[Concatenate[S, P2], R], obj: None, owner: type[S]) -> Activity[P2, R]: ...
    @overload
    def __get__(self: Activity[Concatenate[S, P2], R], obj: S, owner: type[S] | None = None) -> Activity[P2, R]: ...
    def __get__(self, obj: Any, owner: Any = None) -> Any:
        return self._copy(instance=obj) if self.definition.is_method and obj is not None else self

    def __set_name__(self, owner: type, name: str) -> None:
        fn = self.definition.fn
        if fn.__qualname__ == f"{owner.__qualname__}.{fn.__name__}":
            self.definition.is_method = True

    def begin(self, args: tuple[object, ...], kwargs: dict[str, object]) -> Generator[Any, Any, Any]:
        """Starts it and gives what to wait on: a `Call` does this when it is awaited."""
        runtime = current.get()
        if runtime is not None:
            return runtime.start_activity(self._request(args, kwargs)).__await__()
        if self.definition.is_method and self.instance is None:
            raise TypeError(f"{self.name}() is a method: outside a workflow, call it on an instance")
        fn: Callable[..., Any] = self.fn
        if self.definition.is_async:
            running: Coroutine[Any, Any, Any] = fn(*args, **kwargs)
            return running.__await__()
        return asyncio.to_thread(fn, *args, **kwargs).__await__()

    def _request(self, args: tuple[object, ...], kwargs: dict[str, object]) -> ActivityRequest:
        refuse_dynamic(self.definition, "workflow.execute_activity(name, …)")
        signature = self.definition.resolve()
        return ActivityRequest(
            activity_type=self.name,
            args=args,
            kwargs=kwargs,
            result_type=signature.result,
            local=self._local,
            arg_types=signature.parameters,
            **with_default_timeout(self._options, self.name),
        )

    def _copy(self, **changes: object) -> Self:
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, **changes)
        return copy

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str, object, ActivityOptions]]:
        fn = self.definition.fn
        return _named_activity, (fn.__module__, fn.__qualname__, self.instance, self._options)

    @property
    def __code__(self) -> CodeType:
        code: CodeType = self.definition.fn.__code__
        return code

    def __repr__(self) -> str:
        return f"<activity {self.name}>"


class AsyncActivity(Activity[P, R_co]):
    """An activity that is an `async def`: it runs on the worker's loop."""

    if TYPE_CHECKING:

        @property
        def fn(self) -> Callable[P, Coroutine[Any, Any, R_co]]:
            """The function itself."""
            raise NotImplementedError


class SyncActivity(Activity[P, R_co]):
    """An activity that is a `def`: it runs in a thread, or in a process."""

    if TYPE_CHECKING:

        @property
        def fn(self) -> Callable[P, R_co]:
            """The function itself."""
            raise NotImplementedError


class Workflow(Generic[P, R_co]):
    """A workflow: `client.start_workflow(wf, …)` runs it; `await wf(x)` in another workflow runs it as a child.

    Example:
        >>> from perdure import workflow
        >>> @workflow.defn
        ... async def hello(name: str) -> str:
        ...     return f"Hello, {name}!"
        >>> asyncio.run(hello.fn("Ada"))
        'Hello, Ada!'
    """

    def __init__(self, definition: WorkflowDefinition) -> None:
        self.definition = definition
        self._options: ChildOptions = {}
        _look_like(self, definition.fn)

    @property
    def name(self) -> str:
        """The workflow type."""
        return self.definition.name

    @property
    def fn(self) -> Callable[P, Coroutine[Any, Any, R_co]]:
        """The function itself."""
        return self.definition.fn

    if TYPE_CHECKING:

        async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
            """In a workflow, runs it as a child when awaited; `client.start_workflow` takes the call as it is.

            Raises `ChildWorkflowError` when the child fails, `WorkflowAlreadyStartedError` when its id is taken,
            `ConversionError` for an argument that does not fit, and `RuntimeError` when awaited outside a workflow.
            """
            raise NotImplementedError

    else:

        def __call__(self, *args: Any, **kwargs: Any) -> Call[Any]:
            return Call(self, args, kwargs)

    async def start(self, *args: P.args, **kwargs: P.kwargs) -> ChildWorkflowHandle[R_co]:
        """Starts it as a child, waits until it has started, and gives a handle to it. Raises as the call itself does.

        Example:
            ``handle = await child.with_options(id="c-1").start("Ada")``
        """
        return await until_started(self._parent(), self._request(args, kwargs))

    def with_options(self, **options: Unpack[ChildOptions]) -> Self:
        """The same workflow with options for running as a child.

        Raises `TypeError` or `ValueError` for an option that is not valid.

        Example:
            ``await child.with_options(id="c-1", parent_close_policy="abandon")("Ada")``
        """
        copy = object.__new__(type(self))
        given = checked(options, ChildOptions, "a child workflow")
        copy.__dict__.update(self.__dict__, _options={**self._options, **given})
        return copy

    def begin(self, args: tuple[object, ...], kwargs: dict[str, object]) -> Generator[Any, Any, Any]:
        """Starts it as a child: a `Call` does this when it is awaited."""
        return self._parent().start_child_workflow(self._request(args, kwargs)).__await__()

    def _request(self, args: tuple[object, ...], kwargs: dict[str, object]) -> ChildWorkflowRequest:
        refuse_dynamic(self.definition, "workflow.execute_child_workflow(name, …)")
        signature = self.definition.resolve()
        return ChildWorkflowRequest(
            workflow_type=self.name,
            args=args,
            kwargs=kwargs,
            result_type=signature.result,
            arg_types=signature.parameters,
            **child_fields(self._options),
        )

    def _parent(self) -> WorkflowRuntime:
        runtime = current.get()
        if runtime is None:
            raise RuntimeError(
                f"workflow {self.name} was called outside a workflow, where it would not be durable: "
                f"use client.start_workflow({self.name}, …), or {self.name}.fn(…) in a test"
            )
        return runtime

    @property
    def __code__(self) -> CodeType:
        return self.definition.fn.__code__

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"


def refuse_dynamic(definition: Definition, instead: str) -> None:
    """Raises `TypeError` for a definition that stands for no type of its own."""
    if definition.dynamic:
        raise TypeError(f"{definition.name} is dynamic and has no type of its own: use {instead} with the type's name")


def with_default_timeout(options: ActivityOptions, name: str) -> dict[str, Any]:
    """The options, with the default timeout where there is none; it is said once for each activity type."""
    if options.get("start_to_close_timeout") or options.get("schedule_to_close_timeout"):
        return dict(options)
    if name not in _told:
        _told.add(name)
        _log.warning("activity %s has no start_to_close_timeout: each attempt may take 1 minute", name)
    return {**options, "start_to_close_timeout": DEFAULT_START_TO_CLOSE}


def _look_like(wrapper: Any, fn: Callable[..., object]) -> None:
    """Makes an object pass for the coroutine function that it stands for, also with `mock.patch(autospec=True)`."""
    functools.update_wrapper(wrapper, fn)
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(wrapper)
    else:
        wrapper._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # noqa: SLF001  # what 3.11 looks for


def _named_activity(module: str, qualname: str, instance: object, options: ActivityOptions) -> object:
    """An activity found by name: how one crosses into another process."""
    found: Any = functools.reduce(getattr, qualname.split("."), importlib.import_module(module))
    return (found.__get__(instance) if instance is not None else found).with_options(**options)
