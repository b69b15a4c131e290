"""The client against a stand-in for the connection: what is asked, and what the answers become."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from perdure import exceptions, workflow
from perdure._service import Service
from perdure.client import Client, History
from perdure.converter import DataConverter
from perdure_proto.codec import encode_events
from perdure_proto.errors import Code
from perdure_proto.events import AnyEvent, TimerFired, WorkflowExecutionSignaled
from perdure_proto.failures import ApplicationFailure, Failure
from perdure_proto.options import NAMED_RETRY_POLICIES
from perdure_proto.service import (
    Acknowledged,
    CountWorkflowsAnswer,
    DescribeWorkflowAnswer,
    HistoryAnswer,
    ListWorkflowsAnswer,
    QueryWorkflowAnswer,
    StartWorkflowAnswer,
    UpdateWorkflowAnswer,
    WorkflowExecutionInfo,
    WorkflowResultAnswer,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)

approve = workflow.Signal[bool]("approve")
last = workflow.Query[[int], list[str]]("last")
set_amount = workflow.Update[[int], int]("set_amount")


@workflow.defn
async def order(customer: str, *, gift: bool = False) -> list[int]:
    return []


class StandInConnection:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.answers: list[Any] = []
        self.gate: asyncio.Event | None = None

    def about(self, namespace: str, workflow_id: str) -> StandInConnection:
        return self

    async def call(self, method: str, path: str, body: Any, answer_type: type, wait: float = 0.0) -> Any:
        self.asked.append((method, path, body))
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else Acknowledged()
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, answer_type)
        return answer

    async def close(self) -> None:
        pass


@pytest.fixture
def connection() -> StandInConnection:
    return StandInConnection()


@pytest.fixture
def client(connection: StandInConnection) -> Client:
    service = Service(connection, "default", identity="me", converter=DataConverter())  # type: ignore[arg-type]
    return Client(service)


STARTED = StartWorkflowAnswer(workflow_id="o/1", run_id="r1")
ROOT = "/api/v1/namespaces/default"


async def test_a_start_by_call_carries_everything(client: Client, connection: StandInConnection) -> None:
    """Arguments as they were passed, options under the names of the protocol, the id in the path."""
    connection.answers = [STARTED]
    handle = await client.start_workflow(
        order("Ada", gift=True), id="o/1", run_timeout=timedelta(hours=1), retry_policy="fast", memo={"a": 1}
    )
    [(method, path, request)] = connection.asked
    assert ("POST", f"{ROOT}/workflows/o%2F1") == (method, path)
    assert (b'["Ada"]', b'{"gift":true}') == (bytes(request.input), bytes(request.kwargs))
    assert ("order", "default", "me", {"a": 1}) == (
        request.workflow_type,
        request.task_queue,
        request.identity,
        request.memo,
    )
    assert (timedelta(hours=1), NAMED_RETRY_POLICIES["fast"]) == (request.workflow_run_timeout, request.retry_policy)
    assert request.request_id
    assert ("o/1", None, "r1", "r1") == (
        handle.id,
        handle.run_id,
        handle.result_run_id,
        handle.first_execution_run_id,
    )


async def test_a_start_by_function_or_name(client: Client, connection: StandInConnection) -> None:
    """All three forms give the same request; without an id there is a UUID."""
    connection.answers = [STARTED] * 2
    await client.start_workflow(order, "Ada", task_queue="q")
    await client.start_workflow("order", "Ada", task_queue="q", request_id="mine")
    first, second = (request for _, _, request in connection.asked)
    assert (first.workflow_type, bytes(first.input)) == (second.workflow_type, bytes(second.input))
    assert "mine" == second.request_id
    assert len(f"{ROOT}/workflows/") + 36 == len(connection.asked[0][1])


@pytest.mark.parametrize(
    "options", [{"start_signal": approve(True)}, {"start_signal": "approve", "start_signal_args": [True]}]
)
async def test_a_start_may_carry_a_signal(
    client: Client, connection: StandInConnection, options: dict[str, Any]
) -> None:
    """Declared or by name, it travels with the start."""
    connection.answers = [STARTED]
    await client.start_workflow(order, "Ada", id="o/1", **options)
    [(_, _, request)] = connection.asked
    assert ("approve", b"[true]") == (request.start_signal.name, bytes(request.start_signal.input))


async def test_a_signal_with_start_keeps_its_place(client: Client, connection: StandInConnection) -> None:
    """A signal sent after it by the same client waits for its answer."""
    connection.answers = [STARTED]
    connection.gate = asyncio.Event()
    starting = asyncio.ensure_future(client.start_workflow(order, "Ada", id="o/1", start_signal=approve(True)))
    signalling = asyncio.ensure_future(client.get_workflow_handle("o/1").signal(approve, False))
    for _ in range(10):
        await asyncio.sleep(0)
    assert 1 == len(connection.asked)
    connection.gate.set()
    await asyncio.gather(starting, signalling)


WRONG: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda c: c.start_workflow(order, 3), exceptions.ConversionError, r"order\(\) argument 'customer'"),
    (lambda c: c.start_workflow(order("a"), "b"), TypeError, "has its arguments already"),
    (lambda c: c.start_workflow(print, "b"), TypeError, "is not a workflow"),
    (lambda c: c.start_workflow(order, "a", idd="x"), TypeError, "no option 'idd'"),
    (lambda c: c.start_workflow(order, "a", start_delay=5), TypeError, "start_delay is a timedelta"),
    (lambda c: c.start_workflow(order, "a", start_delay=timedelta(-1)), ValueError, "start_delay must not be negative"),
    (lambda c: c.get_workflow_handle("w").reset(3, activity_id="1"), ValueError, "not both"),
    (lambda c: c.get_workflow_handle("w").reset("middle"), ValueError, "not to 'middle'"),
    (lambda c: c.get_workflow_handle("w").reset(reapply=["signals"]), ValueError, "reapply"),
    (lambda c: c.start_workflow(order, "a", start_signal=approve(3)), exceptions.ConversionError, "approve"),  # type: ignore[arg-type]
    (lambda c: c.start_workflow(order, "a", start_signal_args=[1]), TypeError, "start_signal"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
async def test_mistakes_never_reach_the_service(
    client: Client, connection: StandInConnection, call: Callable[[Any], Any], error: type[Exception], message: str
) -> None:
    """What cannot be asked is refused here, in words."""
    with pytest.raises(error, match=message):
        await call(client)
    assert [] == connection.asked


async def test_a_taken_id_has_an_error_of_its_own(client: Client, connection: StandInConnection) -> None:
    """It names the id and the run that holds it."""
    connection.answers = [exceptions.RPCError("taken", code=Code.WORKFLOW_ALREADY_STARTED, details={"run_id": "r0"})]
    with pytest.raises(exceptions.WorkflowAlreadyStartedError, match="'o-1'") as caught:
        await client.start_workflow(order, "Ada", id="o-1")
    assert ("order", "r0") == (caught.value.workflow_type, caught.value.run_id)


def ended(status: Any, **rest: Any) -> WorkflowResultAnswer:
    return WorkflowResultAnswer(run_id=rest.pop("run_id", "r1"), status=status, **rest)


async def test_a_result_is_waited_for_and_followed(client: Client, connection: StandInConnection) -> None:
    """Long polls go on until the chain of runs has ended; the result has its type."""
    connection.answers = [
        STARTED,
        ended("RUNNING"),
        ended("CONTINUED_AS_NEW", new_run_id="r2"),
        ended("COMPLETED", run_id="r2", result=Raw(b"[1,2]")),
    ]
    assert [1, 2] == await client.execute_workflow(order("Ada"), id="o")
    runs = [path.partition("run_id=")[2][:2] for _, path, _ in connection.asked[1:]]
    assert ["r1", "r1", "r2"] == runs


async def test_runs_need_not_be_followed(client: Client, connection: StandInConnection) -> None:
    """Then the end of one run is told as what it is."""
    connection.answers = [ended("CONTINUED_AS_NEW", new_run_id="r2")]
    with pytest.raises(exceptions.WorkflowContinuedAsNewError) as caught:
        await client.get_workflow_handle("o").result(follow_runs=False)
    assert "r2" == caught.value.new_execution_run_id


FAILURE = Failure(message="no", info=ApplicationFailure(type="T"))


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (ended("FAILED", failure=FAILURE), exceptions.ApplicationError),
        (ended("FAILED"), exceptions.ApplicationError),
        (ended("CANCELED"), exceptions.CancelledError),
        (ended("TERMINATED"), exceptions.TerminatedError),
        (ended("TIMED_OUT"), exceptions.TimeoutError),
    ],
)
async def test_an_end_without_result_has_a_cause(
    client: Client, connection: StandInConnection, answer: WorkflowResultAnswer, cause: type[Exception]
) -> None:
    """`WorkflowFailureError.cause` says how it ended."""
    connection.answers = [answer]
    with pytest.raises(exceptions.WorkflowFailureError) as caught:
        await client.get_workflow_handle("o").result()
    assert cause is type(caught.value.cause)


async def test_a_signal_is_typed_and_deduplicated(client: Client, connection: StandInConnection) -> None:
    """Each form sends the value with a request id of its own; a wrong value stays here."""
    handle = client.get_workflow_handle("o", run_id="r")
    await handle.signal(approve, True)
    await handle.signal(approve(True))
    await handle.signal("approve", True)
    assert [f"{ROOT}/workflows/o/signal/approve"] * 3 == [path for _, path, _ in connection.asked]
    requests = [request for _, _, request in connection.asked]
    assert [(b"[true]", "r")] * 3 == [(bytes(r.input), r.run_id) for r in requests]
    assert 3 == len({r.request_id for r in requests})
    with pytest.raises(exceptions.ConversionError, match=r"approve\(\) argument 1"):
        await handle.signal(approve, "yes")  # type: ignore[misc]


async def test_signals_to_one_workflow_keep_their_order(client: Client, connection: StandInConnection) -> None:
    """The next one waits until the one before is durable; other workflows do not wait."""
    connection.gate = asyncio.Event()
    first, other = client.get_workflow_handle("a"), client.get_workflow_handle("b")
    async with asyncio.TaskGroup() as group:
        for handle, value in ((first, 1), (first, 2), (other, 3)):
            group.create_task(handle.signal("s", value))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [b"[1]", b"[3]"] == [bytes(request.input) for _, _, request in connection.asked]
        connection.gate.set()
    assert b"[2]" == bytes(connection.asked[-1][2].input)


async def test_a_query_has_a_typed_answer(client: Client, connection: StandInConnection) -> None:
    """All forms work; an answer of another type is told."""
    handle = client.get_workflow_handle("o")
    connection.answers = [QueryWorkflowAnswer(result=Raw(b'["a"]'))] * 3 + [QueryWorkflowAnswer(result=Raw(b"3"))]
    assert [["a"]] * 3 == [await handle.query(last, 3), await handle.query(last(3)), await handle.query("last", 3)]
    with pytest.raises(exceptions.ConversionError):
        await handle.query(last, 3)


async def test_a_failed_query_has_an_error_of_its_own(client: Client, connection: StandInConnection) -> None:
    """What the handler said is its message; other errors stay what they are."""
    handle = client.get_workflow_handle("o")
    connection.answers = [exceptions.RPCError("bad", code=Code.QUERY_FAILED)]
    with pytest.raises(exceptions.WorkflowQueryFailedError, match="bad"):
        await handle.query("last", 3)
    connection.answers = [exceptions.RPCError("none", code=Code.WORKFLOW_NOT_FOUND)]
    with pytest.raises(exceptions.RPCError, match="none"):
        await handle.query("last", 3)


def updated(stage: Any, **rest: Any) -> UpdateWorkflowAnswer:
    return UpdateWorkflowAnswer(update_id="u", run_id="r", stage=stage, **rest)


async def test_an_update_is_asked_for_until_it_is_done(client: Client, connection: StandInConnection) -> None:
    """The repeats carry the same update id."""
    connection.answers = [updated("ADMITTED"), updated("ACCEPTED"), updated("COMPLETED", result=Raw(b"3"))]
    assert 3 == await client.get_workflow_handle("o").execute_update(set_amount, 4, id="u")
    assert {"u"} == {request.update_id for _, _, request in connection.asked}


async def test_a_started_update_is_waited_for_by_its_handle(client: Client, connection: StandInConnection) -> None:
    """The handle polls for the outcome."""
    connection.answers = [updated("ACCEPTED"), updated("ACCEPTED"), updated("COMPLETED", result=Raw(b"3"))]
    update = await client.get_workflow_handle("o").start_update(set_amount(4))
    assert ("u", "o", "r") == (update.id, update.workflow_id, update.workflow_run_id)
    assert 3 == await update.result()
    assert "/updates/u?run_id=r&wait_for_stage=COMPLETED" in connection.asked[-1][1]


async def test_a_rejected_update_raises(client: Client, connection: StandInConnection) -> None:
    """The cause is the validator's error."""
    connection.answers = [updated("COMPLETED", failure=FAILURE)]
    with pytest.raises(exceptions.WorkflowUpdateFailedError, match="T: no"):
        await client.get_workflow_handle("o").execute_update("set_amount", 4)


