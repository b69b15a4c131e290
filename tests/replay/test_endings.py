"""How runs end: results, failures, cancellation, continue-as-new, and tasks that fail so that the run does not."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.exceptions import ApplicationError
from perdure_proto import commands as cmd
from perdure_proto.failures import ApplicationFailure
from perdure_worker.runtime import WorkflowInstance
from tests.replay.service import Service, names


@activity.defn
async def work(value: str) -> str:
    return value


@workflow.defn
async def raises(kind: str) -> None:
    errors: dict[str, BaseException] = {
        "value": ValueError("wrong"),
        "application": ApplicationError("no", 1, type="No", non_retryable=True),
        "type": TypeError("wrong"),
        "group": ExceptionGroup("two", [ValueError("a"), KeyError("b")]),
        "program group": ExceptionGroup("two", [ValueError("a"), NameError("b")]),
        "timeout": TimeoutError(),
        "exit": SystemExit(1),
    }
    raise errors[kind]


@workflow.defn(name="raises", failure_exception_types=[Exception])
async def fails_on_all(kind: str) -> None:
    await raises.fn(kind)


@workflow.defn(name="raises", failure_exception_types=[])
async def temporal_rule(kind: str) -> None:
    await raises.fn(kind)


@workflow.defn
async def cleans_up() -> str:
    try:
        await work("long")
    except asyncio.CancelledError:
        await work("compensate")
        if workflow.cancellation_reason() == "swallow":
            return "stayed"
        raise
    return "done"


@workflow.defn
async def shielded() -> str:
    inner = work.start("long")
    try:
        await asyncio.shield(inner)
    except asyncio.CancelledError:
        return await inner
    return "not cancelled"


@workflow.defn
async def cancels_itself() -> None:
    raise asyncio.CancelledError


@workflow.defn
async def counts(number: int, *, step: int = 1) -> None:
    workflow.continue_as_new(number + step, task_queue="other", memo={"n": number})


@workflow.defn
async def continues_in_a_group() -> None:
    async def onward() -> None:
        workflow.continue_as_new()

    async with asyncio.TaskGroup() as group:
        group.create_task(onward())


@workflow.defn
async def chance() -> list[Any]:
    values = [workflow.random().random(), str(workflow.uuid4()), random.random()]
    await work("x")
    return [*values, workflow.random().randint(1, 6)]


@workflow.defn
async def forgets() -> None:
    work("never awaited")  # type: ignore[unused-coroutine]
    await asyncio.sleep(1)


@workflow.defn
async def endless() -> None:
    while True:  # noqa: ASYNC110 - the mistake that is tested
        await asyncio.sleep(0)


@workflow.defn
async def describes() -> list[Any]:
    info = workflow.info()
    return [info.workflow_id, info.workflow_type, info.attempt, info.get_current_history_length()]


CASES: list[tuple[Any, str, str]] = [
    (raises, "value", "FailWorkflowExecution"),
    (raises, "application", "FailWorkflowExecution"),
    (raises, "group", "FailWorkflowExecution"),
    (raises, "timeout", "FailWorkflowExecution"),
    (raises, "type", "task"),
    (raises, "program group", "task"),
    (raises, "exit", "task"),
    (fails_on_all, "type", "FailWorkflowExecution"),
    (fails_on_all, "value", "FailWorkflowExecution"),
    (temporal_rule, "value", "task"),
    (temporal_rule, "application", "FailWorkflowExecution"),
    (temporal_rule, "timeout", "FailWorkflowExecution"),
]


@pytest.mark.parametrize(("kind", "error", "expected"), CASES)
def test_each_error_fails_the_workflow_or_its_task(kind: Any, error: str, expected: str) -> None:
    """Which, is the rule of the six, or that of the workflow."""
    service = Service(kind, error)
    outcome = service.instance.activate(service.task())
    if expected == "task":
        assert outcome.failure is not None
        assert ([], "WORKFLOW_WORKER_UNHANDLED_FAILURE") == (outcome.commands, outcome.cause)
    else:
        assert [expected] == names(outcome.commands)


def test_a_failed_task_is_of_no_more_use() -> None:
    """The instance refuses what comes next; a new one replays."""
    service = Service(raises, "type")
    task = service.task()
    assert service.instance.activate(task).failure is not None
    assert not service.instance.fits(task)


def test_a_failure_carries_what_the_error_said() -> None:
    """Type, details and stack are in the command."""
    (command,) = Service(raises, "application").turn()
    assert isinstance(command, cmd.FailWorkflowExecution)
    info = command.failure.info
    assert isinstance(info, ApplicationFailure)
    assert ("No", True, b"[1]") == (info.type, info.non_retryable, bytes(info.details))
    assert "raise errors[kind]" in command.failure.stack_trace


def test_arguments_that_do_not_fit_fail_the_workflow() -> None:
    """INVALID_ARGUMENT, not to be retried."""
    (command,) = Service(counts, "three").turn()
    assert isinstance(command, cmd.FailWorkflowExecution)
    assert isinstance(command.failure.info, ApplicationFailure)
    assert ("INVALID_ARGUMENT", True) == (command.failure.info.type, command.failure.info.non_retryable)
    assert "argument 'number'" in command.failure.message


def test_a_cancelled_workflow_cleans_up_and_closes_as_cancelled() -> None:
    """The cancellation arrives once, and what is awaited afterwards runs."""
    service = Service(cleans_up)
    service.turn()
    service.request_cancel("enough")
    service.request_cancel("again")
    assert ["RequestCancelActivityTask", "ScheduleActivityTask"] == names(service.turn())
    service.complete("2", "x")
    assert ["CancelWorkflowExecution"] == names(service.turn())
    service.check()


def test_a_workflow_may_decide_to_stay() -> None:
    """One that swallows the cancellation completes."""
    service = Service(cleans_up)
    service.turn()
    service.request_cancel("swallow")
    service.turn()
    service.complete("2", "x")
    service.turn()
    assert "stayed" == service.result()
    service.check()


def test_a_shield_keeps_the_activity() -> None:
    """What is shielded is not cancelled."""
    service = Service(shielded)
    service.turn()
    service.request_cancel()
    assert [] == names(service.turn())
    service.complete("1", "kept")
    service.turn()
    assert "kept" == service.result()
    service.check()


def test_a_cancel_request_with_the_start_comes_after_the_body() -> None:
    """The body runs to rest first, so that its cleaning up is in place."""
    service = Service(cleans_up)
    service.request_cancel("early")
    commands = service.turn()
    assert ["ScheduleActivityTask"] == names(commands)
    assert isinstance(commands[0], cmd.ScheduleActivityTask)
    assert b'["compensate"]' == bytes(commands[0].input)
    service.check()


def test_a_cancellation_that_nobody_asked_for_fails_the_workflow() -> None:
    """Closed as cancelled only when a cancel was requested."""
    assert ["FailWorkflowExecution"] == names(Service(cancels_itself).turn())


def test_continue_as_new_carries_its_request() -> None:
    """Arguments and options of the next run are in the command."""
    service = Service(counts, 3, step=2)
    (command,) = service.turn()
    assert isinstance(command, cmd.ContinueAsNewWorkflowExecution)
    assert (b"[5]", "other", {"n": 3}) == (bytes(command.input), command.task_queue, command.memo)
    service.check()


def test_continue_as_new_leaves_a_task_group() -> None:
    """The wish is found in the group's error."""
    service = Service(continues_in_a_group)
    assert ["ContinueAsNewWorkflowExecution"] == names(service.turn())
    service.check()


