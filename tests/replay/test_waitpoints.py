"""Waitpoints in workflow code: values, time, and what nobody took."""

import asyncio
from typing import Any

import pytest

from perdure import workflow
from perdure.exceptions import ApplicationError
from perdure_proto import commands as cmd
from tests.replay.service import Service, names

FIRST = "__waitpoint/1/approval"


@workflow.defn
async def waits(timeout: float | None, sleeps: float = 0) -> object:
    wait = workflow.waitpoint("approval", int, timeout=timeout)
    assert wait.token
    assert (wait.expires_at is None) == (timeout is None)
    if sleeps:
        await workflow.sleep(sleeps)
    try:
        return await wait
    except TimeoutError as error:
        return str(error)
    except ApplicationError as error:
        return error.type


@workflow.defn
async def twice() -> list[int]:
    wait = workflow.waitpoint("approval", int)
    return list(await asyncio.gather(wait, wait))


@workflow.defn
async def gives_up() -> int:
    wait = workflow.waitpoint("approval", int)
    try:
        async with asyncio.timeout(1):
            await wait
    except TimeoutError:
        await workflow.sleep(1)
    return await wait


@workflow.defn
async def onward() -> None:
    _ = workflow.waitpoint("approval", int)
    await workflow.sleep(1)
    workflow.continue_as_new()


@workflow.defn
async def next_run() -> list[Any]:
    heard: list[str] = []

    @workflow.signal(dynamic=True)
    def _(name: str, args: list[object]) -> None:
        heard.append(name)

    await workflow.sleep(1)
    return [await workflow.waitpoint("approval", int), heard]


def test_a_value_comes_as_its_type() -> None:
    """What completes it is a signal that only the service sends."""
    service = Service(waits, None)
    assert [] == service.turn()
    service.signal(FIRST, 7)
    service.turn()
    assert 7 == service.result()
    service.check()


def test_its_time_is_a_durable_timer() -> None:
    """It is started when the workflow waits, for what is left."""
    service = Service(waits, 60.0)
    (timer,) = service.turn()
    assert isinstance(timer, cmd.StartTimer)
    assert 60 == timer.start_to_fire_timeout.total_seconds()
    service.fire_timer()
    service.turn()
    assert "waitpoint 'approval' was not completed in time" == service.result()
    service.check()


def test_a_value_in_time_ends_the_timer() -> None:
    """Nothing is left behind."""
    service = Service(waits, 60.0)
    service.turn()
    service.signal(FIRST, 7)
    assert ["CancelTimer", "CompleteWorkflowExecution"] == names(service.turn())
    assert 7 == service.result()
    service.check()


def test_a_value_that_was_accepted_in_time_counts() -> None:
    """Even when the workflow hears of it together with the end of the time."""
    service = Service(waits, 60.0)
    service.turn()
    service.signal(FIRST, 7)
    service.fire_timer()
    service.turn()
    assert 7 == service.result()
    service.check()


@pytest.mark.parametrize(
    ("completed", "result"), [(True, 7), (False, "waitpoint 'approval' was not completed in time")]
)
def test_its_time_runs_before_anybody_waits(completed: bool, result: object) -> None:
    """The workflow looks when the time is over: a value is there, or will never be."""
    service = Service(waits, 5.0, 60.0)
    service.turn()
    if completed:
        service.signal(FIRST, 7)
    service.fire_timer()
    assert ["CompleteWorkflowExecution"] == names(service.turn())
    assert result == service.result()
    service.check()


def test_a_value_that_does_not_fit_is_raised() -> None:
    """It is not dropped, for there will be no other."""
    service = Service(waits, None)
    service.turn()
    service.signal(FIRST, "seven")
    service.turn()
    assert "INVALID_ARGUMENT" == service.result()
    service.check()


def test_all_who_wait_get_the_value() -> None:
    """It can be awaited as often as one likes."""
    service = Service(twice)
    service.turn()
    service.signal(FIRST, 7)
    service.turn()
    assert [7, 7] == service.result()
    service.check()


def test_who_gave_up_can_come_back() -> None:
    """A value that came meanwhile is there."""
    service = Service(gives_up)
    service.turn()
    service.fire_timer()
    service.turn()
    service.signal(FIRST, 7)
    service.turn()
    service.fire_timer(2)
    service.turn()
    assert 7 == service.result()
    service.check()


def test_what_nobody_took_moves_on() -> None:
    """The next run has it when it waits for the same; no handler gets it."""
    service = Service(onward)
    service.turn()
    left = service.signal(FIRST, 7)
    service.fire_timer()
    (command,) = service.turn()
    assert isinstance(command, cmd.ContinueAsNewWorkflowExecution)
    assert (left,) == command.unclaimed_signals
    after = Service(next_run)
    after.signal(FIRST, 7)
    after.turn()
    after.fire_timer()
    after.turn()
    assert [7, []] == after.result()
    after.check()


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb"])
def test_a_name_must_fit(name: str) -> None:
    """Else it is an error of the workflow, at the call."""

    @workflow.defn
    async def wrong() -> str:
        try:
            _ = workflow.waitpoint(name)
        except ValueError:
            return "refused"
        return "taken"

    service = Service(wrong)
    service.turn()
    assert "refused" == service.result()


def test_pending_ones_are_told() -> None:
    """Name and end of each that nobody has completed, cached and replayed."""
    service = Service(waits, 60)
    service.turn()
    for ask in (service.query, service.query_anew):
        [pending] = ask("__waitpoints")
        assert ("approval", 1, "no-service") == (pending["name"], pending["number"], pending["url"])
        assert pending["expires_at"].startswith("2026-01-01T00:01:01")
    service.signal(FIRST, 5)
    service.turn()
    assert [] == service.query("__waitpoints")
