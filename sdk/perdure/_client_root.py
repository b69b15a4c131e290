"""The end of a client's chain of interceptors: takes an input apart and does the call.

It turns each input back into what the public method would have had without interceptors, so both take one way.
"""

# The handle's own calls are not for users, and the end of the chain is not in its class.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from perdure import _client_interceptor as given
from perdure._client_interceptor import OutboundInterceptor
from perdure._handle import WorkflowHandle
from perdure._headers import headers_of
from perdure._history import WorkflowExecution, WorkflowExecutionDescription
from perdure._messages import Outgoing
from perdure._options import StartOptions
from perdure._root_activities import ActivityCalls
from perdure._root_control import ControlCalls
from perdure._service import Service
from perdure._update_handle import WorkflowUpdateHandle
from perdure_proto.events import AnyEvent
from perdure_proto.service import CountWorkflowsAnswer

_START_OPTIONS: Final = tuple(name for name in StartOptions.__annotations__ if name != "id")


class Calls(ActivityCalls, ControlCalls, OutboundInterceptor):
    """What really happens. What has to do with starts and lists is the client's own."""

    def __init__(
        self,
        service: Service,
        *,
        start: Callable[[given.StartWorkflowInput], Any],
        update_with_start: Callable[[given.StartWorkflowUpdateWithStartInput], Any],
        list_all: Callable[[given.ListWorkflowsInput], AsyncIterator[WorkflowExecution]],
    ) -> None:
        super().__init__(self)
        self._service = service
        self._start = start
        self._update_with_start = update_with_start
        self._list_all = list_all

    async def start_workflow(self, input: given.StartWorkflowInput) -> WorkflowHandle[Any]:
        """Starts it."""
        handle: WorkflowHandle[Any] = await self._start(input)
        return handle

    async def signal_workflow(self, input: given.SignalWorkflowInput) -> None:
        """Sends it."""
        call = Outgoing.of(input.signal, input.args, input.kwargs, input.arg_types)
        await self._handle(input.id, input.run_id)._signal_now(call, headers_of(input.headers))

    async def query_workflow(self, input: given.QueryWorkflowInput) -> Any:
        """Asks it."""
        call = Outgoing.of(input.query, input.args, input.kwargs, input.arg_types, input.ret_type)
        return await self._handle(input.id, input.run_id)._query_now(call, headers_of(input.headers))

    async def start_workflow_update(self, input: given.StartWorkflowUpdateInput) -> WorkflowUpdateHandle[Any]:
        """Sends it, and waits for the stage."""
        call = Outgoing.of(input.update, input.args, input.kwargs, input.arg_types, input.ret_type)
        handle = self._handle(input.id, input.run_id)
        return await handle._update_now(call, input.update_id, input.wait_for_stage, headers_of(input.headers))

    async def start_update_with_start_workflow(
        self, input: given.StartWorkflowUpdateWithStartInput
    ) -> WorkflowUpdateHandle[Any]:
        """Starts it, or takes the one that runs, and sends the update."""
        handle: WorkflowUpdateHandle[Any] = await self._update_with_start(input)
        return handle

    async def cancel_workflow(self, input: given.CancelWorkflowInput) -> None:
        """Asks it to stop."""
        await self._handle(input.id, input.run_id)._cancel_now(input.reason)

    async def terminate_workflow(self, input: given.TerminateWorkflowInput) -> None:
        """Ends it."""
        await self._handle(input.id, input.run_id)._terminate_now(input.reason)

    async def describe_workflow(self, input: given.DescribeWorkflowInput) -> WorkflowExecutionDescription:
        """Looks at it."""
        return await self._handle(input.id, input.run_id)._describe_now()

    def fetch_workflow_history_events(self, input: given.FetchWorkflowHistoryEventsInput) -> AsyncIterator[AnyEvent]:
        """Reads it."""
        return self._handle(input.id, input.run_id)._events_now(follow=input.wait_new_event)

    def list_workflows(self, input: given.ListWorkflowsInput) -> AsyncIterator[WorkflowExecution]:
        """Reads the list."""
        return self._list_all(input)

    async def count_workflows(self, input: given.CountWorkflowsInput) -> CountWorkflowsAnswer:
        """Counts."""
        return await self._service.count_workflows(input.query)

    def _handle(self, id: str, run_id: str | None) -> WorkflowHandle[Any]:
        return WorkflowHandle(self._service, id, run_id=run_id, result_type=None)


def chain(interceptors: Sequence[given.Interceptor], calls: OutboundInterceptor) -> OutboundInterceptor:
    """The first interceptor around the second, and so on around the calls themselves.

    Raises `TypeError` for what is no interceptor.
    """
    for interceptor in reversed(interceptors):
        if not isinstance(interceptor, given.Interceptor):  # pyright: ignore[reportUnnecessaryIsInstance]  # users err
            raise TypeError(f"interceptors has {interceptor!r}, which is no perdure.client.Interceptor")
        calls = interceptor.intercept_client(calls)
    return calls


def start_options(input: given.StartWorkflowInput) -> dict[str, Any]:
    """The options of a start as `StartOptions`, and its headers."""
    said = {name: value for name in _START_OPTIONS if (value := getattr(input, name)) is not None}
    headers = headers_of(input.headers)
    return {**said, "header": headers} if headers else said
