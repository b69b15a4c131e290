"""Eager starts: the first workflow task of a run leaves with the answer to its start, to a worker of the same process.

The start names a session of that worker and the number of a request that the worker has set aside for this. Once the
start is durable the task counts as delivered in the answer to that request, and is acknowledged as any other. What
cannot be handed out so is offered as always: the seat is only a wish. A repeated start gets the same task again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure_proto.service import EagerStart
from perdure_proto.tasks import WorkflowTask
from perdure_server.matching.port import TaskRef

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine
    from perdure_server.engine.execution import Execution


class Seat:
    """What waits for the first task of a run. `ref` is the task, once it is due."""

    __slots__ = ("ref", "wish")

    def __init__(self, wish: EagerStart) -> None:
        self.wish = wish
        self.ref: TaskRef | None = None


async def first_task(engine: Engine, execution: Execution) -> WorkflowTask | None:
    """The task that the seat has waited for, if the session can have it. The seat is gone afterwards, come what may."""
    seat, execution.seat = execution.seat, None
    if seat is None or seat.ref is None:
        return None
    task = None
    try:
        task = await engine.matching.hand(seat.wish.session, seat.wish.sequence, seat.ref)
    finally:
        if task is None:
            leave(engine, execution, seat)
    return task if isinstance(task, WorkflowTask) else None


def leave(engine: Engine, execution: Execution, seat: Seat | None) -> None:
    """Nobody sits there any more: the task, if it is due, is anybody's."""
    execution.seat = None
    if seat is not None and seat.ref is not None:
        execution.offered.discard((seat.ref.kind, seat.ref.scheduled_event_id))
        engine.offer_workflow_task(execution)
