"""Children of a workflow: started by the call, settled by events, cancelled in four ways."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec import Raw

from perdure import exceptions, workflow
from perdure.exceptions import (
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    ConversionError,
    NondeterminismError,
    TerminatedError,
    WorkflowAlreadyStartedError,
)
from perdure_proto import commands as cmd
from perdure_proto import events as ev
from perdure_proto.failures import ChildWorkflowFailure
from perdure_worker.replayer import Replayer
from tests.replay import others
from tests.replay.service import Service, names

SECOND = timedelta(seconds=1)
go = workflow.Signal[int]("go")
stop = workflow.Signal[None]("stop")


@workflow.defn
async def child(name: str, *, times: int = 1) -> str:
    return name * times


named = child.with_options(id="c")


@workflow.defn
async def sequence() -> str:
    return await child.with_options(id="d")(await named("x"))


@workflow.defn
async def with_handle() -> list[object]:
    handle = await named.start("x", times=2)
    ids = [handle.id, handle.first_execution_run_id]
    await handle.signal(go, 3)
    return [*ids, await handle, handle.done()]


@workflow.defn
async def by_name() -> list[object]:
    first = await workflow.execute_child_workflow("far", args=[1], id="c", result_type=int)
    handle = await workflow.start_child_workflow("far", id="d")
    return [first, await handle]


@workflow.defn
async def with_all_options() -> None:
    await child.with_options(
        id="c",
        namespace="other",
        task_queue="q",
        parent_close_policy="abandon",
        execution_timeout=3 * SECOND,
        run_timeout=2 * SECOND,
        task_timeout=SECOND,
        id_reuse_policy="reject_duplicate",
        retry_policy="fast",
        cron_schedule="* * * * *",
        memo={"a": [1]},
        search_attributes={"since": workflow.now()},
        static_summary="s",
        static_details="d",
    )("x", times=2)


@workflow.defn
async def unnamed() -> bool:
    own, second = await asyncio.gather(child("a"), child("b"))
    return own == second


@workflow.defn
async def caught(start: bool) -> list[object]:
    try:
        if start:
            _ = await named.start("x")
        else:
            await named("x")
    except WorkflowAlreadyStartedError as error:
        return [error.workflow_id, error.workflow_type]
    except ChildWorkflowError as error:
        await asyncio.sleep(1)
        return [
            error.namespace,
            error.workflow_id,
            error.run_id,
            error.workflow_type,
            error.retry_state,
            type(error.cause).__name__,
            getattr(error.cause, "type", None),
        ]
    return []


@workflow.defn
async def not_caught() -> str:
    return await named("x")


@workflow.defn
async def wrong_result() -> int:
    return await workflow.execute_child_workflow("far", id="c", result_type=int)


@workflow.defn
async def cancels(how: str, at_once: bool = False) -> str:
    """Cancels its child and says what came of it."""
    task = asyncio.create_task(_awaits(how))
    await asyncio.sleep(0)
    if not at_once:
        await stop.channel().receive()
    task.cancel()
    return await task


async def _awaits(how: Any) -> str:
    try:
        return await named.with_options(cancellation_type=how)("x")
    except asyncio.CancelledError:
        return "cancelled"
    except ChildWorkflowError as error:
        return f"failed: {error.cause}"


@workflow.defn
async def cancels_handle(how: Any) -> str:
    handle = await named.with_options(cancellation_type=how).start("x")
    assert handle.cancel("enough")
    await asyncio.sleep(0)
    done = handle.done()
    try:
        return f"{done} {await handle}"
    except asyncio.CancelledError:
        return f"{done} cancelled"


@workflow.defn
async def cancels_starts(how: Any) -> str:
    task = asyncio.create_task(named.with_options(cancellation_type=how).start("x"))
    await asyncio.sleep(1)
    task.cancel()
    try:
        handle = await task
    except asyncio.CancelledError:
        return "start cancelled"
    try:
        return await handle
    except asyncio.CancelledError:
        return "cancelled"


@workflow.defn
async def times_out() -> str:
    try:
        async with asyncio.timeout(5):
            return await named("x")
    except TimeoutError:
        return "too slow"


@workflow.defn
async def shielded() -> str:
    task = asyncio.create_task(named("x"))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        return f"still {await task}"


@workflow.defn
async def many(count: int) -> int:
    return len(await asyncio.gather(*[child.with_options(id=f"c-{n}")(str(n)) for n in range(count)]))


@workflow.defn
async def collected() -> list[str]:
    first, second = await child.with_options(id="c").start("a"), await child.with_options(id="d").start("b")
    done, _ = await asyncio.wait({first, second})
    return [one.result() for one in done]


def started(parent: Any, *args: object) -> Service:
    """A run whose child "c" runs."""
    service = Service(parent, *args)
    service.turn()
    others.start(service)
    return service


def asked_to_cancel(how: str, *, running: bool) -> Service:
    """A run that is about to cancel its child "c", which runs or does not yet."""
    service = Service(cancels, how)
    service.turn()
    if running:
        others.start(service)
        assert [] == service.turn()
    service.signal("stop")
    return service


def test_a_result_is_the_argument_of_the_next() -> None:
    """Children run one after the other, each with its id, and the start of one wakes nobody."""
    service = started(sequence)
    assert [] == service.turn()
    others.complete(service, "c", "one")
    (command,) = service.turn()
    assert isinstance(command, cmd.StartChildWorkflowExecution)
    assert ("d", "child", b'["one"]') == (command.workflow_id, command.workflow_type, bytes(command.input))
    others.start(service, "d")
    others.complete(service, "d", "two")
    assert ["CompleteWorkflowExecution"] == names(service.turn())
    assert "two" == service.result()
    service.check()


def test_a_handle_signals_the_child_and_gives_its_result() -> None:
    """The start is waited for; the signal goes to a child only, whichever run it is in."""
    service = started(with_handle)
    (command,) = service.turn()
    expected = cmd.SignalExternalWorkflowExecution(
        workflow_id="c",
        signal_name="go",
        child_workflow_only=True,
        input=command.input,  # type: ignore[union-attr]
    )
    assert expected == command
    assert b"[3]" == bytes(expected.input)
    others.signaled(service)
    service.turn()
    others.complete(service, "c", "xx")
    service.turn()
    assert ["c", others.RUN, "xx", True] == service.result()
    service.check()


def test_a_signal_to_a_child_that_is_gone_raises() -> None:
    """The failure of the signal is an error of its own; the child's result is on its way."""
    service = started(with_handle)
    service.turn()
    others.signal_failed(service)
    assert ["FailWorkflowExecution"] == names(service.turn())
    (failed,) = service.of(ev.WorkflowExecutionFailed)
    assert "EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND" == failed.failure.info.type
    assert "cannot signal workflow 'c': it was not found, or is closed" == failed.failure.message
    service.check()


