"""DBOS as its documentation shows it first: the application runs its workflows itself, so client and worker are one
process, and no queue is between them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dbos import DBOS, SetWorkflowID  # type: ignore[import-not-found]

from tests.benchmarks.peers.dbos import workflows
from tests.benchmarks.peers.load import ThreadJob, Threads
from tests.benchmarks.peers.parcel import Parcel, expect
from tests.benchmarks.peers.task import Task, run_task
from tests.benchmarks.peers.work import WAITING_SECONDS, Peer, Signalling


class Application:
    """Starts workflows under an id, as the others do, and keeps the handles of those that wait."""

    def __init__(self, task: Task) -> None:
        self._counts = task.counts
        self._waiting: dict[int, Any] = {}

    def once(self, number: int) -> None:
        expect(Parcel(number), start(f"once-{number}", workflows.once, Parcel(number)).get_result())

    def in_sequence(self, number: int) -> None:
        steps = self._counts.steps
        handle = start(f"sequence-{number}", workflows.in_sequence, Parcel(number), steps)
        expect(sum(range(number, number + steps)), handle.get_result())

    def fan_out(self, number: int) -> None:
        width = self._counts.fan_width
        expect(list(range(width)), start(f"fan-{number}", workflows.fan_out, width).get_result())

    def wait(self, number: int) -> None:
        self._waiting[number] = start(f"signal-{number}", workflows.wait_for_approval)
        time.sleep(WAITING_SECONDS)

    def approve(self, number: int) -> None:
        DBOS.send(f"signal-{number}", Parcel(number), workflows.TOPIC)
        expect(Parcel(number), self._waiting.pop(number).get_result())


def start(workflow_id: str, workflow: Callable[..., Any], *arguments: object) -> Any:
    with SetWorkflowID(workflow_id):
        return DBOS.start_workflow(workflow, *arguments)


def make(task: Task) -> Peer[ThreadJob]:
    workflows.launch(task.address)
    application = Application(task)
    return Peer(
        load=Threads(),
        once=application.once,
        in_sequence=application.in_sequence,
        fan_out=application.fan_out,
        signalling={"W4": Signalling(application.wait, application.approve)},
        close=DBOS.destroy,
    )


if __name__ == "__main__":
    run_task("application", make)
