"""Users' code is loaded by processes of its own: what is wrong is one line, and open executions are tried on it."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import Raw

from perdure.cli.exits import Exit
from perdure_proto.codec import encode_events
from perdure_proto.events import (
    ActivityTaskScheduled,
    AnyEvent,
    WorkflowExecutionStarted,
    WorkflowTaskCompleted,
    WorkflowTaskScheduled,
    WorkflowTaskStarted,
)
from perdure_proto.service import HistoryAnswer, ListWorkflowsAnswer, WorkflowExecutionInfo
from tests.unit.cli.conftest import Outcome
from tests.unit.cli.fake_service import FakeService
from tests.unit.cli.histories import BEGAN_AT, at

HELLO = """
from datetime import timedelta
from perdure import activity, workflow

@activity.defn(start_to_close_timeout=timedelta(seconds=10))
async def greet(name: str) -> str:
    return name

@workflow.defn
async def hello(name: str) -> str:
    return await greet(name)
"""


def perdure(folder: Path, *words: str) -> Outcome:
    """Runs a command in a process of its own, for it imports code and changes its process."""
    done = subprocess.run(
        [sys.executable, "-m", "perdure.cli", *words],
        cwd=folder,
        env={**os.environ, "XDG_CONFIG_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def (", "IMPORT_FAILED: flow.py: SyntaxError"),
        ("x = 1\nx.y", "AttributeError: 'int' object has no attribute 'y'"),
        ("x = 1\nx.y", "flow.py, line 2)"),
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
        ("x = 1", "no workflow and no activity found"),
    ],
)
def test_code_that_does_not_load_is_one_line(tmp_path: Path, source: str, said: str) -> None:
    """The line says what is wrong and where, and that repeating does not help."""
    (tmp_path / "flow.py").write_text(source)
    outcome = perdure(tmp_path, "worker", "flow.py")
    assert (Exit.USAGE, 1, True) == (outcome.status, len(outcome.err.splitlines()), said in outcome.err)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is a wrong command line."""
    outcome = perdure(tmp_path, "worker", "flow.py")
    assert (Exit.USAGE, "error: USAGE: there is no file flow.py\n") == (outcome.status, outcome.err)


def history(activity_type: str) -> list[AnyEvent]:
    return [
        WorkflowExecutionStarted(
            event_id=1,
            event_time=at(0),
            workflow_id="hello-1",
            workflow_type="hello",
            task_queue="default",
            input=Raw(b'["Ada"]'),
            original_execution_run_id="r",
            first_execution_run_id="r",
        ),
        WorkflowTaskScheduled(event_id=2, event_time=at(0), task_queue="default"),
        WorkflowTaskStarted(event_id=3, event_time=at(1), scheduled_event_id=2),
        WorkflowTaskCompleted(event_id=4, event_time=at(2), scheduled_event_id=2, started_event_id=3),
        ActivityTaskScheduled(
            event_id=5,
            event_time=at(2),
            activity_id="1",
            activity_type=activity_type,
            task_queue="default",
            input=Raw(b'["Ada"]'),
            start_to_close_timeout=timedelta(seconds=10),
            workflow_task_completed_event_id=4,
        ),
    ]


@pytest.mark.parametrize(("activity_type", "lines"), [("greet", 0), ("salute", 1)])
def test_open_executions_are_tried_on_new_code(
    tmp_path: Path, service: FakeService, activity_type: str, lines: int
) -> None:
    """Whoever no longer agrees is named on a line; the code loads all the same."""
    (tmp_path / "flow.py").write_text(HELLO)
    info = WorkflowExecutionInfo(
        workflow_id="hello-1",
        run_id="r",
        workflow_type="hello",
        task_queue="default",
        status="RUNNING",
        start_time=BEGAN_AT,
    )
    here = "/api/v1/namespaces/default/workflows"
    service.answer("GET", here, ListWorkflowsAnswer(executions=(info,)))
    whole, nothing = (
        HistoryAnswer(run_id="r", events=Raw(encode_events(events)), next_event_id=6)
        for events in (history(activity_type), [])
    )
    service.answer("GET", f"{here}/hello-1/history", whole, nothing)
    outcome = perdure(tmp_path, "reload-check", "flow.py")
    told = outcome.out.splitlines()
    assert (Exit.DONE, lines, "") == (outcome.status, len(told), outcome.err), told
    assert all(line.startswith("hello-1 (hello) no longer agrees: NondeterminismError") for line in told)