def test_children_run_by_name_too() -> None:
    """Arguments and the result's type go with the call."""
    service = Service(by_name)
    (command,) = service.turn()
    assert isinstance(command, cmd.StartChildWorkflowExecution)
    assert ("far", b"[1]") == (command.workflow_type, bytes(command.input))
    others.start(service)
    others.complete(service, "c", 5)
    service.turn()
    others.start(service, "d")
    service.turn()
    others.complete(service, "d", {"plain": True})
    service.turn()
    assert [5, {"plain": True}] == service.result()
    service.check()


def test_every_option_is_in_the_command() -> None:
    """What the options say leaves with the start, as history will hold it."""
    service = Service(with_all_options)
    (command,) = service.turn()
    assert isinstance(command, cmd.StartChildWorkflowExecution)
    found = {name: getattr(command, name) for name in command.__struct_fields__}
    assert b'{"times":2}' == bytes(found.pop("kwargs"))
    assert b'["x"]' == bytes(found.pop("input"))
    assert 3 == found.pop("retry_policy").maximum_attempts
    assert {
        "workflow_id": "c",
        "workflow_type": "child",
        "namespace": "other",
        "task_queue": "q",
        "encoding": "",
        "workflow_execution_timeout": 3 * SECOND,
        "workflow_run_timeout": 2 * SECOND,
        "workflow_task_timeout": SECOND,
        "parent_close_policy": "abandon",
        "workflow_id_reuse_policy": "reject_duplicate",
        "cron_schedule": "* * * * *",
        "header": {},
        "memo": {"a": [1]},
        "search_attributes": {"since": "2026-01-01T00:00:01Z"},
        "priority": None,
        "summary": "s",
        "static_details": "d",
    } == found