async def test_cancel_and_terminate_say_why(client: Client, connection: StandInConnection) -> None:
    """Both carry the reason and who asked."""
    handle = client.get_workflow_handle("o")
    await handle.cancel(reason="a")
    await handle.terminate(reason="b")
    assert [("a", "me"), ("b", "me")] == [(r.reason, r.identity) for _, _, r in connection.asked]


INFO = WorkflowExecutionInfo(
    workflow_id="o", run_id="r", workflow_type="order", task_queue="q", status="RUNNING", start_time=AT
)


async def test_a_description_is_flat(client: Client, connection: StandInConnection) -> None:
    """Names are Temporal's, and nothing that the service said is lost."""
    answer = DescribeWorkflowAnswer(execution=INFO, static_summary="s")
    connection.answers = [answer]
    found = await client.get_workflow_handle("o").describe()
    assert ("o", "RUNNING", "s", answer) == (found.id, found.status, found.static_summary, found.raw)


async def test_a_list_goes_through_its_pages(client: Client, connection: StandInConnection) -> None:
    """Pages are fetched as they are needed, up to the limit."""
    pages = [
        ListWorkflowsAnswer(executions=(INFO, INFO), next_cursor="c"),
        ListWorkflowsAnswer(executions=(INFO, INFO)),
    ]
    connection.answers = [*pages, *pages]
    assert 4 == len([found async for found in client.list_workflows("a = 1")])
    assert 3 == len([found async for found in client.list_workflows(limit=3)])
    paths = [path for _, path, _ in connection.asked]
    assert f"{ROOT}/workflows?query=a+%3D+1&limit=100" == paths[0]
    assert f"{ROOT}/workflows?limit=1&cursor=c" == paths[3]


