"""What a replay has to know of an activation before it runs: the facts that its commands recorded.

A patch that is marked takes the new code; a local activity ends where its marker stands; an accepted update arrives
with the activation that accepted it. It must not know machines.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from perdure_proto.events import AnyEvent, MarkerRecorded, WorkflowExecutionUpdateAccepted
from perdure_worker.replay.machines.marker import LOCAL_ACTIVITY, PATCH, patch_details


class Foresight(Struct, frozen=True, gc=False):
    """The patches by id; the local activities and the updates in the order in which they were recorded."""

    patches: list[str]
    local_activities: list[MarkerRecorded]
    updates: list[WorkflowExecutionUpdateAccepted]


def foresee(recorded: Iterable[AnyEvent]) -> Foresight:
    """What the events of one activation's commands say."""
    ahead = Foresight([], [], [])
    for event in recorded:
        if isinstance(event, WorkflowExecutionUpdateAccepted):
            ahead.updates.append(event)
        elif isinstance(event, MarkerRecorded):
            if event.marker_name == PATCH:
                ahead.patches.append(patch_details(event).patch_id)
            elif event.marker_name == LOCAL_ACTIVITY:
                ahead.local_activities.append(event)
    return ahead
