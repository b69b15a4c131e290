"""What `decide` answers: events, facts beside the log, effects, or a refusal; and the draft that places events.

Effects are values. The engine lets them out after the commit, in this order: answers, tasks, pushes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from msgspec import Struct, structs

from perdure_proto import events as ev
from perdure_proto.errors import Code, ServiceError
from perdure_proto.failures import Failure
from perdure_proto.tasks import UpdateDelivery
from perdure_server.config import Limits
from perdure_server.history.records import AnyRecord
from perdure_server.history.state import ExecutionState

EventT = TypeVar("EventT", bound=ev.Event)


class Moment(Struct, frozen=True):
    """When a decision is made, and within which limits."""

    now: datetime
    limits: Limits


class OfferWorkflowTask(Struct, frozen=True):
    """A workflow task is due."""


class OfferActivity(Struct, frozen=True):
    """An attempt of an activity is due."""

    scheduled_event_id: int


class PushCancel(Struct, frozen=True):
    """Tell the worker that runs an attempt to stop it."""

    scheduled_event_id: int
    attempt: int
    session: str
    started_at: datetime
    reason: str
    stamp: int = 0


class UpdateRejected(Struct, frozen=True):
    """Whoever waits for an update gets this failure."""

    update_id: str
    failure: Failure


class Deliver(Struct, frozen=True):
    """Tell other executions what these Initiated events ask of them."""

    event_ids: list[int]


class TakeLeave(Struct, frozen=True):
    """The run is closed: tell its children and its parent, and deliver what is still owed."""


Effect = OfferWorkflowTask | OfferActivity | PushCancel | UpdateRejected | Deliver | TakeLeave


class NewRun(Struct, frozen=True):
    """The next run of the chain: it begins in the transaction that closes this one."""

    run_id: str
    events: list[ev.AnyEvent]
    moved_updates: tuple[tuple[UpdateDelivery, str], ...] = ()


class Decision(Struct):
    """What is to happen. `events` are applied first, then `records`. `refused` is told to the caller besides."""

    events: Sequence[ev.AnyEvent] = ()
    records: Sequence[AnyRecord] = ()
    effects: Sequence[Effect] = ()
    new_run: NewRun | None = None
    refused: ServiceError | None = None
    answer: Any = None


NOTHING = Decision()
"""Nothing changes: a repeat, or something that no longer matters."""


class Draft:
    """Events on their way into the log: ids are consecutive and times never go backwards."""

    def __init__(self, state: ExecutionState, moment: Moment) -> None:
        now = moment.now
        self.state = state
        self.now = now
        self.limits = moment.limits
        self.events: list[ev.AnyEvent] = []
        self.records: list[AnyRecord] = []
        self.effects: list[Effect] = []
        self.initiated: list[int] = []
        self.has_task = state.workflow_task is not None
        self.has_scheduled = False
        self._next_id = state.last_event_id + 1
        self._time = max(now, state.last_event_time)

    @property
    def next_id(self) -> int:
        """The id that the next event gets."""
        return self._next_id

    def add(self, kind: type[EventT], /, **attributes: Any) -> EventT:
        """Writes an event; `at` places it earlier than now, but never before its predecessor."""
        at = attributes.pop("at", None)
        event = kind(event_id=self._next_id, event_time=self._place(at), **attributes)
        self.events.append(event)  # type: ignore[arg-type]  # every subclass of Event is in the union
        self._next_id += 1
        return event

    def place(self, event: ev.AnyEvent, **changes: Any) -> ev.AnyEvent:
        """Writes an event that was buffered; never earlier than it happened, on whatever clock: a timer fires late."""
        at = max(self._place(None), event.event_time)
        placed = structs.replace(event, event_id=self._next_id, event_time=at, **changes)
        self.events.append(placed)
        self._next_id += 1
        return placed

    def deliver(self, event_id: int) -> None:
        """What an Initiated event asks leaves after the commit."""
        if not self.initiated:
            self.effects.append(Deliver(self.initiated))
        self.initiated.append(event_id)

    def _place(self, at: datetime | None) -> datetime:
        last = self.events[-1].event_time if self.events else self.state.last_event_time
        return max(last, at) if at is not None else max(last, self._time)

    def decision(self, answer: Any = None) -> Decision:
        """All that was drafted."""
        return Decision(self.events, self.records, self.effects, answer=answer)


def refuse(code: Code, message: str, **details: Any) -> Decision:
    """A typed refusal: nothing changes."""
    return Decision(refused=ServiceError(code, message, **details))
