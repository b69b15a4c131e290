"""Interceptors that carry a tenant from the client to every handler, and workflows that say which tenant they see.

`Tenants` is an interceptor of clients and of workers: the header `tenant` goes wherever a call goes.
"""

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, NoReturn

from perdure import activity, client, workflow
from perdure.activity import ActivityHandle
from perdure_worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ContinueAsNewInput,
    ExecuteActivityInput,
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

MINUTE = timedelta(minutes=1)
tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
TENANT = "tenant"


def sent() -> dict[str, Any]:
    return {TENANT: tenant.get()}


def received(headers: Mapping[str, Any]) -> None:
    tenant.set(headers.get(TENANT, "nobody"))


class OutboundCalls(client.OutboundInterceptor):
    async def start_workflow(self, input: client.StartWorkflowInput) -> client.WorkflowHandle[Any]:
        input.headers = {**input.headers, **sent()}
        return await super().start_workflow(input)

    async def signal_workflow(self, input: client.SignalWorkflowInput) -> None:
        input.headers = sent()
        await super().signal_workflow(input)

    async def query_workflow(self, input: client.QueryWorkflowInput) -> Any:
        input.headers = sent()
        return await super().query_workflow(input)

    async def start_workflow_update(self, input: client.StartWorkflowUpdateInput) -> client.WorkflowUpdateHandle[Any]:
        input.headers = sent()
        return await super().start_workflow_update(input)

    async def start_update_with_start_workflow(
        self, input: client.StartWorkflowUpdateWithStartInput
    ) -> client.WorkflowUpdateHandle[Any]:
        input.start_workflow_input.headers = sent()
        input.update_workflow_input.headers = {TENANT: f"{tenant.get()} who updates"}
        return await super().start_update_with_start_workflow(input)

    async def start_activity(self, input: client.StartActivityInput) -> client.StandaloneActivityHandle[Any]:
        input.headers = sent()
        return await super().start_activity(input)


class WorkflowCalls(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        input.headers = sent()
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
        input.headers = sent()
        return super().start_local_activity(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> workflow.ChildWorkflowHandle[Any]:
        input.headers = {TENANT: f"{tenant.get()}'s child"}
        return await super().start_child_workflow(input)

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        input.headers = {TENANT: f"{tenant.get()} as parent"}
        await super().signal_child_workflow(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        input.headers = {TENANT: f"{tenant.get()} as stranger"}
        await super().signal_external_workflow(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        input.headers = {TENANT: f"{tenant.get()}, later"}
        super().continue_as_new(input)


class WorkflowCode(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(WorkflowCalls(outbound))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        received(input.headers)
        return await super().execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        received(input.headers)
        if input.signal == "items":
            input.args = [f"{input.args[0]} from {tenant.get()}"]
        await super().handle_signal(input)

    async def handle_query(self, input: HandleQueryInput) -> Any:
        received(input.headers)
        return await super().handle_query(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        if not input.headers:
            raise ValueError("an update needs a tenant")
        super().handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        received(input.headers)
        if "waits" in input.args:
            await asyncio.sleep(0.01)
        return await super().handle_update_handler(input)


class ActivityCalls(ActivityOutboundInterceptor):
    def heartbeat(self, *details: Any) -> None:
        super().heartbeat(tenant.get(), *details)


class ActivityCode(ActivityInboundInterceptor):
    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        super().init(ActivityCalls(outbound))

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        received(input.headers)
        try:
            return await super().execute_activity(input)
        except LookupError as error:
            return f"{error.args[0]} was mended"


class Tenants(client.Interceptor, Interceptor):
    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:
        return OutboundCalls(next)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return ActivityCode(next)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput, /
    ) -> type[WorkflowInboundInterceptor] | None:
        return WorkflowCode


@activity.defn(start_to_close_timeout=MINUTE)
async def who() -> str:
    assert tenant.get() == activity.info().headers[TENANT]
    return tenant.get()


@activity.defn(start_to_close_timeout=MINUTE)
def who_in_a_thread() -> str:
    return tenant.get()


@activity.defn(start_to_close_timeout=MINUTE, retry_policy="fast")
async def beats() -> list[Any]:
    """The first attempt leaves a heartbeat behind."""
    if activity.info().attempt == 1:
        activity.heartbeat(7)
        raise ValueError("again")
    return list(activity.info().heartbeat_details)


@activity.defn(start_to_close_timeout=MINUTE, retry_policy="none")
def breaks() -> str:
    raise LookupError("it")


@workflow.defn
async def tells(runs: int) -> list[Any]:
    """Whom each part of it sees."""
    seen = [tenant.get(), await who(), await who_in_a_thread(), await who.local(), await who_in_a_thread.local()]
    if runs > 1:
        workflow.continue_as_new(runs - 1)
    return [*seen, workflow.info().headers[TENANT]]


@workflow.defn
async def beats_and_breaks() -> list[Any]:
    return [await beats(), await breaks(), await breaks.local()]


finish = workflow.Signal[None]("finish")


@workflow.defn
async def listens() -> list[str]:
    """Whom its handlers see."""
    seen: list[str] = []

    @finish.handler
    def _() -> None:
        seen.append(f"signal {tenant.get()}")

    @workflow.signal(name="note")
    async def note() -> None:
        seen.append(f"note {await who()}")

    @workflow.query(name="whom")
    def whom() -> str:
        return tenant.get()

    @workflow.update(name="plain")
    def plain(how: str) -> str:
        return f"{how} {tenant.get()}"

    @workflow.update(name="waiting")
    async def waiting(how: str) -> str:
        return f"{how} {await who()}"

    await workflow.wait_condition(lambda: any(one.startswith("signal") for one in seen))
    await workflow.wait_condition(workflow.all_handlers_finished)
    return [*seen, f"main {tenant.get()}"]


@workflow.defn
async def receives() -> list[str]:
    """Whom the receiver of a channel is, after what its interceptor saw."""
    channel = workflow.signal_channel("items", str)
    return [f"{await channel.receive()} {tenant.get()}" for _ in range(2)]


@workflow.defn
async def has_a_child() -> list[str]:
    """Whom its child sees, and the handlers that it signals in both ways."""
    child = await listens.start()
    await child.signal("note")
    await workflow.external(child.id).signal(finish)
    return await child


WORKFLOWS: list[workflow.Workflow[..., Any]] = [tells, beats_and_breaks, listens, receives, has_a_child]
ACTIVITIES: list[object] = [who, who_in_a_thread, beats, breaks]