def test_an_id_that_nobody_gave_is_a_uuid_of_the_workflow() -> None:
    """It is another one for each child, and the same on replay."""
    service = Service(unnamed)
    ids = [command.workflow_id for command in service.turn() if isinstance(command, cmd.StartChildWorkflowExecution)]
    assert [36, 36] == [len(one) for one in ids]
    assert 2 == len(set(ids))
    service.check()
    assert ids == [getattr(command, "workflow_id", "") for command in Service(unnamed).turn()]


ENDS: list[tuple[Callable[[Service], int], str, str, str | None]] = [
    (others.fail, "RETRY_POLICY_NOT_SET", ApplicationError.__name__, "ValueError"),
    (others.cancel, "NON_RETRYABLE_FAILURE", CancelledError.__name__, None),
    (others.time_out, "TIMEOUT", exceptions.TimeoutError.__name__, "START_TO_CLOSE"),
    (others.terminate, "NON_RETRYABLE_FAILURE", TerminatedError.__name__, None),
]


@pytest.mark.parametrize(("end", "retry_state", "cause", "kind"), ENDS, ids=lambda one: getattr(one, "__name__", ""))
def test_a_child_that_does_not_return_says_why_and_the_parent_goes_on(
    end: Callable[[Service], int], retry_state: str, cause: str, kind: str | None
) -> None:
    """The error names the child and why it was not run again; its cause is the child's own."""
    service = started(caught, False)
    end(service)
    assert ["StartTimer"] == names(service.turn())
    service.fire_timer()
    service.turn()
    assert ["default", "c", others.RUN, "child", retry_state, cause, kind] == service.result()
    service.check()


def test_a_child_that_ends_in_a_later_run_names_that_run() -> None:
    """Its continue-as-new and its retries are one child, and the error is of the run that ended it."""
    service = started(caught, False)
    others.fail(service, run_id="last")
    service.turn()
    service.fire_timer()
    service.turn()
    assert "last" == service.result()[2]


def test_a_failure_that_nobody_catches_fails_the_parent_with_its_tree() -> None:
    """The failure of the parent has that of the child as its cause, with the ids of the child's events."""
    service = started(not_caught)
    others.fail(service)
    assert ["FailWorkflowExecution"] == names(service.turn())
    (failed,) = service.of(ev.WorkflowExecutionFailed)
    expected = ChildWorkflowFailure(
        namespace="default",
        workflow_id="c",
        run_id=others.RUN,
        workflow_type="child",
        initiated_event_id=5,
        started_event_id=6,
        retry_state="RETRY_POLICY_NOT_SET",
    )
    assert expected == failed.failure.info
    assert ("Child Workflow execution failed", "boom") == (failed.failure.message, failed.failure.cause.message)
    service.check()


@pytest.mark.parametrize("start", [True, False])
def test_an_id_that_is_taken_raises_from_the_start(start: bool) -> None:
    """As in Temporal the error is that of the start itself, and it can be caught."""
    service = Service(caught, start)
    service.turn()
    others.refuse(service)
    service.turn()
    assert ["c", "child"] == service.result()
    service.check()


@pytest.mark.parametrize("start", [True, False])
def test_a_start_that_fails_otherwise_names_the_cause(start: bool) -> None:
    """Whatever else the service says is the type of the cause."""
    service = Service(caught, start)
    service.turn()
    others.refuse(service, cause="NAMESPACE_NOT_FOUND")
    service.turn()
    service.fire_timer()
    service.turn()
    assert ["default", "c", "", "child", "NON_RETRYABLE_FAILURE", "ApplicationError", "NAMESPACE_NOT_FOUND"] == (
        service.result()
    )
    service.check()


