"""What the service delivers, taken in: tasks find a slot and go to whoever runs them, pushes reach what they mean.

`Held` are the tokens of tasks from their arrival until their completion is answered. A task that is delivered again
while it is held is the same task, and ignored; a task for which there is no slot goes back at once.
"""

from __future__ import annotations

from typing import Protocol, assert_never

from perdure_proto.tasks import (
    ActivityTask,
    AnyTask,
    CancelActivity,
    EvictWorkflow,
    ListHeld,
    PollAnswer,
    QueryTask,
    RespondAnswer,
    TaskReturned,
    WorkflowTask,
)
from perdure_worker.completions import Completions
from perdure_worker.link import Link
from perdure_worker.slots import Slots
from perdure_worker.telemetry import TASK_RETURNED, log


class WorkflowSide(Protocol):
    """Runs workflow and query tasks."""

    def begin(self, task: WorkflowTask | QueryTask) -> None: ...

    def evict(self, run_id: str, reason: str) -> None: ...


class ActivitySide(Protocol):
    """Runs activity attempts."""

    def begin(self, task: ActivityTask) -> None: ...

    def cancel(self, token: str, reason: str) -> None: ...


class Delivery:
    """Distributes answers of polls and responds, of all links."""

    def __init__(
        self, slots: Slots, completions: Completions, *, workflows: WorkflowSide, activities: ActivitySide
    ) -> None:
        self._slots = slots
        self._completions = completions
        self._workflows = workflows
        self._activities = activities

    def take(self, link: Link, answer: PollAnswer | RespondAnswer) -> None:
        """Takes all of an answer: tasks first, because a push may be about one of them."""
        for task in answer.tasks:
            if self._completions.hold(task.token, link):
                self._take_task(task)
        for push in answer.pushes:
            match push:
                case CancelActivity():
                    self._activities.cancel(push.token, push.reason)
                case EvictWorkflow():
                    self._workflows.evict(push.run_id, "pushed")
                case ListHeld():
                    link.session.list_held()
                case _ as unreachable:
                    assert_never(unreachable)

    def _take_task(self, task: AnyTask) -> None:
        match task:
            case ActivityTask() if self._slots.take_activity():
                self._activities.begin(task)
            case WorkflowTask() | QueryTask() if self._slots.take_workflow():
                self._workflows.begin(task)
            case _:
                reason = "the worker stops" if self._slots.closed else "no free slot"
                log.info(TASK_RETURNED, kind=type(task).__name__, workflow_id=task.workflow_id, reason=reason)
                self._completions.submit(TaskReturned(token=task.token))
