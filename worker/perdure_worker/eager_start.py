"""The places that a worker gives to starts of its own client: the first task then comes with the start's answer.

A place is a free slot that no poll asks for, and the number of a request that is never sent: the answer to the start
stands for its answer, and is acknowledged as such. It must not know clients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perdure_proto.service import EagerStart
from perdure_proto.tasks import PollAnswer, WorkflowTask
from perdure_worker.registry import Registry
from perdure_worker.session import Session
from perdure_worker.slots import Offer, Slots

PLACE: Final = Offer(1, 0)


class EagerStarts:
    """The places of one worker."""

    def __init__(
        self, session: Session, slots: Slots, registry: Registry, *, take: Callable[[PollAnswer], None]
    ) -> None:
        self._session = session
        self._slots = slots
        self._workflows = registry.workflows
        self._take = take

    def reserve(self, workflow_type: str) -> EagerStart | None:
        """A place, if the service knows the worker and there is a slot that no other request asks for."""
        knows = workflow_type in self._workflows.by_name or self._workflows.dynamic is not None
        if not (knows and self._session.is_introduced and self._slots.reserve(PLACE)):
            return None
        return EagerStart(session=self._session.id, sequence=self._session.next_sequence())

    def settle(self, place: EagerStart, task: WorkflowTask | None) -> None:
        """Takes the task that came; either way the place is given back."""
        if task is not None:
            self._take(PollAnswer(sequence=place.sequence, tasks=(task,)))
            self._session.received(place.sequence)
        self._slots.answered(PLACE)