def test_a_result_that_does_not_fit_names_the_child() -> None:
    """It says that the program is wrong, so the task fails and repaired code can go on."""
    service = started(wrong_result)
    others.complete(service, "c", "no number")
    with pytest.raises(ConversionError, match="the result of child workflow far:"):
        service.turn()


def test_a_value_that_cannot_be_written_fails_at_the_call() -> None:
    """Nothing leaves, and the error says which option it is."""

    @workflow.defn
    async def parent() -> str:
        with pytest.raises(ConversionError, match="memo of a child workflow"):
            await child.with_options(memo={"x": object()})("x")
        with pytest.raises(ConversionError, match="name"):
            await child(3)  # type: ignore[arg-type]
        return "refused"

    service = Service(parent)
    assert ["CompleteWorkflowExecution"] == names(service.turn())


TYPES = ["try_cancel", "wait_cancellation_completed", "wait_cancellation_requested", "abandon"]


@pytest.mark.parametrize("how", TYPES)
def test_a_child_cancelled_before_its_command_left_never_was(how: str) -> None:
    """Nothing is asked of the service, whatever the type."""
    service = Service(cancels, how, at_once=True)
    assert ["CompleteWorkflowExecution"] == names(service.turn())
    assert "cancelled" == service.result()
    service.check()


@pytest.mark.parametrize("running", [False, True], ids=["before it started", "after it started"])
def test_try_cancel_asks_and_waits_no_longer(running: bool) -> None:
    """The parent goes on in the same turn; what comes of the child later means nothing to it."""
    service = asked_to_cancel("try_cancel", running=running)
    commands = service.turn()
    assert ["RequestCancelExternalWorkflowExecution", "CompleteWorkflowExecution"] == names(commands)
    expected = cmd.RequestCancelExternalWorkflowExecution(workflow_id="c", child_workflow_only=True)
    assert expected == commands[0]
    assert "cancelled" == service.result()
    service.check()


@pytest.mark.parametrize("running", [False, True], ids=["before it started", "after it started"])
@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (others.cancel, "cancelled"),
        (lambda service: others.complete(service, "c", "done"), "done"),
        (others.fail, "failed: ValueError: boom"),
        (others.terminate, "failed: Terminated"),
    ],
    ids=["cancelled", "completed", "failed", "terminated"],
)
def test_by_default_the_end_of_a_cancelled_child_is_waited_for(
    running: bool, end: Callable[[Service], int], expected: str
) -> None:
    """However it ends, that is what the await gives."""
    service = asked_to_cancel("wait_cancellation_completed", running=running)
    assert ["RequestCancelExternalWorkflowExecution"] == names(service.turn())
    if not running:
        others.start(service)
    others.cancel_requested(service)
    assert [] == service.turn()
    end(service)
    service.turn()
    assert expected == service.result()
    service.check()


@pytest.mark.parametrize("running", [False, True], ids=["before it started", "after it started"])
def test_a_child_that_need_only_be_asked_is_waited_for_until_then(running: bool) -> None:
    """The await ends when the request is there; the end of the child means nothing to it."""
    service = asked_to_cancel("wait_cancellation_requested", running=running)
    assert ["RequestCancelExternalWorkflowExecution"] == names(service.turn())
    if not running:
        others.start(service)
        assert [] == service.turn()
    others.cancel_requested(service)
    service.turn()
    assert "cancelled" == service.result()
    service.check()


def test_a_child_that_could_not_be_asked_is_waited_for_until_its_end() -> None:
    """It is gone: its end is on the way, and says more."""
    service = asked_to_cancel("wait_cancellation_requested", running=True)
    service.turn()
    others.cancel_failed(service)
    assert [] == service.turn()
    others.complete(service, "c", "was quicker")
    service.turn()
    assert "was quicker" == service.result()
    service.check()


