"""Traces as an operator sees them: one trace for each order, each span once, cached or replayed from the start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import pytest
import pytest_asyncio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from perdure import Client
from perdure.client import WithStartWorkflowOperation
from perdure.contrib.opentelemetry import TracingInterceptor
from perdure.exceptions import WorkflowFailureError, WorkflowUpdateFailedError
from perdure_worker import Replayer, Worker
from tests.integration.audit import audit
from tests.integration.model.stack import Stack, served
from tests.postgres import fresh_database
from tests.programs import model_tracing as program
from tests.programs import signs
from tests.programs.model_tracing import add, approve, total

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

ORDER = [
    "StartWorkflow:order > -",
    "RunWorkflow:order > StartWorkflow:order",
    "StartWorkflowUpdate:add > -",
    "ValidateUpdate:add > StartWorkflowUpdate:add",
    "HandleUpdate:add > StartWorkflowUpdate:add",
    "StartActivity:charge > HandleUpdate:add",
    "RunActivity:charge > StartActivity:charge",
    "QueryWorkflow:total > -",
    "HandleQuery:total > QueryWorkflow:total",
    "SignalWorkflow:approve > -",
    "HandleSignal:approve > SignalWorkflow:approve",
    "approved > HandleSignal:approve",
    "RunWorkflow:order > RunWorkflow:order",
    "CompleteWorkflow:order > RunWorkflow:order",
    "StartActivity:charge > RunWorkflow:order",
    "RunActivity:charge > StartActivity:charge",
    "StartActivity:trace_seen > RunWorkflow:order",
    "RunActivity:trace_seen > StartActivity:trace_seen",
    "CompleteWorkflow:order > RunWorkflow:order",
]
"""Each span of one order, and its parent."""


class Traced(NamedTuple):
    stack: Stack
    exporter: InMemorySpanExporter

    def spans(self) -> Sequence[ReadableSpan]:
        """What was exported since the test began."""
        return self.exporter.get_finished_spans()

    def tree(self) -> list[str]:
        names = {span.context.span_id: span.name for span in self.spans() if span.context}
        return [f"{span.name} > {names[span.parent.span_id] if span.parent else '-'}" for span in self.spans()]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 0], ids=["cached", "replayed"])
async def stack_and_spans(
    postgres: str, migrated_template: str, request: pytest.FixtureRequest
) -> AsyncIterator[Traced]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = TracingInterceptor(provider.get_tracer("test"))
    async with fresh_database(postgres, template=migrated_template) as dsn:
        async with served(dsn) as address, await Client.connect(address, interceptors=[tracing]) as client:
            cached: int = request.param
            async with Worker(
                client, workflows=program.WORKFLOWS, activities=program.ACTIVITIES, max_cached_workflows=cached
            ):
                yield Traced(Stack(client, dsn, "default", cached), exporter)
        exporter.clear()
        assert await audit(dsn, program.WORKFLOWS, [tracing])
        assert () == exporter.get_finished_spans(), "a replay exports nothing"
    provider.shutdown()


@pytest.fixture
def traced(stack_and_spans: Traced) -> Traced:
    stack_and_spans.exporter.clear()
    return stack_and_spans


async def test_an_order_is_traced_from_end_to_end(traced: Traced) -> None:
    """Each step once, under what caused it, in the trace of who asked; threads see the trace too."""
    handle = await traced.stack.client.start_workflow(program.order, 2)
    await handle.execute_update(add, 4)
    assert 4 == await handle.query(total)
    await handle.signal(approve)
    seen_in_thread = await handle.result()
    assert sorted(ORDER) == sorted(traced.tree())
    (start,) = [span for span in traced.spans() if span.name.startswith("StartWorkflow:")]
    assert start.context is not None
    assert f"{start.context.trace_id:032x}" == seen_in_thread
    assert {StatusCode.UNSET} == {span.status.status_code for span in traced.spans()}
    ids = [span.context.span_id for span in traced.spans() if span.context]
    assert len(ids) == len(set(ids))


async def test_messages_are_linked_to_the_run(traced: Traced) -> None:
    """A handler's span is in the trace of who sent the message, and points at the workflow's."""
    handle = await traced.stack.client.start_workflow(program.order, 2)
    await handle.signal(approve)
    await handle.result()
    spans = {span.name: span for span in reversed(traced.spans())}
    run, handled = spans["RunWorkflow:order"], spans["HandleSignal:approve"]
    assert run.context is not None
    assert [run.context.span_id] == [link.context.span_id for link in handled.links]


async def test_children_are_in_the_trace_of_their_parent(traced: Traced) -> None:
    """Their runs, and the signals that they get."""
    await traced.stack.client.execute_workflow(program.has_a_child)
    assert {
        "StartChildWorkflow:order > RunWorkflow:has_a_child",
        "RunWorkflow:order > StartChildWorkflow:order",
        "SignalChildWorkflow:approve > RunWorkflow:has_a_child",
        "HandleSignal:approve > SignalChildWorkflow:approve",
    } <= set(traced.tree())
    assert 1 == len({span.context.trace_id for span in traced.spans() if span.context})


async def test_failures_are_recorded(traced: Traced) -> None:
    """The attempt and the end of the workflow say what went wrong; a rejected update is an error of its validator."""
    with pytest.raises(WorkflowFailureError):
        await traced.stack.client.execute_workflow(program.is_declined)
    handle = await traced.stack.client.start_workflow(program.order, 2)
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update(add, -1)
    await handle.terminate()
    failed = {span.name for span in traced.spans() if span.status.status_code is StatusCode.ERROR}
    assert {"RunActivity:declines", "CompleteWorkflow:is_declined", "ValidateUpdate:add"} <= failed


async def test_an_update_with_start_is_traced(traced: Traced) -> None:
    """One span of the client is above the run and above the update's handler."""
    start = WithStartWorkflowOperation(program.updated, id_conflict_policy="fail")
    await traced.stack.client.execute_update_with_start_workflow("once", start_workflow_operation=start)
    assert {
        "StartUpdateWithStartWorkflow:updated > -",
        "RunWorkflow:updated > StartUpdateWithStartWorkflow:updated",
        "HandleUpdate:once > StartUpdateWithStartWorkflow:updated",
    } <= set(traced.tree())


