"""Traces with OpenTelemetry: one trace from the client through workflows, their handlers and their activities.

Clients and activities have spans with a duration. Spans made in workflow code are instants of workflow time, since a
workflow may outlive every process: they are exported when their moment comes for the first time, never on replay. Their
ids are derived from the run, so a replay knows them without exporting them again, and a turn that has to be repeated
gives the same span. Needs `pip install 'perdure[opentelemetry]'`.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final, NoReturn, Protocol, cast

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.metrics import Meter, get_meter
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from perdure import _worker_interceptor as worker
from perdure import client, workflow
from perdure._handlers import runtime_for
from perdure.activity import ActivityHandle
from perdure.activity import info as activity_info
from perdure.client import (
    AsyncActivityIDReference,
    StandaloneActivityHandle,
    WorkflowHandle,
    WorkflowUpdateHandle,
)
from perdure.exceptions import ContinueAsNewError, NondeterminismError
from perdure.metrics import MetricKind, Record
from perdure.workflow import ChildWorkflowHandle

__all__ = ["OpenTelemetrySink", "TracingInterceptor", "completed_span"]

HEADER: Final = "_tracer-data"
"""The header that carries the context: what the propagator writes."""

_PARKS: Final = (NameError, AttributeError, TypeError, ImportError, SyntaxError, RecursionError, NondeterminismError)
"""What only says that the program is wrong: the workflow waits for repaired code, so it has not ended."""

_KINDS: Final = MappingProxyType(
    {
        "RunWorkflow": SpanKind.SERVER,
        "HandleSignal": SpanKind.SERVER,
        "HandleUpdate": SpanKind.SERVER,
        "StartActivity": SpanKind.CLIENT,
        "StartChildWorkflow": SpanKind.CLIENT,
        "SignalChildWorkflow": SpanKind.CLIENT,
        "SignalExternalWorkflow": SpanKind.CLIENT,
    }
)
"""What a span of workflow code is, by the first part of its name."""

Attributes = Mapping[str, AttributeValue]


class _Headed(Protocol):
    """An input that carries headers."""

    headers: Mapping[str, Any]


class TracingInterceptor(client.Interceptor, worker.Interceptor):
    """Traces what a client asks for and what its workers do. Give it to `Client.connect`; workers take it over.

    Args:
        tracer: makes the spans. Default: that of the global provider.
        always_create_workflow_spans: makes spans in workflows also where the start was not traced; each such run is a
            trace of its own. Default False.

    Example:
        ``client = await Client.connect(interceptors=[TracingInterceptor()])``
    """

    propagator: TextMapPropagator = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
    """How a context travels; a subclass may have another."""

    def __init__(self, tracer: Tracer | None = None, *, always_create_workflow_spans: bool = False) -> None:
        self.tracer: Tracer = tracer or trace.get_tracer("perdure")
        self.always_create_workflow_spans = always_create_workflow_spans

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:
        """Traces the calls of a client."""
        return _ClientCalls(next, self)

    def intercept_activity(self, next: worker.ActivityInboundInterceptor) -> worker.ActivityInboundInterceptor:
        """Traces an attempt of an activity."""
        return _ActivityCode(next, self)

    def workflow_interceptor_class(
        self, input: worker.WorkflowInterceptorClassInput, /
    ) -> type[worker.WorkflowInboundInterceptor]:
        """Traces workflows."""
        _ = input
        return type("TracedWorkflowCode", (_WorkflowCode,), {"tracing": self})

    def inject(self, input: _Headed, context: Context | None = None) -> None:
        """Puts a context, by default the current one, into the headers of an input."""
        carrier: dict[str, str] = {}
        self.propagator.inject(carrier, context)  # pyright: ignore[reportArgumentType]  # its own default
        if carrier:
            input.headers = {**input.headers, HEADER: carrier}

    def extract(self, headers: Mapping[str, Any]) -> Context | None:
        """The context that headers carry."""
        carrier = headers.get(HEADER)
        return self.propagator.extract(cast(Mapping[str, str], carrier)) if isinstance(carrier, Mapping) else None

    @contextmanager
    def around(self, name: str, *inputs: _Headed, **attributes: AttributeValue | None) -> Generator[Span]:
        """A span of a client around a call, whose context goes with the inputs that carry headers."""
        named = {f"perdure.{key}": value for key, value in attributes.items() if value}
        with self.tracer.start_as_current_span(name, attributes=named, kind=SpanKind.CLIENT) as span:
            for headed in inputs:
                self.inject(headed)
            yield span


class _ClientCalls(client.OutboundInterceptor):
    def __init__(self, next: client.OutboundInterceptor, tracing: TracingInterceptor) -> None:
        super().__init__(next)
        self._tracing = tracing

    async def start_workflow(self, input: client.StartWorkflowInput) -> WorkflowHandle[Any]:
        kind = "SignalWithStartWorkflow" if input.start_signal else "StartWorkflow"
        with self._tracing.around(f"{kind}:{input.workflow}", input, workflow_id=input.id) as span:
            handle = await super().start_workflow(input)
            span.set_attribute("perdure.run_id", handle.result_run_id or "")
            return handle

    async def signal_workflow(self, input: client.SignalWorkflowInput) -> None:
        where = {"workflow_id": input.id, "run_id": input.run_id or ""}
        with self._tracing.around(f"SignalWorkflow:{input.signal}", input, **where):
            await super().signal_workflow(input)

    async def query_workflow(self, input: client.QueryWorkflowInput) -> Any:
        where = {"workflow_id": input.id, "run_id": input.run_id or ""}
        with self._tracing.around(f"QueryWorkflow:{input.query}", input, **where):
            return await super().query_workflow(input)

    async def start_workflow_update(self, input: client.StartWorkflowUpdateInput) -> WorkflowUpdateHandle[Any]:
        where = {"workflow_id": input.id, "run_id": input.run_id or "", "update_id": input.update_id}
        with self._tracing.around(f"StartWorkflowUpdate:{input.update}", input, **where):
            return await super().start_workflow_update(input)

    async def start_update_with_start_workflow(
        self, input: client.StartWorkflowUpdateWithStartInput
    ) -> WorkflowUpdateHandle[Any]:
        start, update = input.start_workflow_input, input.update_workflow_input
        name = f"StartUpdateWithStartWorkflow:{start.workflow}"
        with self._tracing.around(name, start, update, workflow_id=start.id, update_id=update.update_id):
            return await super().start_update_with_start_workflow(input)

    async def start_activity(self, input: client.StartActivityInput) -> StandaloneActivityHandle[Any]:
        with self._tracing.around(f"StartActivity:{input.activity_type}", input, activity_id=input.id) as span:
            handle = await super().start_activity(input)
            span.set_attribute("perdure.activity_run_id", handle.run_id or "")
            return handle

    async def complete_async_activity(self, input: client.CompleteAsyncActivityInput) -> None:
        with self._tracing.around("CompleteAsyncActivity", **_which(input.id_or_token)):
            await super().complete_async_activity(input)

    async def fail_async_activity(self, input: client.FailAsyncActivityInput) -> None:
        with self._tracing.around("FailAsyncActivity", **_which(input.id_or_token)):
            await super().fail_async_activity(input)

    async def report_cancellation_async_activity(self, input: client.ReportCancellationAsyncActivityInput) -> None:
        with self._tracing.around("ReportCancellationAsyncActivity", **_which(input.id_or_token)):
            await super().report_cancellation_async_activity(input)

    async def resume_waitpoint(self, input: client.ResumeWaitpointInput) -> None:
        with self._tracing.around("ResumeWaitpoint"):  # its token is a secret
            await super().resume_waitpoint(input)


def _which(id_or_token: AsyncActivityIDReference | bytes) -> dict[str, str | None]:
    """Attributes that say which activity; a token says nothing to people."""
    if isinstance(id_or_token, bytes):
        return {}
    return {"workflow_id": id_or_token.workflow_id, "activity_id": id_or_token.activity_id}


class _ActivityCode(worker.ActivityInboundInterceptor):
    def __init__(self, next: worker.ActivityInboundInterceptor, tracing: TracingInterceptor) -> None:
        super().__init__(next)
        self._tracing = tracing

    async def execute_activity(self, input: worker.ExecuteActivityInput) -> Any:
        info = activity_info()
        attributes: Attributes = {
            "perdure.workflow_id": info.workflow_id,
            "perdure.run_id": info.workflow_run_id,
            "perdure.activity_id": info.activity_id,
            "perdure.attempt": info.attempt,
        }
        with self._tracing.tracer.start_as_current_span(
            f"RunActivity:{info.activity_type}",
            context=self._tracing.extract(input.headers),
            attributes=attributes,
            kind=SpanKind.SERVER,
        ):
            return await super().execute_activity(input)


class _FixedIds(IdGenerator):
    """The ids of one span, known before."""

    def __init__(self, trace_id: int, span_id: int) -> None:
        self._trace_id = trace_id
        self._span_id = span_id

    def generate_span_id(self) -> int:
        return self._span_id

    def generate_trace_id(self) -> int:
        return self._trace_id


_run: ContextVar[_WorkflowCode | None] = ContextVar("perdure_tracing", default=None)


class _WorkflowCode(worker.WorkflowInboundInterceptor):
    tracing: TracingInterceptor

    def __init__(self, next: worker.WorkflowInboundInterceptor) -> None:
        super().__init__(next)
        self._spans = 0
        self._main: Context | None = None

    def init(self, outbound: worker.WorkflowOutboundInterceptor) -> None:
        super().init(_WorkflowCalls(outbound, self))

    async def execute_workflow(self, input: worker.ExecuteWorkflowInput) -> Any:
        _run.set(self)
        name = workflow.info().workflow_type
        self._main = self.completed(f"RunWorkflow:{name}", context=self.tracing.extract(input.headers) or Context())
        otel.attach(self._main)
        try:
            result = await super().execute_workflow(input)
        except GeneratorExit:
            raise
        except BaseException as error:
            if not isinstance(error, _PARKS):
                wrong = None if isinstance(error, ContinueAsNewError) else error
                self.completed(f"CompleteWorkflow:{name}", context=self._main, exception=wrong)
            raise
        self.completed(f"CompleteWorkflow:{name}", context=self._main)
        return result

    async def handle_signal(self, input: worker.HandleSignalInput) -> None:
        self._handle(f"HandleSignal:{input.signal}", input.headers)
        await super().handle_signal(input)

    async def handle_update_handler(self, input: worker.HandleUpdateInput) -> Any:
        self._handle(f"HandleUpdate:{input.update}", input.headers, **{"perdure.update_id": input.id})
        return await super().handle_update_handler(input)

    def handle_update_validator(self, input: worker.HandleUpdateInput) -> None:
        with self._looked(f"ValidateUpdate:{input.update}", input.headers):
            super().handle_update_validator(input)

    async def handle_query(self, input: worker.HandleQueryInput) -> Any:
        with self._looked(f"HandleQuery:{input.query}", input.headers):
            return await super().handle_query(input)

    def _handle(self, name: str, headers: Mapping[str, Any], **attributes: AttributeValue) -> None:
        """The rest of the handler, which has a context of its own, belongs to this span."""
        _run.set(self)
        sent = self.tracing.extract(headers)
        context = self.completed(name, context=sent or self._main, links=self._links(sent), attributes=attributes)
        otel.attach(context)

    @contextmanager
    def _looked(self, name: str, headers: Mapping[str, Any]) -> Generator[None]:
        """Around what runs once and is not replayed: it has ids of chance, and a duration."""
        runtime = runtime_for("tracing")
        sent = self.tracing.extract(headers)
        if sent is None and self._main is None:
            yield
            return
        attributes, links = self._where(), self._links(sent)
        with runtime.outside():
            span = self.tracing.tracer.start_span(
                name, context=sent or self._main, attributes=attributes, links=links, kind=SpanKind.SERVER
            )
        try:
            yield
        except BaseException as error:
            with runtime.outside():
                _record(span, error, None)
            raise
        finally:
            with runtime.outside():
                span.end()

    def _links(self, sent: Context | None) -> Sequence[Link]:
        """A message that brings a context of its own is linked to the run that it came to."""
        here = trace.get_current_span(self._main).get_span_context() if sent is not None and self._main else None
        return [Link(here)] if here is not None and here.is_valid else []

    def _where(self) -> Attributes:
        info = workflow.info()
        return {"perdure.workflow_id": info.workflow_id, "perdure.run_id": info.run_id}

    def completed(
        self,
        name: str,
        *,
        context: Context | None = None,
        attributes: Attributes | None = None,
        exception: BaseException | None = None,
        links: Sequence[Link] = (),
    ) -> Context:
        """A span at this instant of the workflow, exported unless it was before; the context in which it is current."""
        context = otel.get_current() if context is None else context
        parent = trace.get_current_span(context).get_span_context()
        if not (parent.is_valid or self.tracing.always_create_workflow_spans):
            return context
        runtime, at = runtime_for("tracing"), int(workflow.time() * 1_000_000) * 1_000
        is_new = not workflow.is_replaying()
        tracer, told = self._tracer(name), {**self._where(), **(attributes or {})}
        kind = _KINDS.get(name.partition(":")[0], SpanKind.INTERNAL)
        with runtime.outside():
            span = tracer.start_span(name, context=context, attributes=told, links=links, kind=kind, start_time=at)
            if is_new and exception is not None:
                _record(span, exception, at)
            if is_new:
                span.end(at)
        return trace.set_span_in_context(trace.NonRecordingSpan(span.get_span_context()), context)

    def _tracer(self, name: str) -> Tracer:
        """Makes the next span of this run with the ids that it always has; on replay nobody hears of it."""
        tracer = getattr(self.tracing.tracer, "_tracer", self.tracing.tracer)  # the one behind a proxy
        if not isinstance(tracer, SdkTracer):
            return tracer
        self._spans += 1
        info, fixed = workflow.info(), copy.copy(tracer)
        span_id = _derived(8, info.run_id, str(self._spans), name)
        fixed.id_generator = _FixedIds(_derived(16, info.first_execution_run_id), span_id)
        if workflow.is_replaying():
            fixed.span_processor = SpanProcessor()  # type: ignore[assignment]  # one that does nothing
        return fixed


class _WorkflowCalls(worker.WorkflowOutboundInterceptor):
    def __init__(self, next: worker.WorkflowOutboundInterceptor, code: _WorkflowCode) -> None:
        super().__init__(next)
        self._code = code

    def start_activity(self, input: worker.StartActivityInput) -> ActivityHandle[Any]:
        self._ask(f"StartActivity:{input.activity}", input)
        return super().start_activity(input)

    def start_local_activity(self, input: worker.StartLocalActivityInput) -> ActivityHandle[Any]:
        self._ask(f"StartActivity:{input.activity}", input)
        return super().start_local_activity(input)

    async def start_child_workflow(self, input: worker.StartChildWorkflowInput) -> ChildWorkflowHandle[Any]:
        self._ask(f"StartChildWorkflow:{input.workflow}", input)
        return await super().start_child_workflow(input)

    async def signal_child_workflow(self, input: worker.SignalChildWorkflowInput) -> None:
        self._ask(f"SignalChildWorkflow:{input.signal}", input)
        await super().signal_child_workflow(input)

    async def signal_external_workflow(self, input: worker.SignalExternalWorkflowInput) -> None:
        self._ask(f"SignalExternalWorkflow:{input.signal}", input)
        await super().signal_external_workflow(input)

    def continue_as_new(self, input: worker.ContinueAsNewInput) -> NoReturn:
        self._code.tracing.inject(input)
        super().continue_as_new(input)

    def _ask(self, name: str, input: _Headed) -> None:
        self._code.tracing.inject(input, self._code.completed(name))


def completed_span(name: str, *, attributes: Attributes | None = None, exception: BaseException | None = None) -> None:
    """A span of your own at this instant of a workflow, exported once however often the workflow is replayed.

    Args:
        name: the span's name.
        attributes: what it says. Default nothing.
        exception: what went wrong, if anything did.

    Raises `RuntimeError` outside a workflow. In a query, in a validator, and without a `TracingInterceptor` on the
    worker it does nothing.

    Example:
        ``completed_span("approved", attributes={"by": approval.by})``
    """
    runtime = runtime_for("completed_span()")
    run = _run.get()
    if run is not None and not runtime.is_read_only():
        run.completed(name, attributes=attributes, exception=exception)


class OpenTelemetrySink:
    """Takes the metrics of workflows and activities to OpenTelemetry.

    Args:
        meter: makes the instruments. Default: that of the global provider.

    Example:
        ``client = await Client.connect(metric_meter=MetricMeter(OpenTelemetrySink()))``
    """

    def __init__(self, meter: Meter | None = None) -> None:
        self._meter = meter or get_meter("perdure")
        self._made: dict[tuple[MetricKind, str], Record] = {}

    def instrument(self, kind: MetricKind, name: str, description: str, unit: str) -> Record:
        """What takes the values of one instrument; the first description and unit of a name stay."""
        known = self._made.get((kind, name))
        if known is None:
            known = self._made[kind, name] = self._make(kind, name, description, unit)
        return known

    def _make(self, kind: MetricKind, name: str, description: str, unit: str) -> Record:
        match kind:
            case "counter":
                return self._meter.create_counter(name, unit, description).add
            case "histogram":
                return self._meter.create_histogram(name, unit, description).record
            case "gauge":
                return self._meter.create_gauge(name, unit, description).set


def _record(span: Span, error: BaseException, at: int | None) -> None:
    span.record_exception(error, timestamp=at)
    span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))


def _derived(length: int, *parts: str) -> int:
    """An id of so many bytes that is the same whenever it is asked for; never 0."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:length]) or 1
