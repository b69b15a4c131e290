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
