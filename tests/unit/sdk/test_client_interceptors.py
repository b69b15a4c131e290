"""Every call of a client passes its interceptors, with all that was said; none is forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure import client as api
from perdure._service import Service
from perdure.client import Client, OutboundInterceptor, StartActivityOptions
from perdure.converter import DataConverter

add = workflow.Update[[int], int]("add")


@activity.defn(start_to_close_timeout=timedelta(seconds=5))
async def greet(name: str) -> str:
    return name


@workflow.defn
async def cart(owner: str) -> str:
    return owner


class Answers(OutboundInterceptor):
    """Notes every call, and lets none go on."""

    def __init__(self) -> None:
        super().__init__(self)
        self.asked: list[tuple[str, Any]] = []
        self.handle: Any = None


def answering(name: str) -> Callable[[Answers, Any], Any]:
    """A method that notes its input and answers with the handle."""

    async def call(self: Answers, input: Any) -> Any:
        self.asked.append((name, input))
        return self.handle

    async def listed(self: Answers, input: Any) -> AsyncIterator[Any]:
        self.asked.append((name, input))
        yield self.handle

    return listed if name.startswith(("list_", "fetch_")) else call


METHODS = [name for name in dir(OutboundInterceptor) if not name.startswith("_")]
for _name in METHODS:
    setattr(Answers, _name, answering(_name))


class Interceptor(api.Interceptor):
    def __init__(self) -> None:
        self.answers = Answers()

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return self.answers


@pytest.fixture
def interceptor() -> Interceptor:
    return Interceptor()


@pytest.fixture
def client(interceptor: Interceptor) -> Client:
    service = Service(None, "default", identity="me", converter=DataConverter())  # type: ignore[arg-type]  # not asked
    client = Client(service, interceptors=[interceptor])
    interceptor.answers.handle = client.get_workflow_handle("w", run_id="r")
    return client


async def all_of(values: AsyncIterator[Any]) -> None:
    async for _ in values:
        pass


def start() -> api.WithStartWorkflowOperation[str]:
    return api.WithStartWorkflowOperation(cart, "Ada", id="w", id_conflict_policy="use_existing")


HOUR = timedelta(hours=1)
BY_IDS = api.AsyncActivityIDReference("w", None, "a")
CALLS: dict[str, tuple[Callable[[Client], Coroutine[Any, Any, Any]], dict[str, Any]]] = {
    "start_workflow": (lambda c: c.start_workflow(cart, "Ada", id="w"), {"workflow": "cart", "id": "w"}),
    "signal_workflow": (lambda c: c.get_workflow_handle("w").signal("s", 1), {"signal": "s", "args": (1,)}),
    "query_workflow": (lambda c: c.get_workflow_handle("w").query("q"), {"query": "q", "run_id": None}),
    "start_workflow_update": (
        lambda c: c.get_workflow_handle("w").start_update(add, 1, id="u"),
        {"update": "add", "update_id": "u", "wait_for_stage": "ACCEPTED"},
    ),
    "start_update_with_start_workflow": (
        lambda c: c.start_update_with_start_workflow(add(1), start_workflow_operation=start(), id="u"),
        {},
    ),
    "cancel_workflow": (lambda c: c.get_workflow_handle("w").cancel(reason="x"), {"id": "w", "reason": "x"}),
    "terminate_workflow": (lambda c: c.get_workflow_handle("w").terminate(reason="x"), {"id": "w", "reason": "x"}),
    "describe_workflow": (lambda c: c.get_workflow_handle("w", run_id="r").describe(), {"id": "w", "run_id": "r"}),
    "fetch_workflow_history_events": (
        lambda c: all_of(c.get_workflow_handle("w").events(follow=True)),
        {"id": "w", "wait_new_event": True},
    ),
    "list_workflows": (lambda c: all_of(c.list_workflows("q", limit=3)), {"query": "q", "limit": 3}),
    "count_workflows": (lambda c: c.count_workflows("q"), {"query": "q"}),
    "pause_workflow": (lambda c: c.get_workflow_handle("w").pause(reason="x"), {"id": "w", "reason": "x"}),
    "unpause_workflow": (lambda c: c.get_workflow_handle("w").unpause(reason="x"), {"id": "w", "reason": "x"}),
    "reset_workflow": (
        lambda c: c.get_workflow_handle("w").reset(4, reason="x", reapply=["signal"]),
        {"event_id": 4, "activity_id": None, "reason": "x", "reapply": ["signal"]},
    ),
    "reopen_workflow": (lambda c: c.get_workflow_handle("w").reopen(reason="x"), {"id": "w", "reason": "x"}),
    "pause_activity": (
        lambda c: c.get_workflow_handle("w").pause_activity("a", reason="x"),
        {"activity_id": "a", "reason": "x"},
    ),
    "unpause_activity": (
        lambda c: c.get_workflow_handle("w").unpause_activity("a", reset_heartbeat=True, jitter=HOUR),
        {"activity_id": "a", "reset_attempts": False, "reset_heartbeat": True, "jitter": HOUR},
    ),
    "reset_activity": (
        lambda c: c.get_workflow_handle("w").reset_activity("a", keep_paused=True, restore_options=True, jitter=HOUR),
        {"activity_id": "a", "keep_paused": True, "reset_heartbeat": False, "restore_options": True, "jitter": HOUR},
    ),
    "update_activity_options": (
        lambda c: c.get_workflow_handle("w").update_activity_options("a", timeouts={"heartbeat_timeout": HOUR}),
        {"activity_id": "a", "timeouts": {"heartbeat_timeout": HOUR}, "restore_original": False},
    ),
    "resume_waitpoint": (lambda c: c.resume_waitpoint("t", 1), {"token": "t", "value": 1}),
    "start_activity": (
        lambda c: c.start_activity(greet("Ada"), id="a"),
        {"activity_type": "greet", "id": "a", "args": ("Ada",), "start_to_close_timeout": timedelta(seconds=5)},
    ),
    "get_activity_result": (
        lambda c: c.get_activity_handle("a", result_type=str).result(),
        {"activity_id": "a", "activity_run_id": None, "result_type": str},
    ),
    "describe_activity": (lambda c: c.get_activity_handle("a", run_id="r").describe(), {"activity_run_id": "r"}),
    "cancel_activity": (lambda c: c.get_activity_handle("a").cancel(reason="x"), {"activity_id": "a", "reason": "x"}),
    "terminate_activity": (lambda c: c.get_activity_handle("a").terminate(reason="x"), {"reason": "x"}),
    "list_activities": (lambda c: all_of(c.list_activities("q", limit=3)), {"query": "q", "limit": 3}),
    "count_activities": (lambda c: c.count_activities("q"), {"query": "q"}),
    "heartbeat_async_activity": (
        lambda c: c.get_async_activity_handle(workflow_id="w", activity_id="a").heartbeat(1),
        {"id_or_token": BY_IDS, "details": (1,)},
    ),
    "complete_async_activity": (
        lambda c: c.get_async_activity_handle(task_token=b"t").complete(1),
        {"id_or_token": b"t", "result": 1},
    ),
    "fail_async_activity": (
        lambda c: c.get_async_activity_handle(task_token=b"t").fail(ValueError("no"), last_heartbeat_details=[1]),
        {"id_or_token": b"t", "last_heartbeat_details": [1]},
    ),
    "report_cancellation_async_activity": (
        lambda c: c.get_async_activity_handle(activity_id="a").report_cancellation(1),
        {"id_or_token": api.AsyncActivityIDReference(None, None, "a"), "details": (1,)},
    ),
}


@pytest.mark.parametrize("name", METHODS)
async def test_a_call_passes(name: str, client: Client, interceptor: Interceptor) -> None:
    """One call, and its input says what the caller said."""
    call, said = CALLS[name]
    await call(client)
    [(method, given)] = interceptor.answers.asked
    assert (name, said) == (method, {field: getattr(given, field) for field in said})


async def test_an_update_with_start_has_two_inputs(client: Client, interceptor: Interceptor) -> None:
    """The start with its options and the update, each with headers of its own."""
    await CALLS["start_update_with_start_workflow"][0](client)
    [(_, given)] = interceptor.answers.asked
    started, update = given.start_workflow_input, given.update_workflow_input
    assert ("cart", ("Ada",), "w", "use_existing") == (
        started.workflow,
        started.args,
        started.id,
        started.id_conflict_policy,
    )
    assert ("add", (1,), "u", "ACCEPTED") == (update.update, update.args, update.update_id, update.wait_for_stage)


def test_an_input_carries_every_option_of_an_activity() -> None:
    """An option that were missing would be lost."""
    assert StartActivityOptions.__annotations__.keys() <= api.StartActivityInput.__dataclass_fields__.keys()


def test_every_input_is_public() -> None:
    """What a method takes can be imported, to be written down as its type."""
    taken = {OutboundInterceptor.__dict__.get(name) or getattr(OutboundInterceptor, name) for name in METHODS}
    inputs = {method.__annotations__["input"] for method in taken}
    assert inputs <= set(api.__all__)
