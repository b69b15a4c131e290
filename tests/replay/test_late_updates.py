"""Updates at the end of a run: what still ends in the closing turn, what moves on, and what is warned of."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.workflow import HandlerUnfinishedPolicy
from perdure_proto import commands as cmd
from tests.replay.service import Service, names, update


@activity.defn(start_to_close_timeout=timedelta(seconds=5))
async def echo(value: str) -> str:
    return value


@workflow.defn
async def returns_at_once() -> str:
    @workflow.update
    def add(value: int) -> int:
        return value + 1

    @workflow.update
    async def late(value: int) -> int:
        await asyncio.sleep(1)
        return value

    return "done"


@workflow.defn
async def returns_when_told() -> str:
    told = returned = False

    @workflow.update
    async def finish(value: str) -> str:
        nonlocal told
        told = True
        await workflow.wait_condition(lambda: returned)
        return value.upper()

    @workflow.update(unfinished_policy=HandlerUnfinishedPolicy.ABANDON)
    async def quiet() -> None:
        await asyncio.sleep(60)

    await workflow.wait_condition(lambda: told)
    returned = True
    return "done"


@workflow.defn
async def continues(run: int) -> int:
    @workflow.update
    def which() -> int:
        return run

    await workflow.signal_channel("go").receive()
    workflow.continue_as_new(run + 1)


@workflow.defn
async def watches_itself() -> list[str]:
    seen: list[str] = []

    def note(where: str) -> None:
        info = workflow.current_update()
        seen.append(f"{where} {info.name} {info.id}" if info else f"{where} none")

    async def helper() -> None:
        await asyncio.sleep(1)
        note("task")

    @workflow.update
    async def work() -> None:
        note("handler")
        await asyncio.gather(helper(), helper())

    @work.validator
    def _check() -> None:
        note("validator")

    await workflow.wait_condition(lambda: len(seen) > 1)
    await workflow.wait_condition(workflow.all_handlers_finished)
    note("main")
    return seen


@workflow.defn
async def returns_beside_work() -> str:
    returned = False

    @workflow.update
    async def slow(value: str) -> str:
        return await echo.local(value)

    @workflow.update
    async def patched() -> bool:
        await workflow.wait_condition(lambda: returned)
        return workflow.patched("late")

    await workflow.signal_channel("go").receive()
    returned = True
    return "done"


def test_an_update_of_the_closing_turn_is_answered() -> None:
    """The body returned before it was delivered; its answer leaves before the closing command."""
    service = Service(returns_at_once)
    commands = service.turn(update("u-1", "add", 1))
    assert ["AcceptUpdate", "CompleteUpdate", "CompleteWorkflowExecution"] == names(commands)
    service.check()


def test_an_update_may_end_after_the_body_returned() -> None:
    """What the return made possible still runs in the same turn."""
    service = Service(returns_when_told)
    service.turn()
    commands = service.turn(update("u-1", "finish", "x"))
    assert ["AcceptUpdate", "CompleteUpdate", "CompleteWorkflowExecution"] == names(commands)
    assert isinstance(commands[1], cmd.CompleteUpdate)
    assert b'"X"' == bytes(commands[1].result)
    service.check()


def test_an_update_that_cannot_end_any_more_is_accepted_and_abandoned() -> None:
    """Nothing that its handler asks for leaves after the closing command."""
    service = Service(returns_at_once)
    assert ["AcceptUpdate", "CompleteWorkflowExecution"] == names(service.turn(update("u-1", "late", 1)))
    service.check()


def test_an_unknown_update_of_the_closing_turn_is_refused() -> None:
    """Its caller learns which handlers there are."""
    service = Service(returns_at_once)
    commands = service.turn(update("u-1", "unknown"))
    assert ["RejectUpdate", "CompleteWorkflowExecution"] == names(commands)
    service.check()


@pytest.mark.parametrize("name", ["which", "unknown"])
def test_an_update_that_meets_continue_as_new_moves_on(caplog: pytest.LogCaptureFixture, name: str) -> None:
    """It is neither judged nor warned of: the next run takes it."""
    service = Service(continues, 1)
    service.turn()
    service.signal("go", None)
    assert ["ContinueAsNewWorkflowExecution"] == names(service.turn(update("u-1", name)))
    assert [] == caplog.messages
    service.check()


def test_only_handlers_that_cannot_end_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Not one that ends in the closing turn, not one whose policy is to be abandoned."""
    service = Service(returns_when_told)
    service.turn(update("u-1", "quiet"))
    service.turn(update("u-2", "finish", "x"))
    assert [] == caplog.messages
    other = Service(returns_at_once)
    other.turn(update("u-1", "late", 1))
    assert ["update 'late' (id 'u-1')"] == [message.split(": ")[1].split(";")[0] for message in caplog.messages]


def test_a_policy_that_is_none_is_refused() -> None:
    """When the handler is declared, by its value."""

    @workflow.defn(failure_exception_types=[Exception])
    async def wrong() -> None:
        policy: Any = "ignore"
        workflow.signal(name="x", unfinished_policy=policy)(lambda: None)

    (command,) = Service(wrong).turn()
    assert isinstance(command, cmd.FailWorkflowExecution)
    assert "ignore" in command.failure.message


def test_the_current_update_is_known_in_all_that_it_starts() -> None:
    """In its validator, its handler and the tasks of that, also with two at a time; not in the body."""
    service = Service(watches_itself)
    service.turn(update("u-1", "work"))
    service.turn(update("u-2", "work"))
    for number in (1, 2, 3, 4):
        service.fire_timer(number)
    service.turn()
    tasks = ["task work u-1", "task work u-1", "task work u-2", "task work u-2"]
    begun = [f"{where} work {one}" for one in ("u-1", "u-2") for where in ("validator", "handler")]
    assert [*begun, *tasks, "main none"] == service.result()


def test_a_local_activity_that_ends_with_the_workflow_is_too_late() -> None:
    """Its marker could not be recorded, so a replay would not know of it."""
    service = Service(returns_beside_work)
    service.turn()
    task = service.task([update("u-1", "slow", "x")])
    service.outcome = service.instance.activate(task)
    service.instance.end_turn()
    service.finish(task)
    service.end_local("1", "x")
    service.signal("go", None)
    assert ["CompleteWorkflowExecution"] == names(service.turn())
    service.check()


def test_a_patch_of_a_late_handler_is_recorded() -> None:
    """Or the replay would take the other way."""
    service = Service(returns_beside_work)
    service.turn(update("u-1", "patched"))
    service.signal("go", None)
    assert ["RecordMarker", "CompleteUpdate", "CompleteWorkflowExecution"] == names(service.turn())
    service.check()
