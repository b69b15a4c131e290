"""Eager starts: workers of a client, in its process, that take the first task of a workflow with the start's answer.

A worker registers while it runs; a start asks it for a place. It knows no worker but by this protocol.
"""

from __future__ import annotations

from typing import Protocol

from perdure_proto.service import EagerStart
from perdure_proto.tasks import WorkflowTask


class EagerWorker(Protocol):
    """A running worker of one task queue."""

    def reserve(self, workflow_type: str, workflow_id: str) -> EagerStart | None:
        """A place for the first task of a workflow of this type; None when it has none free, or does not know it.

        None also when the server that owns the workflow does not know the worker.
        """
        ...

    def settle(self, place: EagerStart, task: WorkflowTask | None) -> None:
        """The start was answered, with a task or without, or has failed: the place is used up."""
        ...


class EagerWorkers:
    """The running workers of one client by task queue."""

    def __init__(self) -> None:
        self._by_queue: dict[str, list[EagerWorker]] = {}

    def add(self, task_queue: str, worker: EagerWorker) -> None:
        """A worker has begun."""
        self._by_queue.setdefault(task_queue, []).append(worker)

    def remove(self, task_queue: str, worker: EagerWorker) -> None:
        """A worker stops. One that is not there is left alone."""
        workers = self._by_queue.get(task_queue, [])
        if worker in workers:
            workers.remove(worker)

    def reserve(self, task_queue: str, workflow_type: str, workflow_id: str) -> tuple[EagerWorker, EagerStart] | None:
        """The first worker that has a place, and the place."""
        for worker in self._by_queue.get(task_queue, ()):
            place = worker.reserve(workflow_type, workflow_id)
            if place is not None:
                return worker, place
        return None
