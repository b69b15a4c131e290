"""Signals, queries and updates as users write them, by handler, by channel and by name."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from perdure.client import WorkflowHandle
from perdure.exceptions import (
    ApplicationError,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from perdure_proto.service import SignalWorkflowRequest
from tests.integration.model.stack import Stack, one_stimulus, stack_of
from tests.programs import model_messages as program
from tests.programs.model_messages import Approval, account, add, approve, items, last, rename, total

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[1000, 1, 0], ids=["cached", "one", "replayed"])
async def stack(postgres: str, migrated_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    async with stack_of(postgres, migrated_template, program.WORKFLOWS, program.ACTIVITIES, request.param) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def opened(stack: Stack) -> AsyncIterator[WorkflowHandle[str]]:
    """An account that holds 10; it is closed at the end."""
    handle = await stack.client.start_workflow(account, 10, id=stack.new_id(), task_queue=stack.task_queue)
    async for event in handle.events(follow=True):  # so that what a test sends is not there with the start
        if event.event_type == "WorkflowTaskCompleted":
            break
    yield handle
    if (await handle.describe()).status == "RUNNING":
        await handle.terminate()


@one_stimulus
async def test_a_signal_carries_a_typed_value(opened: WorkflowHandle[str]) -> None:
    """A handler takes it, and the workflow goes on."""
    await opened.signal(approve, Approval(by="Ada", ok=True))
    assert "10 approved by Ada" == await opened.result()


async def test_a_signal_whose_value_does_not_fit_is_dropped(opened: WorkflowHandle[str]) -> None:
    """The workflow does not see it, and takes the next one."""
    await opened.signal("approve", {"by": 3})
    await opened.signal(approve, Approval(by="Bob", ok=False))
    assert "10 refused by Bob" == await opened.result()


async def test_a_repeated_signal_is_recorded_once(stack: Stack) -> None:
    """The same request id is the same signal, whatever it carries."""
    handle = await stack.client.start_workflow(program.mailbox, 2, 0.0, task_queue=stack.task_queue)
    for _ in range(2):
        request = SignalWorkflowRequest(request_id="once", input=stack.client.data_converter.encode_args((7,), {})[0])
        await stack.client.service.signal(handle.id, "items", request)
    await handle.signal(items, 8)
    assert [7, 8] == await handle.result()


async def test_a_query_sees_what_was_acknowledged(opened: WorkflowHandle[str]) -> None:
    """After an update, its effect is seen."""
    await opened.execute_update(add, 5)
    assert 15 == await opened.query(total)


async def test_a_query_takes_arguments(opened: WorkflowHandle[str]) -> None:
    """Typed, as a call, and by name."""
    await opened.execute_update(add, 5)
    answers = [await opened.query(last, 1), await opened.query(last(1)), await opened.query("last", 1)]
    assert [[5], [5], [5]] == answers


async def test_a_closed_workflow_answers_queries(opened: WorkflowHandle[str]) -> None:
    """It is replayed to its end."""
    await opened.execute_update(add, 7)
    await opened.signal(approve, Approval(by="Ada", ok=True))
    await opened.result()
    assert 17 == await opened.query(total)


@pytest.mark.parametrize(
    ("name", "args", "reason"),
    [
        ("nothing", (), "nothing"),
        ("last", (-1,), "must not be negative"),
        ("misbehaves", (), "query"),
        ("last", ("x",), "int"),
    ],
)
async def test_a_query_that_cannot_be_answered_fails(
    opened: WorkflowHandle[str], name: str, args: tuple[object, ...], reason: str
) -> None:
    """No handler, a handler that raises, one that does more than look, arguments that do not fit."""
    with pytest.raises(WorkflowQueryFailedError, match=reason):
        await opened.query(name, *args)


async def test_the_stack_of_every_workflow_can_be_asked(opened: WorkflowHandle[str]) -> None:
    """`__stack_trace` shows the line where the workflow waits."""
    assert "wait_condition" in await opened.query("__stack_trace")


@one_stimulus
async def test_an_update_gives_its_result(opened: WorkflowHandle[str]) -> None:
    """The handler may wait for activities."""
    assert 14 == await opened.execute_update(add, 4)


@one_stimulus
async def test_an_update_takes_several_arguments(opened: WorkflowHandle[str]) -> None:
    """And its handler knows which update it runs for."""
    assert "haha by rename" == await opened.execute_update(rename("ha", 2))


@one_stimulus
async def test_an_update_that_its_validator_refuses_leaves_no_trace(opened: WorkflowHandle[str]) -> None:
    """The caller is told why, and the history stays as it was."""
    await opened.query(total)
    before = len((await opened.fetch_history()).events)
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await opened.execute_update(add, -1)
    assert "negative" in str(caught.value.cause)
    assert before == len((await opened.fetch_history()).events)


@one_stimulus
async def test_an_update_whose_handler_raises_fails_alone(opened: WorkflowHandle[str]) -> None:
    """The workflow goes on."""
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await opened.execute_update(add, 0)
    assert isinstance(caught.value.cause, ApplicationError)
    assert ("Zero", (0,)) == (caught.value.cause.type, caught.value.cause.details)
    assert 11 == await opened.execute_update(add, 1)


@one_stimulus
async def test_an_update_without_a_handler_is_refused(opened: WorkflowHandle[str]) -> None:
    """Its name is in the error."""
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await opened.execute_update("nothing", 1)
    assert "nothing" in str(caught.value.cause)


@one_stimulus
async def test_an_update_runs_once_for_its_id(opened: WorkflowHandle[str]) -> None:
    """A repeat gets the first answer, also after the workflow has closed."""
    first = await opened.execute_update(add, 5, id="u-1")
    await opened.execute_update(add, 1)
    again = await opened.execute_update(add, 5, id="u-1")
    await opened.signal(approve, Approval(by="Ada", ok=True))
    await opened.result()
    late = await opened.execute_update(add, 5, id="u-1")
    assert (15, 15, 15) == (first, again, late)


async def test_the_outcome_of_an_update_can_be_fetched_by_its_id(opened: WorkflowHandle[str]) -> None:
    """Accepted first, the result later, by another handle."""
    started = await opened.start_update(add, 5, id="u-2")
    assert 15 == await started.result()
    assert 15 == await opened.get_update_handle("u-2", result_type=int).result()


@pytest.mark.parametrize("wait_before", [0.0, 0.1])
async def test_a_channel_keeps_signals_in_order(stack: Stack, wait_before: float) -> None:
    """Those that came before it was opened are there too."""
    handle = await stack.client.start_workflow(program.mailbox, 10, wait_before, task_queue=stack.task_queue)
    for item in range(10):
        await handle.signal(items, item)
    assert list(range(10)) == await handle.result()


async def test_a_channel_loses_nothing_to_who_stops_waiting(stack: Stack) -> None:
    """A timeout, an empty channel, and a receive that was cancelled."""
    handle = await stack.client.start_workflow(program.patient_receiver, task_queue=stack.task_queue)
    events = handle.events(follow=True)
    async for event in events:
        if event.event_type == "TimerFired":
            break
    await handle.signal(items, 1)
    await handle.signal(items, 2)
    assert ["timeout", "empty", "1", "2"] == await handle.result()


async def test_messages_work_by_name(stack: Stack) -> None:
    """Handlers named by their functions, and one that takes every other name."""
    handle = await stack.client.start_workflow(program.untyped, 2, task_queue=stack.task_queue)
    await handle.signal("told", "hello")
    assert "" == await handle.execute_update("set", "mine") or "hello" == await handle.query("note")
    await handle.signal("anything", 1, "two")
    await handle.signal("else")
    assert [["anything", 1, "two"], ["else"]] == (await handle.result())["heard"]


async def test_a_signal_handler_that_raises_fails_the_workflow(stack: Stack) -> None:
    """Its error is the workflow's."""
    handle = await stack.client.start_workflow(program.hears_badly, task_queue=stack.task_queue)
    await handle.signal("told", "noise")
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert "Deaf" == caught.value.cause.type


async def test_a_condition_can_time_out(stack: Stack) -> None:
    """`wait_condition` with a timeout raises the built-in `TimeoutError`."""
    assert "timeout" == await stack.client.execute_workflow(program.waits_in_vain, task_queue=stack.task_queue)
