"""Updates: judged, accepted, completed, and never judged again."""

import asyncio

import pytest

from perdure import workflow
from perdure_proto import commands as cmd
from tests.replay.service import Service, names, update

judged: list[int] = []


@workflow.defn
async def account(balance: int) -> list[str]:
    steps: list[str] = []
    closed = False

    @workflow.update
    def withdraw(amount: int) -> int:
        nonlocal balance
        balance -= amount
        steps.append(f"withdraw {amount}")
        return balance

    @withdraw.validator
    def _check(amount: int) -> None:
        judged.append(amount)
        if amount > balance:
            raise ValueError("not enough")

    @workflow.update
    async def slow(value: str) -> str:
        info = workflow.current_update()
        assert info is not None
        await asyncio.sleep(1)
        steps.append(f"{info.id} {value}")
        return value.upper()

    @workflow.update
    async def fail(value: str) -> None:
        if value == "program":
            raise TypeError(value)
        raise ValueError(value)

    @workflow.signal
    def close() -> None:
        nonlocal closed
        closed = True

    await workflow.wait_condition(lambda: closed)
    await workflow.wait_condition(workflow.all_handlers_finished)
    return steps


@workflow.defn
async def clocked() -> float:
    """A condition on time itself: it may be asked only when history moved."""
    start = workflow.time()

    @workflow.update
    def never(value: int) -> None: ...

    @never.validator
    def _check(value: int) -> None:
        raise ValueError("never")

    await workflow.wait_condition(lambda: workflow.time() > start + 1.5)
    return workflow.time() - start


def test_an_update_is_accepted_and_completed_in_one_turn() -> None:
    """A plain handler gives both commands at once, and its result."""
    service = Service(account, 10)
    service.turn()
    commands = service.turn(update("u-1", "withdraw", 3))
    assert [cmd.AcceptUpdate(update_id="u-1"), "CompleteUpdate"] == [commands[0], *names(commands[1:])]
    assert isinstance(commands[1], cmd.CompleteUpdate)
    assert b"7" == bytes(commands[1].result)
    service.check()


def test_an_update_may_take_several_turns() -> None:
    """It is accepted now and completed when its handler returns."""
    service = Service(account, 10)
    service.turn()
    assert ["AcceptUpdate", "StartTimer"] == names(service.turn(update("u-1", "slow", "x")))
    service.signal("close")
    assert [] == names(service.turn())
    service.fire_timer()
    assert ["CompleteUpdate", "CompleteWorkflowExecution"] == names(service.turn())
    assert ["u-1 x"] == service.result()
    service.check()


def test_a_validator_sees_what_updates_before_it_did() -> None:
    """Of two withdrawals that do not both fit, the second is refused."""
    service = Service(account, 10)
    service.turn()
    commands = service.turn(update("u-1", "withdraw", 8), update("u-2", "withdraw", 8))
    assert ["AcceptUpdate", "CompleteUpdate", "RejectUpdate"] == names(commands)
    service.check()


def test_a_replay_does_not_judge_again() -> None:
    """The validator ran once, when the update was new."""
    service = Service(account, 10)
    service.turn()
    service.turn(update("u-1", "withdraw", 1))
    judged.clear()
    service.check()
    assert [] == judged


def test_updates_come_after_what_else_arrived() -> None:
    """Signals of the same task are delivered first."""
    service = Service(account, 10)
    service.turn()
    service.signal("close")
    commands = service.turn(update("u-1", "withdraw", 1))
    assert ["AcceptUpdate", "CompleteUpdate", "CompleteWorkflowExecution"] == names(commands)
    service.check()


def test_an_update_without_a_handler_is_rejected_at_rest() -> None:
    """The failure says which handlers there are."""
    service = Service(account, 10)
    (command,) = service.turn(update("u-1", "unknown"))
    assert isinstance(command, cmd.RejectUpdate)
    assert "no handler for update 'unknown'; it has: 'withdraw', 'slow', 'fail'" in command.failure.message
    service.signal("close")
    service.turn()
    service.check()


def test_an_update_with_the_first_task_finds_its_handler() -> None:
    """The body declares it before updates are delivered."""
    service = Service(account, 10)
    assert ["AcceptUpdate", "CompleteUpdate"] == names(service.turn(update("u-1", "withdraw", 1)))
    service.check()


def test_a_task_of_rejected_updates_alone_never_was() -> None:
    """Nothing is written and nothing moves, not even time."""
    service = Service(clocked)
    service.turn()
    before = len(service.events)
    for number in range(3):
        assert ["RejectUpdate"] == names(service.turn(update(f"u-{number}", "never", 1)))
    assert before == len(service.events)
    service.signal("anything")
    service.turn()
    assert 4.0 == service.result()
    service.check()


def test_arguments_that_do_not_fit_reject_the_update() -> None:
    """The failure names the argument."""
    service = Service(account, 10)
    service.turn()
    (command,) = service.turn(update("u-1", "withdraw", "much"))
    assert isinstance(command, cmd.RejectUpdate)
    assert "argument 'amount'" in command.failure.message


def test_an_error_in_a_handler_fails_the_update() -> None:
    """The workflow goes on."""
    service = Service(account, 10)
    service.turn()
    commands = service.turn(update("u-1", "fail", "no"))
    assert isinstance(commands[1], cmd.CompleteUpdate)
    assert commands[1].failure is not None
    assert "no" == commands[1].failure.message
    service.signal("close")
    service.turn()
    service.check()


def test_a_program_error_in_a_handler_parks_the_workflow() -> None:
    """One of the six fails the task, and the caller sees nothing."""
    service = Service(account, 10)
    service.turn()
    with pytest.raises(TypeError, match="program"):
        service.turn(update("u-1", "fail", "program"))