async def test_a_count_is_a_number(client: Client, connection: StandInConnection) -> None:
    """The query goes along."""
    connection.answers = [CountWorkflowsAnswer(count=3)]
    assert 3 == (await client.count_workflows("x")).count


EVENTS: list[AnyEvent] = [
    WorkflowExecutionSignaled(event_id=1, event_time=AT, signal_name="s"),
    TimerFired(event_id=2, event_time=AT, timer_id="t", started_event_id=1),
]


def page(events: list[Any], following: int) -> HistoryAnswer:
    return HistoryAnswer(run_id="r", events=Raw(encode_events(events)), next_event_id=following)


async def test_a_history_is_fetched_to_its_end(client: Client, connection: StandInConnection) -> None:
    """An open run ends where nothing more is there."""
    connection.answers = [page(EVENTS[:1], 2), page(EVENTS[1:], 3), page([], 3)]
    history = await client.get_workflow_handle("o", run_id="r").fetch_history()
    assert ["WorkflowExecutionSignaled", "TimerFired"] == [event.event_type for event in history.events]
    assert [(0, "after" not in connection.asked[0][1])] == [(0, True)]
    assert "after=2" in connection.asked[2][1]


async def test_events_are_followed_until_the_run_is_closed(client: Client, connection: StandInConnection) -> None:
    """An empty answer is only the end of a wait."""
    connection.answers = [page(EVENTS[:1], 2), page([], 2), page(EVENTS[1:], 0)]
    found = [event.event_id async for event in client.get_workflow_handle("o").events(follow=True)]
    assert [1, 2] == found
    assert all("wait=20" in path for _, path, _ in connection.asked)


def test_a_history_has_temporals_json() -> None:
    """It is written and read in Temporal's format."""
    history = History(workflow_id="o", events=EVENTS)
    text = history.to_json()
    assert ["1", "2"] == [event["eventId"] for event in msgspec.json.decode(text)["events"]]
    assert EVENTS == list(History.from_json("o", text).events)


async def test_a_client_is_a_context(client: Client) -> None:
    """It closes what it opened, and says who it is."""
    async with client as same:
        assert ("default", "me") == (same.namespace, same.identity)
