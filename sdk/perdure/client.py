"""The client: starts workflows, finds them, and gives handles to them."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self, TypeVar, TypeVarTuple, Unpack, overload
from uuid import uuid4

from perdure._async_activity import AsyncActivities, AsyncActivityHandle
from perdure._client_interceptor import (
    CancelWorkflowInput,
    CountWorkflowsInput,
    DescribeWorkflowInput,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    ListWorkflowsInput,
    OutboundInterceptor,
    QueryWorkflowInput,
    SignalWorkflowInput,
    StartWorkflowInput,
    StartWorkflowUpdateInput,
    StartWorkflowUpdateWithStartInput,
    TerminateWorkflowInput,
    UpdateWithStartStartWorkflowInput,
    UpdateWithStartUpdateWorkflowInput,
)
from perdure._client_root import Calls, chain, start_options
from perdure._cluster import Cluster
from perdure._connection import ConnectionOptions
from perdure._eager_start import EagerWorker
from perdure._handle import WorkflowHandle
from perdure._history import (
    History,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    execution_of,
)
from perdure._messages import seconds_of
from perdure._options import StartOptions, checked
from perdure._outbound_activities import (
    AsyncActivityIDReference,
    CancelActivityInput,
    CompleteAsyncActivityInput,
    CountActivitiesInput,
    DescribeActivityInput,
    FailAsyncActivityInput,
    GetActivityResultInput,
    HeartbeatAsyncActivityInput,
    ListActivitiesInput,
    ReportCancellationAsyncActivityInput,
    StartActivityInput,
    TerminateActivityInput,
)
from perdure._outbound_control import (
    PauseActivityInput,
    PauseWorkflowInput,
    ReopenWorkflowInput,
    ResetActivityInput,
    ResetWorkflowInput,
    ResumeWaitpointInput,
    UnpauseActivityInput,
    UnpauseWorkflowInput,
    UpdateActivityOptionsInput,
)
from perdure._query import LIST_PAGE_MAX
from perdure._service import Service
from perdure._standalone import (
    ActivityExecution,
    ActivityExecutionDescription,
    StandaloneActivities,
    StandaloneActivityHandle,
    StartActivityOptions,
)
from perdure._starting import Start, given_to, start_input, start_of, start_request
from perdure._update_handle import WaitForStage, WorkflowUpdateHandle, WorkflowUpdateStage
from perdure._updates_with_start import UpdatesWithStart
from perdure._with_start import WithStartWorkflowOperation
from perdure.converter import DataConverter
from perdure.exceptions import RPCError, WorkflowAlreadyStartedError
from perdure.metrics import MetricMeter
from perdure_proto.errors import Code
from perdure_proto.service import (
    CountWorkflowsAnswer,
    EagerStart,
)
from perdure_proto.tasks import WorkflowTask
from perdure_proto.waitpoints import PendingWaitpoint

__all__ = [
    "ActivityExecution",
    "ActivityExecutionDescription",
    "AsyncActivityHandle",
    "AsyncActivityIDReference",
    "CancelActivityInput",
    "CancelWorkflowInput",
    "Client",
    "CompleteAsyncActivityInput",
    "CountActivitiesInput",
    "CountWorkflowsInput",
    "DescribeActivityInput",
    "DescribeWorkflowInput",
    "FailAsyncActivityInput",
    "FetchWorkflowHistoryEventsInput",
    "GetActivityResultInput",
    "HeartbeatAsyncActivityInput",
    "History",
    "Interceptor",
    "ListActivitiesInput",
    "ListWorkflowsInput",
    "OutboundInterceptor",
    "PauseActivityInput",
    "PauseWorkflowInput",
    "PendingWaitpoint",
    "QueryWorkflowInput",
    "ReopenWorkflowInput",
    "ReportCancellationAsyncActivityInput",
    "ResetActivityInput",
    "ResetWorkflowInput",
    "ResumeWaitpointInput",
    "SignalWorkflowInput",
    "StandaloneActivityHandle",
    "StartActivityInput",
    "StartActivityOptions",
    "StartOptions",
    "StartWorkflowInput",
    "StartWorkflowUpdateInput",
    "StartWorkflowUpdateWithStartInput",
    "TerminateActivityInput",
    "TerminateWorkflowInput",
    "UnpauseActivityInput",
    "UnpauseWorkflowInput",
    "UpdateActivityOptionsInput",
    "UpdateWithStartStartWorkflowInput",
    "UpdateWithStartUpdateWorkflowInput",
    "WaitForStage",
    "WithStartWorkflowOperation",
    "WorkflowExecution",
    "WorkflowExecutionDescription",
    "WorkflowExecutionStatus",
    "WorkflowHandle",
    "WorkflowUpdateHandle",
    "WorkflowUpdateStage",
]

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

DEFAULT_TASK_QUEUE: Final = "default"


class Client(StandaloneActivities, UpdatesWithStart, AsyncActivities):
    """A connection to the service, in one namespace. Made with `Client.connect`; belongs to the loop it was made on.

    Example:
        ``client = await Client.connect("http://127.0.0.1:7233")``
    """

    def __init__(self, service: Service, *, interceptors: Sequence[Interceptor] = ()) -> None:
        self._service = service
        self._interceptors = tuple(interceptors)
        service.calls = Calls(
            service,
            start=self._start_intercepted,
            update_with_start=self._update_with_start_now,
            list_all=self._list_all,
        )
        if interceptors:
            service.outbound = chain(interceptors, service.calls)

    @classmethod
    async def connect(
        cls,
        address: str = "http://127.0.0.1:7233",
        *,
        namespace: str = "default",
        api_key: str | None = None,
        tls: ssl.SSLContext | bool | None = None,
        data_converter: DataConverter | None = None,
        rpc_timeout: timedelta | float = 30.0,
        identity: str | None = None,
        interceptors: Sequence[Interceptor] = (),
        metric_meter: MetricMeter | None = None,
    ) -> Self:
        """Connects, and checks that the server is one that this client can talk to.

        Args:
            address: a URL, or `host:port`; several with commas between them, of servers of one cluster. One that
                answers is enough: it tells of the others, and requests then go to the server that owns the workflow.
            namespace: where this client's workflows live.
            api_key: sent as a bearer token.
            tls: True for the system's certificates, or a context. Default: as the URL's scheme says.
            data_converter: how values travel. Default: plain JSON.
            rpc_timeout: how long a request is tried, a timedelta or seconds. Default 30 s.
            identity: who this client is, in histories. Default: process id and host name.
            interceptors: what every call passes through, the first one outermost. Those that are interceptors of
                workers too take part in this client's workers. Default none.
            metric_meter: where metrics of workflows and activities of this client's workers go. Default: nowhere.

        Raises `RPCError`: `UNAVAILABLE` when nothing answers, `PROTOCOL_VERSION` when the server is too old or too new.

        Example:
            ``async with await Client.connect("http://127.0.0.1:7233", namespace="default") as client: …``
        """
        options = ConnectionOptions(api_key=api_key, tls=tls, rpc_timeout=seconds_of(rpc_timeout))
        connection = Cluster(address, options)
        try:
            await connection.check_version()
            await connection.find_members()
        except BaseException:
            await connection.close()
            raise
        name = identity or f"{os.getpid()}@{socket.gethostname()}"
        converter = data_converter or DataConverter()
        service = Service(connection, namespace, identity=name, converter=converter)
        service.meter = metric_meter or service.meter
        return cls(service, interceptors=interceptors)

    @property
    def namespace(self) -> str:
        """Where this client's workflows live."""
        return self._service.namespace

    @property
    def identity(self) -> str:
        """Who this client is, in histories."""
        return self._service.identity

    @property
    def data_converter(self) -> DataConverter:
        """How values travel."""
        return self._service.converter

    @property
    def interceptors(self) -> Sequence[Interceptor]:
        """What its calls pass through, the first one outermost."""
        return self._interceptors

    @property
    def metric_meter(self) -> MetricMeter:
        """Where metrics of its workers' code go."""
        return self._service.meter

    @property
    def service(self) -> Service:
        """The requests underneath; for workers and tools."""
        return self._service

    async def close(self) -> None:
        """Closes the connection. A client that is dropped closes it too."""
        await self._service.connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self.close()

    @overload
    async def start_workflow(
        self, workflow: Coroutine[Any, Any, R], /, **options: Unpack[StartOptions]
    ) -> WorkflowHandle[R]: ...
    @overload
    async def start_workflow(
        self,
        workflow: Callable[[Unpack[Ts]], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        **options: Unpack[StartOptions],
    ) -> WorkflowHandle[R]: ...
    @overload
    async def start_workflow(
        self, workflow: str, /, *args: object, result_type: type[R], **options: Unpack[StartOptions]
    ) -> WorkflowHandle[R]: ...
    @overload
    async def start_workflow(
        self, workflow: str, /, *args: object, **options: Unpack[StartOptions]
    ) -> WorkflowHandle[Any]: ...
    async def start_workflow(self, workflow: Any, /, *args: Any, result_type: Any = None, **options: Any) -> Any:  # type: ignore[misc]  # mypy cannot match *Ts with *args
        """Starts a workflow and gives a handle to it, once the start is durable.

        Args:
            workflow: a call (`order("Ada", gift=True)`), a workflow with its arguments behind it, or a type's name.
            args: positional arguments.
            result_type: what the result of a workflow given by name comes back as.
            options: `id`, `task_queue` and the rest of `StartOptions`.

        Raises `WorkflowAlreadyStartedError` when the id is taken, and `ConversionError` for an argument that does
        not fit.

        Example:
            ``handle = await client.start_workflow(hello, "Ada", id="hello-1", task_queue="default")``
        """
        start = start_of(workflow, args, result_type)
        given = checked(options, StartOptions, "start_workflow")
        workflow_id = given.pop("id", None) or str(uuid4())
        if (outbound := self._service.outbound) is not None:
            return await outbound.start_workflow(start_input(start, workflow_id, given, StartWorkflowInput))
        return await self._start_now(start, workflow_id, given)

    async def _start_intercepted(self, input: StartWorkflowInput) -> WorkflowHandle[Any]:
        return await self._start_now(given_to(input), input.id, start_options(input))

    async def _start_now(self, start: Start, workflow_id: str, given: dict[str, Any]) -> WorkflowHandle[Any]:
        taker = self._eager_taker(start, workflow_id, given)
        task: WorkflowTask | None = None
        try:
            answer = await self._service.start(workflow_id, start_request(self._service, start, given))
            task = answer.task
        except RPCError as error:
            if error.code != Code.WORKFLOW_ALREADY_STARTED:
                raise
            run_id = error.details.get("run_id")
            raise WorkflowAlreadyStartedError(workflow_id, start.workflow_type, run_id=run_id) from error
        finally:
            if taker is not None:
                taker[0].settle(taker[1], task)
        handle = self._handle(workflow_id, None, start.result_type)
        return handle.started_as(answer.run_id)

    @overload
    async def execute_workflow(self, workflow: Coroutine[Any, Any, R], /, **options: Unpack[StartOptions]) -> R: ...
    @overload
    async def execute_workflow(
        self,
        workflow: Callable[[Unpack[Ts]], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        **options: Unpack[StartOptions],
    ) -> R: ...
    @overload
    async def execute_workflow(
        self, workflow: str, /, *args: object, result_type: type[R], **options: Unpack[StartOptions]
    ) -> R: ...
    @overload
    async def execute_workflow(self, workflow: str, /, *args: object, **options: Unpack[StartOptions]) -> Any: ...
    async def execute_workflow(self, workflow: Any, /, *args: Any, **options: Any) -> Any:  # type: ignore[misc]  # mypy cannot match *Ts with *args
        """Starts a workflow and waits for its result: `start_workflow`, then `handle.result()`.

        Raises what the two raise.

        Example:
            ``await client.execute_workflow(order("Ada", gift=True), id="order-1")``
        """
        start: Callable[..., Coroutine[Any, Any, WorkflowHandle[Any]]] = self.start_workflow
        return await (await start(workflow, *args, **options)).result()

    @overload
    def get_workflow_handle(self, id: str, *, run_id: str | None = None, result_type: type[R]) -> WorkflowHandle[R]: ...
    @overload
    def get_workflow_handle(
        self, id: str, *, run_id: str | None = None, result_type: Any = None
    ) -> WorkflowHandle[Any]: ...
    def get_workflow_handle(
        self, id: str, *, run_id: str | None = None, result_type: Any = None
    ) -> WorkflowHandle[Any]:
        """A handle to a workflow by its id; nothing is asked of the service yet.

        Args:
            id: the workflow id.
            run_id: one of its runs. Default None: the current one.
            result_type: what the result comes back as. Default: plain JSON values.

        Example:
            ``await client.get_workflow_handle("hello-1", result_type=str).result()``
        """
        return self._handle(id, run_id, result_type)

    async def list_workflows(
        self, query: str = "", *, limit: int | None = None, order_by: str = ""
    ) -> AsyncIterator[WorkflowExecution]:
        """The workflows that a query finds, newest first.

        Args:
            query: as in Temporal, such as `WorkflowType = "order" and ExecutionStatus = "Running"`. Default: all.
            limit: how many at most. Default None: all.
            order_by: another order.

        Example:
            ``async for found in client.list_workflows(limit=10): print(found.id, found.status)``
        """
        given, outbound = ListWorkflowsInput(query, limit, order_by), self._service.outbound
        found = self._list_all(given) if outbound is None else outbound.list_workflows(given)
        async for execution in found:
            yield execution

    async def _list_all(self, given: ListWorkflowsInput) -> AsyncIterator[WorkflowExecution]:
        query, limit, order_by = given.query, given.limit, given.order_by
        cursor, left = "", limit
        while left is None or left > 0:
            page = LIST_PAGE_MAX if left is None else min(left, LIST_PAGE_MAX)
            answer = await self._service.list_workflows(query, limit=page, order_by=order_by, cursor=cursor)
            for info in answer.executions[:left]:
                yield execution_of(info)
            left = None if left is None else left - len(answer.executions)
            cursor = answer.next_cursor
            if not cursor:
                return

    async def count_workflows(self, query: str = "") -> CountWorkflowsAnswer:
        """How many workflows a query finds: `.count`."""
        if (outbound := self._service.outbound) is not None:
            return await outbound.count_workflows(CountWorkflowsInput(query))
        return await self._service.count_workflows(query)

    async def resume_waitpoint(self, token: str, value: object = None) -> None:
        """Completes a waitpoint of a workflow with a value, once; returns when that is durable.

        Args:
            token: the waitpoint's `.token`.
            value: what the workflow gets, as JSON: no payload codec is used. Default None.

        The same value again does nothing more. Raises `RPCError`: `WAITPOINT_USED` when another value came first,
        `WAITPOINT_EXPIRED`, `WAITPOINT_TOKEN_INVALID`, `WORKFLOW_CLOSED` when the run that waited has ended. Raises
        `ConversionError` for a value that cannot be written.

        Example:
            ``await client.resume_waitpoint(token, Approval(ok=True))``
        """
        await self._service.through.resume_waitpoint(ResumeWaitpointInput(token, value))

    def _handle(self, id: str, run_id: str | None, result_type: Any) -> WorkflowHandle[Any]:
        return WorkflowHandle(self._service, id, run_id=run_id, result_type=result_type)

    def _eager_taker(
        self, start: Start, workflow_id: str, given: dict[str, Any]
    ) -> tuple[EagerWorker, EagerStart] | None:
        """Who takes the first task in this process, if that is wanted and anybody can; it goes with the request."""
        if not given.pop("request_eager_start", False):
            return None
        queue: str = given.get("task_queue") or DEFAULT_TASK_QUEUE
        taker = self._service.eager_workers.reserve(queue, start.workflow_type, workflow_id)
        if taker is not None:
            given["eager"] = taker[1]
        return taker
