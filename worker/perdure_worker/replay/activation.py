"""From a history to activations: what a workflow is told at once, and what it answered if it did so before.

An activation is all that arrived up to and including one WorkflowTaskStarted; its workflow time is that event's. When
the task was completed, the events that its commands became follow, and the updates accepted among them are delivered
last, in order of acceptance. A task that failed or timed out is no activation: what it brought belongs to the next.
The reader keeps no event that it has handed out. It must not know workflows or commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from perdure_proto import events as ev
from perdure_proto.events import AnyEvent, Event

COMMAND_EVENTS: Final[frozenset[type[Event]]] = frozenset(
    {
        ev.ActivityTaskScheduled,
        ev.ActivityTaskCancelRequested,
        ev.TimerStarted,
        ev.TimerCanceled,
        ev.MarkerRecorded,
        ev.StartChildWorkflowExecutionInitiated,
        ev.SignalExternalWorkflowExecutionInitiated,
        ev.RequestCancelExternalWorkflowExecutionInitiated,
        ev.UpsertWorkflowSearchAttributes,
        ev.WorkflowPropertiesModified,
        ev.WorkflowExecutionUpdateAccepted,
        ev.WorkflowExecutionUpdateCompleted,
        ev.WorkflowExecutionCompleted,
        ev.WorkflowExecutionFailed,
        ev.WorkflowExecutionCanceled,
        ev.WorkflowExecutionContinuedAsNew,
    }
)
"""The events that commands become; a server writes none of them by itself."""

_UNDOES_TASK: Final = (ev.WorkflowTaskFailed, ev.WorkflowTaskTimedOut)

SILENT_EVENTS: Final[frozenset[type[Event]]] = frozenset(
    {
        ev.WorkflowTaskScheduled,
        ev.ActivityTaskStarted,
        ev.WorkflowExecutionUpdateAdmitted,
        ev.WorkflowExecutionOptionsUpdated,
        ev.WorkflowExecutionPaused,
        ev.WorkflowExecutionUnpaused,
        ev.WorkflowExecutionTerminated,
        ev.WorkflowExecutionTimedOut,
    }
)
"""The events that a workflow is not told of. An admitted update comes with the task, or as an accepted one."""


class HistoryGapError(Exception):
    """The events do not go on where the reader stands: whoever feeds it has to begin anew."""


class Activation(Struct, kw_only=True, gc=False):
    """What a workflow is told at once; what it then did, if that is known."""

    time: datetime
    scheduled_event_id: int
    started_event_id: int
    history_size_bytes: int = 0
    suggest_continue_as_new: bool = False
    news: list[AnyEvent]
    """What arrived, in order of history."""
    reseed: str = ""
    """The run id that seeds chance from here on, after a reset."""
    recorded: list[AnyEvent] | None = None
    """The events that this activation's commands became, in order; None when it runs for the first time."""


class HistoryReader:
    """Cuts a history, fed whole or piece by piece, into activations."""

    def __init__(self) -> None:
        self.next_event_id = 1
        self._news: list[AnyEvent] = []
        self._reseed = ""
        self._started: ev.WorkflowTaskStarted | None = None

    def read(self, events: Sequence[AnyEvent], *, live: bool) -> Iterator[Activation | list[AnyEvent]]:
        """The activations in `events`; a list first where they begin with what the last live one's commands became.

        `live`: the events end with the WorkflowTaskStarted that is to run now. Without it (queries) what follows the
        last completed task is left unread. Events that were read before are skipped.
        """
        if not live:
            events = events[: completed_length(events)]
        open_turn: Activation | list[AnyEvent] | None = None
        recorded: list[AnyEvent] = []
        for event in self._unread(events):
            if type(event) in COMMAND_EVENTS:
                recorded.append(event)
            elif isinstance(event, ev.WorkflowTaskStarted):
                if open_turn is not None:
                    yield open_turn
                    open_turn = None
                self._started = event
            elif isinstance(event, ev.WorkflowTaskCompleted):
                recorded = []
                open_turn = recorded if self._started is None else self._turn(recorded)
            else:
                self._note(event)
        if open_turn is not None:
            yield open_turn
        if live and self._started is not None:
            yield self._turn(None)

    def unread(self, turn: Activation) -> None:
        """Puts back a live activation that brought nothing: its task is not in the log."""
        self.next_event_id, self._reseed = turn.scheduled_event_id, turn.reseed

    def _unread(self, events: Sequence[AnyEvent]) -> Iterator[AnyEvent]:
        """What was not read yet, in order; no event may be missing."""
        for event in events:
            if event.event_id < self.next_event_id:
                continue
            if event.event_id > self.next_event_id:
                raise HistoryGapError(f"event {self.next_event_id} is missing: the next one is {event.event_id}")
            self.next_event_id += 1
            yield event

    def _note(self, event: AnyEvent) -> None:
        if isinstance(event, _UNDOES_TASK):
            self._started = None
            if isinstance(event, ev.WorkflowTaskFailed) and event.cause == "RESET_WORKFLOW":
                self._reseed = event.new_run_id
        elif type(event) not in SILENT_EVENTS:
            self._news.append(event)

    def _turn(self, recorded: list[AnyEvent] | None) -> Activation:
        """The activation of the task that was started last."""
        started = self._started
        assert started is not None
        turn = Activation(
            time=started.event_time,
            scheduled_event_id=started.scheduled_event_id,
            started_event_id=started.event_id,
            history_size_bytes=started.history_size_bytes,
            suggest_continue_as_new=started.suggest_continue_as_new,
            news=self._news,
            reseed=self._reseed,
            recorded=recorded,
        )
        self._news, self._reseed, self._started = [], "", None
        return turn


def completed_length(events: Sequence[AnyEvent]) -> int:
    """How many events there are up to the last one that a command of the last completed task became."""
    for index in range(len(events) - 1, -1, -1):
        if type(events[index]) in COMMAND_EVENTS or type(events[index]) is ev.WorkflowTaskCompleted:
            return index + 1
    return 0
