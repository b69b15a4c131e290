"""A story: one workflow that writes down what runs, and what it is told turn by turn; its text is the golden.

The same workflow is run in three ways: by a worker that has it cached, by one that replays at every turn, and by one
that replays the whole history at once. Only the trace of the first is kept; the others must equal it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure_proto import commands as cmd
from perdure_proto import events as ev
from perdure_proto.events import AnyEvent
from perdure_proto.tasks import UpdateDelivery
from tests.replay.service import Service

trace: list[str] = []
"""What ran, in order; each way of running begins it anew."""


def note(text: str) -> None:
    """Written by workflow code, on replay too."""
    trace.append(text)


class Story(Service):
    """A service that also writes down what each turn brought, what ran in it, and what was asked for."""

    def __init__(self, workflow: Any, *args: object, evicts: bool = False) -> None:
        trace.clear()
        super().__init__(workflow, *args)
        self.lines: list[str] = []
        self._evicts = evicts
        self._told = 0
        self._ran = 0
        self._turns = 0

    def turn(self, *updates: UpdateDelivery) -> list[cmd.AnyCommand]:
        """One turn, and its part of the text."""
        self._turns += 1
        came = [told for event in self.events[self._told :] if (told := news_of(event))]
        came += [f"update {one.update_name} ({one.update_id})" for one in updates]
        self.lines.append(f"turn {self._turns}: {', '.join(came)}")
        if self._evicts and self._turns > 1:
            self.evict()
            trace.clear()
        commands = super().turn(*updates)
        self._told = len(self.events)
        self.lines += [f"    {line}" for line in trace[self._ran :]]
        self._ran = len(trace)
        self.lines += [f"  > {asked_by(command)}" for command in commands]
        return commands

    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines) + "\n"


Tell = Callable[[Story], None]


def news_of(event: AnyEvent) -> str:
    """What an event tells the workflow; empty where it tells nothing."""
    match event:
        case ev.WorkflowExecutionStarted():
            return "start"
        case ev.WorkflowExecutionSignaled():
            return f"signal {event.signal_name}{bytes(event.input).decode()}"
        case ev.WorkflowExecutionCancelRequested():
            return "cancel"
        case ev.TimerFired():
            return f"timer {event.timer_id} fires"
        case ev.ActivityTaskCompleted():
            return f"result {bytes(event.result).decode()}"
        case ev.ActivityTaskFailed():
            return "an activity failed"
        case ev.ActivityTaskCanceled():
            return "an activity stopped"
        case _:
            return ""


def asked_by(command: cmd.AnyCommand) -> str:
    """A command in few words."""
    match command:
        case cmd.ScheduleActivityTask():
            return f"ScheduleActivityTask {command.activity_id} {bytes(command.input).decode()}"
        case cmd.StartTimer():
            return f"StartTimer {command.timer_id} {command.start_to_fire_timeout.total_seconds():g} s"
        case cmd.CancelTimer():
            return f"CancelTimer {command.timer_id}"
        case cmd.AcceptUpdate() | cmd.RejectUpdate() | cmd.CompleteUpdate():
            return f"{type(command).__name__} {command.update_id}"
        case _:
            return type(command).__name__
