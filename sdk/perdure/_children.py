"""Child workflows, as workflow code sees them: the handle, and starting one by name.

`Workflow` in `_definition` starts those that are at hand. Everything turns into a request to the runtime of the
workflow that runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast, overload

from perdure._handlers import runtime_for
from perdure._messages import Outgoing, Signals
from perdure._options import ChildOptions, checked
from perdure._runtime import ChildWorkflowRequest, SignalExternalRequest, Target, WorkflowRuntime

R = TypeVar("R")
T = TypeVar("T")


class ChildWorkflowHandle(asyncio.Future[R], Signals):
    """A child workflow that has started: await it for its result, signal it, cancel it.

    It is an `asyncio.Future`, for `gather`, `wait` and `as_completed`. Awaiting it raises `ChildWorkflowError` when the
    child fails, is cancelled by somebody else, is terminated or times out; the cause is its own error.

    Example:
        ``handle = await child.start("Ada"); await handle.signal("go"); result = await handle``
    """

    @property
    def id(self) -> str:
        """The child's workflow id."""
        raise NotImplementedError

    @property
    def first_execution_run_id(self) -> str | None:
        """The run id of the child's first run; None before it has started."""
        raise NotImplementedError

    if TYPE_CHECKING:

        def cancel(self, msg: Any | None = None) -> bool:
            """Asks the child to stop; `msg` is the reason that it is told. Default: that of the workflow's own.

            What the await does then follows the `cancellation_type` of the child: by default it goes on until the
            child has closed, and raises `asyncio.CancelledError` when the child closed as cancelled. Gives whether
            there was anything to cancel.
            """
            raise NotImplementedError

    async def _send_signal(self, call: Outgoing) -> None:
        raise NotImplementedError


async def until_started(runtime: WorkflowRuntime, request: ChildWorkflowRequest) -> ChildWorkflowHandle[Any]:
    """Starts a child and waits until it runs."""
    handle = runtime.start_child_workflow(request)
    await runtime.child_started(handle)
    return cast(ChildWorkflowHandle[Any], handle)


async def send_signal(what: str, target: Target, call: Outgoing) -> None:
    """Sends a signal to another execution and waits until it is there."""
    request = SignalExternalRequest(
        target=target, signal_name=call.name, args=call.args, kwargs=dict(call.kwargs), arg_types=call.parameters
    )
    await runtime_for(what).signal_external_workflow(request)


def child_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request that the options set: one that is None is not set."""
    return {name: value for name, value in options.items() if value is not None}


@overload
async def start_child_workflow(
    workflow: str, *, args: Sequence[object] = ..., result_type: type[T], **options: Unpack[ChildOptions]
) -> ChildWorkflowHandle[T]: ...
@overload
async def start_child_workflow(
    workflow: str, *, args: Sequence[object] = ..., result_type: None = ..., **options: Unpack[ChildOptions]
) -> ChildWorkflowHandle[Any]: ...
async def start_child_workflow(
    workflow: str, *, args: Sequence[object] = (), result_type: Any = None, **options: Unpack[ChildOptions]
) -> ChildWorkflowHandle[Any]:
    """Starts a child workflow by name, for code in another repository, and waits until it has started.

    Args:
        workflow: the workflow type.
        args: its positional arguments. Default none.
        result_type: what the result comes back as. Default: plain JSON values.
        options: as `ChildOptions`.

    Raises `WorkflowAlreadyStartedError` when its id is taken, `ChildWorkflowError` when it cannot be started
    otherwise, and `ConversionError` for an argument that cannot be written.

    Example:
        ``handle = await workflow.start_child_workflow("ship", args=["order-1"], result_type=str)``
    """
    request = _named(workflow, args, result_type, options)
    return await until_started(runtime_for("a child workflow"), request)


@overload
async def execute_child_workflow(
    workflow: str, *, args: Sequence[object] = ..., result_type: type[T], **options: Unpack[ChildOptions]
) -> T: ...
@overload
async def execute_child_workflow(
    workflow: str, *, args: Sequence[object] = ..., result_type: None = ..., **options: Unpack[ChildOptions]
) -> Any: ...
async def execute_child_workflow(
    workflow: str, *, args: Sequence[object] = (), result_type: Any = None, **options: Unpack[ChildOptions]
) -> Any:
    """Runs a child workflow by name and gives its result; arguments as of `start_child_workflow`.

    Raises `ChildWorkflowError` when the child fails, and what `start_child_workflow` raises.

    Example:
        ``receipt = await workflow.execute_child_workflow("ship", args=["order-1"], result_type=str)``
    """
    request = _named(workflow, args, result_type, options)
    return await runtime_for("a child workflow").start_child_workflow(request)


def _named(workflow: str, args: Sequence[object], result_type: Any, options: ChildOptions) -> ChildWorkflowRequest:
    return ChildWorkflowRequest(
        workflow_type=workflow,
        args=tuple(args),
        kwargs={},
        result_type=Any if result_type is None else result_type,
        **child_fields(checked(options, ChildOptions, "a child workflow")),
    )