@pytest.mark.parametrize("running", [False, True], ids=["before it started", "after it started"])
def test_an_abandoned_child_hears_of_nothing(running: bool) -> None:
    """The await ends at once and nothing is sent."""
    service = asked_to_cancel("abandon", running=running)
    assert ["CompleteWorkflowExecution"] == names(service.turn())
    assert "cancelled" == service.result()
    service.check()


@pytest.mark.parametrize("how", ["try_cancel", "abandon"])
def test_what_comes_of_a_child_that_nobody_waits_for_is_taken_in(how: str) -> None:
    """Answer, start and end of it arrive in a parent that goes on."""

    @workflow.defn
    async def parent() -> str:
        task = asyncio.create_task(named.with_options(cancellation_type=how)("x"))  # type: ignore[arg-type]
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(5)
        return str(task.cancelled())

    service = Service(parent)
    service.turn()
    service.fire_timer()
    service.turn()
    others.start(service)
    service.turn()
    others.complete(service, "c", "late")
    if how == "try_cancel":
        others.cancel_failed(service)
    assert [] == service.turn()
    service.fire_timer(2)
    service.turn()
    assert "True" == service.result()
    service.check()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("try_cancel", "True cancelled"),
        ("wait_cancellation_completed", "False cancelled"),
        ("wait_cancellation_requested", "False cancelled"),
        ("abandon", "True cancelled"),
    ],
)
def test_a_handle_cancels_with_a_reason(how: str, expected: str) -> None:
    """The reason goes to the child, and the await follows the type."""
    service = started(cancels_handle, how)
    requests = [c for c in service.turn() if isinstance(c, cmd.RequestCancelExternalWorkflowExecution)]
    assert ([] if how == "abandon" else ["enough"]) == [request.reason for request in requests]
    if expected.startswith("False"):
        others.cancel_requested(service)
        others.cancel(service)
        service.turn()
    assert expected == service.result()
    service.check()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("try_cancel", "start cancelled"),
        ("wait_cancellation_completed", "cancelled"),
        ("wait_cancellation_requested", "cancelled"),
        ("abandon", "start cancelled"),
    ],
)
def test_a_start_that_is_cancelled_follows_the_type_too(how: str, expected: str) -> None:
    """Where the child is waited for, so is its start."""
    service = Service(cancels_starts, how)
    service.turn()
    service.fire_timer()
    service.turn()
    if expected == "cancelled":
        others.start(service)
        assert [] == service.turn()
        others.cancel_requested(service)
        others.cancel(service)
        service.turn()
    assert expected == service.result()
    service.check()


def test_a_start_that_fails_after_it_was_cancelled_raises() -> None:
    """There was nothing to cancel."""
    service = asked_to_cancel("wait_cancellation_completed", running=False)
    service.turn()
    others.refuse(service)
    others.cancel_failed(service)
    assert ["FailWorkflowExecution"] == names(service.turn())
    (failed,) = service.of(ev.WorkflowExecutionFailed)
    assert WorkflowAlreadyStartedError.__name__ == failed.failure.info.type
    service.check()


def test_cancelling_the_parent_cancels_its_child_with_its_reason() -> None:
    """The parent closes as cancelled once the child has."""
    service = started(not_caught)
    service.turn()
    service.request_cancel("no longer needed")
    (command,) = service.turn()
    assert isinstance(command, cmd.RequestCancelExternalWorkflowExecution)
    assert "no longer needed" == command.reason
    others.cancel_requested(service)
    others.cancel(service)
    assert ["CancelWorkflowExecution"] == names(service.turn())
    service.check()


def test_a_child_that_others_cancelled_closes_a_cancelled_parent_as_cancelled() -> None:
    """Its error is a cancellation by its cause."""
    service = started(not_caught)
    others.cancel(service)
    service.request_cancel()
    assert ["CancelWorkflowExecution"] == names(service.turn())
    service.check()


