"""What a run knows of its chain: attempt, schedule, last result, last failure and when it began; and on replay."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec import Raw, structs

from perdure import activity, workflow
from perdure.exceptions import ApplicationError, ConversionError
from perdure_proto import commands as cmd
from perdure_proto import events as ev
from perdure_proto.failures import ApplicationFailure, Failure, TimeoutFailure
from tests.replay.service import EPOCH, RUN_ID, Service, names

MINUTE = timedelta(minutes=1)


@activity.defn
async def work() -> None: ...


def known() -> list[Any]:
    info = workflow.info()
    failure = workflow.get_last_failure()
    return [
        info.attempt,
        info.cron_schedule,
        info.continued_run_id,
        workflow.has_last_completion_result(),
        workflow.get_last_completion_result(),
        type(failure).__name__,
        (info.start_time - info.workflow_start_time).total_seconds(),
    ]


@workflow.defn
async def knows() -> list[Any]:
    """Before and after a wait."""
    before = known()
    await work()
    return [*before, before == known()]


@workflow.defn
async def wants_number() -> int | None:
    return workflow.get_last_completion_result(int)


@workflow.defn
async def goes_on_later() -> None:
    workflow.continue_as_new(backoff_start_interval=MINUTE, retry_policy="fast", run_timeout=MINUTE)


def begun(service: Service, **changes: Any) -> Service:
    """The same run, begun otherwise."""
    service.events[0] = structs.replace(service.events[0], **changes)
    return service


def finish(service: Service) -> Any:
    service.now += MINUTE
    service.turn()
    service.complete()
    service.turn()
    service.check()
    return service.result()


LAST = {"last_completion_result": Raw(b'{"n": 1}'), "last_completion_run_id": "earlier"}
BOOM = Failure(message="boom", info=ApplicationFailure(type="Boom"))
LATE = Failure(message="late", info=TimeoutFailure(timeout_type="START_TO_CLOSE"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [1, None, None, False, None, "NoneType"]),
        ({"attempt": 3, "continued_failure": BOOM}, [3, None, None, False, None, "ApplicationError"]),
        ({"cron_schedule": "@daily", **LAST}, [1, "@daily", None, True, {"n": 1}, "NoneType"]),
        ({"continued_execution_run_id": "before", **LAST}, [1, None, "before", True, {"n": 1}, "NoneType"]),
        ({"last_completion_run_id": "earlier", "continued_failure": LATE}, [1, None, None, True, None, "TimeoutError"]),
    ],
)
def test_a_run_knows_its_chain(changes: dict[str, Any], expected: list[Any]) -> None:
    """The same on replay; it began when its first task did, later than it was started."""
    service = begun(Service(knows), **changes)
    assert [*expected, 61.0, True] == finish(service)


def test_a_query_sees_when_it_began() -> None:
    """An instance that only replays says the same."""

    @workflow.defn
    async def tells() -> None:
        @workflow.query
        def began() -> float:
            return (workflow.info().start_time - EPOCH).total_seconds()

        await work()
        await work()

    service = Service(tells)
    service.now += MINUTE
    service.turn()
    service.complete()
    service.turn()
    assert [61.0, 61.0] == [service.query("began"), service.query_anew("began")]


def test_the_last_result_comes_as_what_is_asked_for() -> None:
    """One that does not fit fails the task, as a bug: repaired code can go on."""
    service = begun(Service(wants_number), last_completion_result=Raw(b"3"), last_completion_run_id="earlier")
    service.turn()
    assert 3 == service.result()
    with pytest.raises(ConversionError, match="Expected `int`"):
        begun(Service(wants_number), **LAST).turn()


def test_continue_as_new_says_how_the_next_run_begins() -> None:
    """Its wait, its policy and its timeout go with the command."""
    service = Service(goes_on_later)
    commands = service.turn()
    assert ["ContinueAsNewWorkflowExecution"] == names(commands)
    [command] = commands
    assert isinstance(command, cmd.ContinueAsNewWorkflowExecution)
    assert (MINUTE, MINUTE) == (command.backoff_start_interval, command.workflow_run_timeout)
    assert command.retry_policy is not None
    service.check()


def test_the_last_failure_can_be_raised() -> None:
    """It is the exception that failed the run before, with its type and message."""

    @workflow.defn
    async def raises_again() -> None:
        failure = workflow.get_last_failure()
        assert isinstance(failure, ApplicationError)
        raise failure

    service = begun(Service(raises_again), continued_failure=BOOM, attempt=2)
    [command] = service.turn()
    assert isinstance(command, cmd.FailWorkflowExecution)
    assert ("boom", "Boom") == (command.failure.message, getattr(command.failure.info, "type", ""))
    assert RUN_ID == getattr(service.of(ev.WorkflowExecutionStarted)[0], "first_execution_run_id", "")
