"""Replays that go another way, and patches, which let them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from perdure import activity, workflow
from perdure._history import History
from perdure.exceptions import NondeterminismError
from perdure_proto.temporal_json import history_to_json
from perdure_worker.replayer import Replayer
from tests.replay.service import Service, names

HISTORIES = Path(__file__).parents[1] / "wire" / "histories"


@activity.defn
async def first() -> str:
    return ""


@activity.defn
async def second() -> str:
    return ""


def version(*steps: Any) -> Any:
    """A workflow `job` that takes these steps: other steps are other code for the same runs."""

    @workflow.defn(name="job")
    async def job() -> str:
        return ",".join([str(await step()) for step in steps])

    return job


async def nap() -> None:
    await asyncio.sleep(1)  # virtual time


async def patched() -> str:
    return await second() if workflow.patched("p") else await first()


async def deprecated() -> str:
    workflow.deprecate_patch("p")
    return await second()


def recorded(*steps: Any, turns: int = 2) -> Service:
    """A run of these steps, with the activities completed, after so many turns."""
    service = Service(version(*steps))
    service.turn()
    for number in range(1, turns):
        service.complete(str(number), f"r{number}")
        service.turn()
    return service


MISMATCHES: list[tuple[str, tuple[Any, ...], str]] = [
    (
        "another activity",
        (second, first),
        r"event 5: history has ActivityTaskScheduled.*'first'.* gave .*'second'\) at .*test_nondeterminism.py:\d+ in ",
    ),
    ("another command", (nap, first, second), r"ActivityTaskScheduled.*gave StartTimer\(timer_id='1'\) at .* in nap"),
    ("too much", (first, nap, second), r"event 11: history has ActivityTaskScheduled.*gave StartTimer"),
    ("too little", (first,), r"history has ActivityTaskScheduled.*gave CompleteWorkflowExecution"),
    ("a step more", (first, second, nap), "history has WorkflowExecutionCompleted.*gave StartTimer"),
]


@pytest.mark.parametrize(("case", "steps", "message"), MISMATCHES, ids=lambda one: one if isinstance(one, str) else "")
def test_a_replay_that_goes_another_way_says_where(case: str, steps: tuple[Any, ...], message: str) -> None:
    """The message names the event, both sides and the line."""
    service = recorded(first, second, turns=3)
    with pytest.raises(NondeterminismError, match=message):
        Replayer(workflows=[version(*steps)]).replay(service.events)


def test_code_that_waits_where_history_went_on_says_where_it_waits() -> None:
    """There is no command to name, so the waiting line is named."""
    service = recorded(first, nap, turns=2)

    async def for_ever() -> None:
        await workflow.wait_condition(lambda: False)

    with pytest.raises(NondeterminismError, match=r"no further command.*waits at .*test_nondeterminism.py:\d+ in for"):
        Replayer(workflows=[version(first, for_ever)]).replay(service.events)


def test_a_worker_with_other_code_fails_the_task_by_its_cause() -> None:
    """The task fails as nondeterministic; the workflow is parked."""
    service = recorded(first, second)
    service.workflow = version(second, first)
    service.evict()
    outcome = service.instance.activate(service.task())
    assert "NON_DETERMINISTIC_ERROR" == outcome.cause
    assert isinstance(outcome.error, NondeterminismError)


def test_a_history_of_an_open_run_is_replayed_as_far_as_it_goes() -> None:
    """What a task that is not completed brought is left alone."""
    service = recorded(first, second)
    service.complete("2", "x")
    service.task()
    service.check()


def test_histories_are_read_in_every_form(tmp_path: Path) -> None:
    """A History, its events and a file in Temporal's format replay alike."""
    service = recorded(first, second, turns=3)
    file = tmp_path / "history.json"
    file.write_bytes(history_to_json(service.events))
    replayer = Replayer(workflows=[service.workflow])
    for history in (History(workflow_id="w-1", events=service.events), service.events, file, str(file)):
        replayer.replay(history)


def test_an_unknown_type_is_named() -> None:
    """The replayer says which workflows it has."""
    with pytest.raises(NondeterminismError, match="no workflow is named 'job'; there are: none"):
        Replayer(workflows=[]).replay(recorded(first).events)


def test_a_patch_marks_new_runs() -> None:
    """A run that has not passed there takes the new code, and says so in history."""
    service = Service(version(patched))
    assert ["RecordMarker", "ScheduleActivityTask"] == names(service.turn())
    service.check()


def test_a_patch_lets_old_runs_take_the_old_code() -> None:
    """A history without the mark replays on patched code, and goes on with the old branch for good."""
    service = recorded(first, first)
    service.workflow = version(patched, first, patched)
    service.evict()
    service.complete("2", "x")
    (command,) = service.turn()
    assert "first" == getattr(command, "activity_type", "")
    service.check()


def test_a_deprecated_patch_accepts_both_kinds_of_history() -> None:
    """Marked histories, and ones that began after the deprecation."""
    service = Service(version(patched))
    service.turn()
    Replayer(workflows=[version(deprecated)]).replay(service.events)
    fresh = Service(version(deprecated))
    assert ["RecordMarker", "ScheduleActivityTask"] == names(fresh.turn())
    fresh.check()


def test_a_deprecated_mark_may_stand_without_its_call() -> None:
    """Once nobody needs the patch its call can go."""
    service = Service(version(deprecated))
    service.turn()
    Replayer(workflows=[version(second)]).replay(service.events)


def test_a_mark_in_use_needs_its_call() -> None:
    """A patch that is removed too early is nondeterminism."""
    service = Service(version(patched))
    service.turn()
    with pytest.raises(NondeterminismError, match=r"MarkerRecorded\(marker_name='patch'"):
        Replayer(workflows=[version(second)]).replay(service.events)


def test_a_history_that_temporal_recorded_replays() -> None:
    """The commands of an equal workflow agree with what another SDK wrote."""

    @workflow.defn(name="HelloWorldAgent")
    async def agent(prompt: str) -> str:
        answer = await workflow.execute_activity("invoke_model_activity", args=[prompt])
        return str(answer)

    Replayer(workflows=[agent]).replay(HISTORIES / "agent-hello.json")
