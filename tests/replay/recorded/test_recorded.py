"""Each line of the model has recorded histories, which replay on their programs; and each of them can fail."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from perdure import workflow
from perdure.exceptions import NondeterminismError
from perdure.workflow import Workflow
from perdure_proto import events as ev
from perdure_proto.events import AnyEvent
from perdure_proto.temporal_json import history_from_json, history_to_json
from perdure_server.history.evolve import begin, evolve
from perdure_server.history.invariants import violations
from perdure_worker import Replayer
from perdure_worker.replay.matching import BECOMES
from tests.programs import model_going_back
from tests.replay.recorded.goldens import GOLDENS, HISTORIES, LINES, STANDALONE, Golden, Program

COMMANDS = tuple({event for event, _ in BECOMES.values()})
EACH = pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: golden.name)
OF_WORKFLOWS = pytest.mark.parametrize(
    "golden", [one for one in GOLDENS if one.line != STANDALONE], ids=lambda golden: golden.name
)
_events = msgspec.json.Decoder(AnyEvent)


@pytest.fixture(autouse=True)
def repaired() -> None:
    """Goldens of broken code are of the runs that came after its repair."""
    model_going_back.repair()


def histories(golden: Golden) -> list[list[AnyEvent]]:
    """The runs of a golden: each begins with event 1."""
    runs: list[list[AnyEvent]] = []
    for line in golden.file.read_bytes().splitlines():
        event = _events.decode(line)
        if event.event_id == 1:
            runs.append([])
        runs[-1].append(event)
    return runs


def replay(program: Program, events: list[AnyEvent]) -> None:
    Replayer(program.workflows, interceptors=program.interceptors).replay(events)


def begun(golden: Golden) -> Iterator[list[AnyEvent]]:
    """The runs of which a worker has said something."""
    for events in histories(golden):
        if any(isinstance(event, ev.WorkflowTaskCompleted) for event in events):
            yield events


def changed(program: Program) -> Program:
    """The same workflows, but each first does something that it did not do."""

    def change(one: Workflow[..., Any]) -> Workflow[..., Any]:
        @functools.wraps(one.fn)
        async def other(*args: Any, **kwargs: Any) -> Any:
            workflow.upsert_memo({"changed": True})
            return await one.fn(*args, **kwargs)

        if one.definition.dynamic:
            return workflow.defn(dynamic=True)(other)
        return workflow.defn(name=one.name)(other)

    return program._replace(workflows=[change(one) for one in program.workflows])


@OF_WORKFLOWS
def test_a_recorded_history_replays(golden: Golden) -> None:
    """The program of today gives the commands that the history holds."""
    runs = histories(golden)
    assert runs
    for events in runs:
        replay(golden.program, events)


@OF_WORKFLOWS
def test_a_changed_program_is_refused(golden: Golden) -> None:
    """One that does something first which it did not do, in each run."""
    runs = list(begun(golden))
    assert runs
    for events in runs:
        with pytest.raises(NondeterminismError):
            replay(changed(golden.program), events)


@OF_WORKFLOWS
def test_each_recorded_command_is_compared(golden: Golden) -> None:
    """Whichever of them were another, the program that does not give it would be refused."""
    for events in begun(golden):
        for index, event in enumerate(events):
            if isinstance(event, COMMANDS):
                with pytest.raises(NondeterminismError):
                    replay(golden.program, [*events[:index], _foreign(event), *events[index + 1 :]])


def _foreign(event: AnyEvent) -> AnyEvent:
    """A command of no program in its place."""
    return ev.TimerStarted(
        event_id=event.event_id,
        event_time=event.event_time,
        timer_id="of no program",
        start_to_fire_timeout=timedelta(seconds=1),
        workflow_task_completed_event_id=getattr(event, "workflow_task_completed_event_id", 0),
    )


@EACH
def test_a_recorded_history_is_still_read(golden: Golden) -> None:
    """The server of today finds it lawful, makes its state of it, and exports it without loss."""
    for events in histories(golden):
        assert [] == violations(events)
        assert events == history_from_json(history_to_json(events))
        first = events[0]
        assert isinstance(first, ev.WorkflowExecutionStarted)
        state = begin(first.original_execution_run_id, first)
        for event in events[1:]:
            evolve(state, event)
        assert events[-1].event_id == state.last_event_id


def test_each_line_of_the_model_has_goldens() -> None:
    """And each golden is of a line; an activity without a workflow has a log, and nothing that could be replayed."""
    assert set(LINES) == {golden.line for golden in GOLDENS}


def test_the_files_are_those_of_the_table() -> None:
    """One for each golden, by names that differ."""
    assert len(GOLDENS) == len({golden.name for golden in GOLDENS})
    assert {golden.file for golden in GOLDENS} == set(HISTORIES.glob("*.jsonl"))