async def test_a_standalone_activity_is_traced(traced: Traced) -> None:
    """Its attempt is under the start, and who ends it from elsewhere has a span of their own."""
    handle = await traced.stack.client.start_activity(program.asks)
    await signs.seen(f"{handle.id} left")
    await traced.stack.client.get_async_activity_handle(activity_id=handle.id).complete("yes")
    assert "yes" == await handle.result()
    expected = ["CompleteAsyncActivity > -", "RunActivity:asks > StartActivity:asks", "StartActivity:asks > -"]
    assert expected == sorted(traced.tree())


async def test_channels_and_waitpoints_are_traced(traced: Traced) -> None:
    """A signal of a channel is handled where it is received; the token of a waitpoint is in no span."""
    handle = await traced.stack.client.start_workflow(program.receives)
    await handle.signal("items", 1)
    token = await handle.query("token")
    await traced.stack.client.resume_waitpoint(token, 2)
    assert 3 == await handle.result()
    assert {"HandleSignal:items > SignalWorkflow:items", "ResumeWaitpoint > -"} <= set(traced.tree())
    assert token not in "".join(span.to_json() for span in traced.spans())


async def test_ids_are_the_same_on_replay(traced: Traced) -> None:
    """A later replay knows the ids of all spans of the workflow: what it would send on is what was sent."""
    handle = await traced.stack.client.start_workflow(program.order, 1)
    await handle.result()
    history = await handle.fetch_history()
    (scheduled,) = [event for event in history.events if event.event_type == "ActivityTaskScheduled"]
    asked = next(span for span in traced.spans() if span.name == "StartActivity:trace_seen")
    assert asked.context is not None
    header: dict[str, dict[str, str]] = getattr(scheduled, "header", {})
    assert f"{asked.context.span_id:016x}" in header["_tracer-data"]["traceparent"]
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    Replayer(program.WORKFLOWS, interceptors=[TracingInterceptor(provider.get_tracer("other"))]).replay(history)
    assert () == exporter.get_finished_spans()


async def test_workflows_that_nobody_traced_have_no_spans(traced: Traced) -> None:
    """Where the start carried no context, only clients and activities have spans."""
    async with await Client.connect(traced.stack.client.service.connection.address) as bare:
        await bare.execute_workflow(program.order, 1)
    assert {"RunActivity:charge > -", "RunActivity:trace_seen > -"} == set(traced.tree())
