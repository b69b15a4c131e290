"""The interceptors of one run: made with its first event, and how its messages and calls pass through them.

Made only where a worker has interceptor classes for workflows. They add no task and no step of the loop of their own,
so that a history is replayed alike with and without those that only look. It must not know how activations are driven.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import msgspec

from perdure._children import ChildWorkflowHandle
from perdure._definition import ActivityHandle
from perdure._headers import headers_of
from perdure._runtime import (
    ActivityRequest,
    ChildWorkflowRequest,
    ContinueAsNewRequest,
    SignalExternalRequest,
    Target,
    current,
)
from perdure._worker_interceptor import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    SignalChildWorkflowInput,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from perdure._workflow_info import Info
from perdure_worker.stepping import at_once
from perdure_worker.workflow_calls import Parts, WorkflowCalls

if TYPE_CHECKING:
    import asyncio

OTHERWISE_CALLED: Final = {"activity": "activity_type", "workflow": "workflow_type", "ret_type": "result_type"}
"""Fields of inputs that requests have under another name."""


class InterceptedCalls(WorkflowCalls):
    """The runtime of one workflow whose calls pass through interceptors."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.outbound: WorkflowOutboundInterceptor = Calls(WorkflowCalls(parts))

    def start_activity(self, request: ActivityRequest) -> asyncio.Future[Any]:
        if request.local:
            return self.outbound.start_local_activity(as_input(request, StartLocalActivityInput))
        return self.outbound.start_activity(as_input(request, StartActivityInput))

    def start_child_workflow(self, request: ChildWorkflowRequest) -> asyncio.Future[Any]:
        child = at_once(self.outbound.start_child_workflow(as_input(request, StartChildWorkflowInput)))
        return cast("asyncio.Future[Any]", child)

    def signal_external_workflow(self, request: SignalExternalRequest) -> Awaitable[None]:
        if request.target.child_workflow_only:
            return self.outbound.signal_child_workflow(as_child_signal(request))
        return self.outbound.signal_external_workflow(as_external_signal(request))

    def continue_as_new(self, request: ContinueAsNewRequest) -> NoReturn:
        self.outbound.continue_as_new(as_input(request, ContinueAsNewInput))
        raise AssertionError("an interceptor has kept continue_as_new() from ending the run")

    def info(self) -> Info:
        return self.outbound.info()


class Calls(WorkflowOutboundInterceptor):
    """The end of the outbound chain: the calls themselves."""

    def __init__(self, calls: WorkflowCalls) -> None:
        super().__init__(self)
        self._calls = calls

    def info(self) -> Info:
        return self._calls.info()

    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        return cast(ActivityHandle[Any], self._calls.start_activity(as_request(input, ActivityRequest)))

    def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
        request = msgspec.structs.replace(as_request(input, ActivityRequest), local=True)
        return cast(ActivityHandle[Any], self._calls.start_activity(request))

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> ChildWorkflowHandle[Any]:
        request = as_request(input, ChildWorkflowRequest)
        return cast(ChildWorkflowHandle[Any], self._calls.start_child_workflow(request))

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        target = Target(workflow_id=input.child_workflow_id, namespace=input.namespace or "", child_workflow_only=True)
        await self._calls.signal_external_workflow(signal_to(target, input))

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        target = Target(
            workflow_id=input.workflow_id, run_id=input.workflow_run_id or "", namespace=input.namespace or ""
        )
        await self._calls.signal_external_workflow(signal_to(target, input))

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        self._calls.continue_as_new(as_request(input, ContinueAsNewRequest))


class Handling(WorkflowInboundInterceptor):
    """The end of the inbound chain: the functions themselves."""

    def __init__(self, calls: InterceptedCalls) -> None:
        super().__init__(self)
        self._calls = calls

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        self._calls.outbound = outbound

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: ANN401 - whatever it returns
        return await input.run_fn(*input.args, **input.kwargs)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        await _called(input)

    async def handle_query(self, input: HandleQueryInput) -> Any:  # noqa: ANN401 - as above
        return await _called(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        input.fn(*input.args, **input.kwargs)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:  # noqa: ANN401 - as above
        return await _called(input)


async def _called(input: HandleSignalInput | HandleQueryInput | HandleUpdateInput) -> Any:  # noqa: ANN401 - as above
    value = input.fn(*input.args, **input.kwargs)
    return await value if inspect.iscoroutine(value) else value


def intercept(parts: Parts) -> WorkflowInboundInterceptor | None:
    """The chain of a run, made in its context; from here on its calls pass through it. None without interceptors."""
    classes = parts.run.options.interceptors
    if not classes:
        return None
    calls = InterceptedCalls(parts)
    current.set(calls)
    inbound: WorkflowInboundInterceptor = Handling(calls)
    for one in reversed(classes):
        inbound = one(inbound)
    inbound.init(calls.outbound)
    return inbound


def workflow_interceptors(interceptors: Sequence[Interceptor]) -> tuple[type[WorkflowInboundInterceptor], ...]:
    """The classes that interceptors of a worker have for workflows, in their order."""
    told = WorkflowInterceptorClassInput()
    classes = [one.workflow_interceptor_class(told) for one in interceptors]
    return tuple([one for one in classes if one is not None])


# ---- inputs and requests: the same fields, but for a few names -----------------------------------------------------


def as_input(request: msgspec.Struct, kind: Callable[..., Any]) -> Any:  # noqa: ANN401 - of the kind given
    """A request as interceptors see it."""
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]  # every input is a dataclass
    given = {name: getattr(request, OTHERWISE_CALLED.get(name, name)) for name in names}
    given["headers"] = given["headers"] or {}
    return kind(**given)


def as_request(input: Any, kind: Callable[..., Any]) -> Any:  # noqa: ANN401 - as above
    """What interceptors have made of it. Raises `ConversionError` for headers that are no JSON values."""
    given = {OTHERWISE_CALLED.get(name, name): value for name, value in vars(input).items()}
    given["args"], given["kwargs"] = tuple(given["args"]), dict(given["kwargs"])
    given["headers"] = headers_of(given["headers"]) or None
    return kind(**given)


def as_child_signal(request: SignalExternalRequest) -> SignalChildWorkflowInput:
    """A signal to a child, as interceptors see it."""
    target = request.target
    given = SignalChildWorkflowInput(request.signal_name, request.args, target.workflow_id, target.namespace or None)
    given.kwargs, given.arg_types = request.kwargs, request.arg_types
    return given


def as_external_signal(request: SignalExternalRequest) -> SignalExternalWorkflowInput:
    """A signal to another workflow, as interceptors see it."""
    target = request.target
    given = SignalExternalWorkflowInput(request.signal_name, request.args, target.workflow_id)
    given.workflow_run_id, given.namespace = target.run_id or None, target.namespace or None
    given.kwargs, given.arg_types = request.kwargs, request.arg_types
    return given


def signal_to(target: Target, input: SignalChildWorkflowInput | SignalExternalWorkflowInput) -> SignalExternalRequest:
    """What interceptors have made of a signal."""
    return SignalExternalRequest(
        target=target,
        signal_name=input.signal,
        args=tuple(input.args),
        kwargs=dict(input.kwargs),
        arg_types=input.arg_types,
        headers=headers_of(input.headers) or None,
    )
