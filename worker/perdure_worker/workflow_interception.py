"""The interceptors of one run: made with its first event, and how its messages and calls pass through them.

Made only where a worker has interceptor classes for workflows. They add no task and no step of the loop of their own,
so that a history is replayed alike with and without those that only look. It must not know how activations are driven.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import msgspec

from perdure._client_root import headers_of
from perdure._definition import ActivityHandle
from perdure._runtime import ActivityRequest, ContinueAsNewRequest, current
from perdure._worker_interceptor import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    StartActivityInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from perdure._workflow_info import Info
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