def test_a_timeout_cancels_the_child_and_waits_for_it() -> None:
    """The block ends when the child has."""
    service = started(times_out)
    service.turn()
    service.fire_timer()
    assert ["RequestCancelExternalWorkflowExecution"] == names(service.turn())
    others.cancel_requested(service)
    others.cancel(service)
    service.turn()
    assert "too slow" == service.result()
    service.check()


def test_a_shielded_child_goes_on() -> None:
    """Nothing is asked of it when the workflow is cancelled."""
    service = started(shielded)
    service.turn()
    service.request_cancel()
    assert [] == service.turn()
    others.complete(service, "c", "fine")
    service.turn()
    assert "still fine" == service.result()
    service.check()


def test_a_child_that_ends_together_with_the_cancellation_has_ended() -> None:
    """What came first in history counts, and nothing is asked of a child that is gone."""
    service = started(not_caught)
    service.turn()
    others.complete(service, "c", "in time")
    service.request_cancel()
    assert "RequestCancelExternalWorkflowExecution" not in names(service.turn())
    service.check()


def test_handles_are_collected_in_the_order_of_their_creation() -> None:
    """A set of them iterates alike on every run."""
    service = started(collected)
    service.turn()
    others.start(service, "d")
    service.turn()
    others.complete(service, "d", "2")
    others.complete(service, "c", "1")
    service.turn()
    assert ["1", "2"] == service.result()
    service.check()


def test_children_are_not_for_queries() -> None:
    """A query that starts one, or signals one, fails and leaves no trace."""

    @workflow.defn
    async def parent() -> None:
        @workflow.query
        def starts() -> str:
            child("x").__await__()
            return ""

        await asyncio.sleep(10)

    service = Service(parent)
    service.turn()
    with pytest.raises(AssertionError, match="child workflow child cannot be used in a query"):
        service.query("starts")
    assert [] == service.of(ev.StartChildWorkflowExecutionInitiated)


def test_a_replay_with_another_child_says_which() -> None:
    """The message names type and id of both sides and the line."""
    service = started(not_caught)

    @workflow.defn(name="not_caught")
    async def other() -> str:
        return await child.with_options(id="z")("x")

    with pytest.raises(
        NondeterminismError,
        match=r"history has StartChildWorkflowExecutionInitiated\(workflow_type='child', workflow_id='c'\).*gave "
        r"StartChildWorkflowExecution\(workflow_type='child', workflow_id='z'\) at .*test_children.py:\d+ in other",
    ):
        Replayer(workflows=[other]).replay(service.events)


def test_news_of_a_child_that_was_never_started_is_nondeterminism() -> None:
    """History and code do not belong together."""
    service = Service(many, 0)
    fields: dict[str, Any] = {"initiated_event_id": 99, "workflow_id": "c", "workflow_type": "child"}
    service.add(ev.ChildWorkflowExecutionStarted, run_id=others.RUN, **fields)
    with pytest.raises(
        NondeterminismError, match="event 2, ChildWorkflowExecutionStarted, is of child 99, which is un"
    ):
        service.turn()


def test_an_evicted_parent_takes_up_its_children() -> None:
    """A worker that has to replay knows which run and which are cancelled."""
    service = asked_to_cancel("wait_cancellation_completed", running=True)
    service.turn()
    service.evict()
    others.cancel_requested(service)
    others.cancel(service)
    service.turn()
    assert "cancelled" == service.result()
    service.check()


def test_ten_thousand_children_at_once() -> None:
    """They start in one turn, and each turn after that costs what it brings."""
    count = 10_000
    service = Service(many, count)
    assert count == len(service.turn())
    by_id = {e.workflow_id: e.event_id for e in service.of(ev.StartChildWorkflowExecutionInitiated)}
    for workflow_id, event_id in by_id.items():
        fields: dict[str, Any] = {
            "initiated_event_id": event_id,
            "workflow_id": workflow_id,
            "workflow_type": "child",
            "run_id": others.RUN,
        }
        service.add(ev.ChildWorkflowExecutionStarted, **fields)
        service.add(ev.ChildWorkflowExecutionCompleted, result=Raw(b'"x"'), **fields)
    service.turn()
    assert count == service.result()