def test_handlers_under_way_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """A workflow that ends before its handlers warns, once."""

    @workflow.defn
    async def leaves_early() -> None:
        done = False

        @workflow.signal
        async def slow() -> None:
            nonlocal done
            done = True
            await asyncio.sleep(10)

        await workflow.wait_condition(lambda: done)

    service = Service(leaves_early)
    service.signal("slow")
    assert ["StartTimer", "CompleteWorkflowExecution"] == names(service.turn())
    service.check()
    assert 1 == len(caplog.messages)
    assert "while handlers are under way: signal 'slow'" in caplog.messages[0]


def test_chance_is_the_same_on_replay() -> None:
    """Random numbers and UUIDs come from the run, not from the process."""
    results = []
    for evicts in (False, True):
        service = Service(chance)
        service.turn()
        service.complete("1", "x")
        if evicts:
            service.evict()
        service.turn()
        results.append(service.result())
        service.check()
    assert results[0] == results[1]


def test_a_call_never_awaited_fails_the_task_with_its_line() -> None:
    """The error says where it was made."""
    with pytest.raises(TypeError, match=r"work\(\) was called at .*test_endings.py:\d+ and never awaited"):
        Service(forgets).turn()


def test_steps_of_an_activation_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workflow that never rests fails its task."""
    monkeypatch.setattr("perdure_worker.runtime.ACTIVATION_STEPS_MAX", 1_000)
    with pytest.raises(RuntimeError, match="did not come to rest in 1000 steps"):
        Service(endless).turn()


def test_info_says_what_runs() -> None:
    """Ids and history length are as of the task."""
    service = Service(describes)
    service.turn()
    assert ["w-1", "describes", 1, 3] == service.result()
    service.check()


def test_closing_an_instance_issues_nothing() -> None:
    """Blocks of `finally` run on eviction, and cannot schedule anything."""
    refused: list[str] = []

    @workflow.defn
    async def stubborn() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            try:
                _ = work.start("x")
            except RuntimeError as error:
                refused.append(str(error))

    service = Service(stubborn)
    service.turn()
    close: Callable[[WorkflowInstance], None] = WorkflowInstance.close
    close(service.instance)
    assert ["activity work cannot be used: this workflow is being taken out of memory"] == refused
