"""The places that a worker gives to starts of its own client: the first task then comes with the start's answer.

A place is a free slot that no poll asks for, and the number of a request that is never sent: the answer to the start
stands for its answer, and is acknowledged as such, on the link of the server that owns the workflow. It must not know
clients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perdure_proto.service import EagerStart
from perdure_proto.tasks import PollAnswer, WorkflowTask
from perdure_worker.link import Link
from perdure_worker.links import Links
from perdure_worker.registry import Registry
from perdure_worker.slots import Offer, Slots

PLACE: Final = Offer(1, 0)


class EagerStarts:
    """The places of one worker."""

    def __init__(
        self, links: Links, slots: Slots, registry: Registry, *, take: Callable[[Link, PollAnswer], None]
    ) -> None:
        self._links = links
        self._given: dict[int, Link] = {}
        self._slots = slots
        self._workflows = registry.workflows
        self._take = take

    def reserve(self, workflow_type: str, workflow_id: str) -> EagerStart | None:
        """A place, if the owner knows the worker and there is a slot that no other request asks for."""
        knows = workflow_type in self._workflows.by_name or self._workflows.dynamic is not None
        link = self._links.for_workflow(workflow_id) if knows else None
        if link is None or not (link.session.is_introduced and self._slots.reserve(PLACE)):
            return None
        place = EagerStart(session=link.session.id, sequence=link.session.next_sequence())
        self._given[place.sequence] = link
        return place

    def settle(self, place: EagerStart, task: WorkflowTask | None) -> None:
        """Takes the task that came; either way the place is given back."""
        link = self._given.pop(place.sequence)
        if task is not None:
            self._take(link, PollAnswer(sequence=place.sequence, tasks=(task,)))
            link.session.received(place.sequence)
        self._slots.answered(PLACE)
