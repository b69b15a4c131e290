"""What a scenario is told in: a run, and a text that says what went in and what came out, made to be read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Raw, Struct

from perdure_proto import events as ev
from perdure_proto.commands import AnyCommand
from perdure_proto.failures import Failure
from perdure_server.config import Limits
from perdure_server.history import requests as req
from perdure_server.history.decide import decide
from perdure_server.history.decision import NOTHING, Decision, Moment, NewRun
from perdure_server.history.invariants import same_state, violations
from perdure_server.history.outcomes import closes_otherwise
from perdure_server.history.state import ExecutionState
from perdure_server.history.transitions.chain import first_events
from perdure_server.history.transitions.standalone import opening
from tests.runs import EPOCH, NEXT_RUN_ID, Run, started_event

_HIDDEN = {"event_id", "event_time", "original_execution_run_id", "first_execution_run_id", "started_at"}


class Script:
    """One scenario. Each step is written down; the laws are checked after each."""

    def __init__(
        self,
        limits: Limits | None = None,
        activity: ev.ActivityTaskScheduled | None = None,
        signals: Sequence[ev.WorkflowExecutionSignaled] = (),
        **start: Any,
    ) -> None:
        self.lines: list[str] = []
        started = started_event(**start)
        self.run = Run(opening(started, activity) if activity else first_events(started, signals), limits=limits)
        self.token: dict[str, Any] = {}
        self.sealed: set[int] = set()
        for event in self.run.events:
            self._event(event)

    @property
    def state(self) -> ExecutionState:
        return self.run.state

    def after(self, seconds: float) -> Script:
        """Time passes."""
        self.run.after(seconds)
        return self

    def note(self, text: str) -> None:
        """A remark for the reader."""
        self.lines.append(f"# {text}")

    def ask(self, request: req.Request) -> Decision:
        """A request goes in; what it brings is written down."""
        self.lines += ["", f"{self._clock()} > {described(request)}"]
        held = self._held(request)
        if held:
            self.lines.append(f"         held     until sealed: {', '.join(map(str, held))}")
            return NOTHING
        decision = self.run.ask(request)
        for event in decision.events:
            self._event(event)
        for fact in decision.records:
            self.lines.append(f"         record   {described(fact)}")
        for effect in decision.effects:
            self.lines.append(f"         effect   {described(effect)}")
        if decision.new_run is not None:
            self._new_run(decision.new_run)
        if decision.refused is not None:
            self.lines.append(f"         refused  {decision.refused.code}: {decision.refused.message}")
        if not (decision.events or decision.records or decision.effects or decision.refused):
            self.lines.append("         nothing")
        assert [] == violations(self.run.events)
        assert [] == same_state(self.state, self.run.rebuilt().state)
        return decision

    def _held(self, request: req.Request) -> list[int]:
        """The activities that the shell must seal first."""
        decision = decide(self.state, request, Moment(self.run.now, self.run.limits))
        return [each for each in closes_otherwise(self.state, request, decision) if each not in self.sealed]

    def take(self) -> None:
        """A worker takes the workflow task."""
        started = self.ask(req.StartWorkflowTask(session="w1")).answer
        self.token = self.run.on_task(started)

    def answer(self, *commands: AnyCommand, **more: Any) -> Decision:
        """The worker answers the task that it took last."""
        return self.ask(req.CompleteWorkflowTask(**self.token, commands=list(commands), **more))

    def turn(self, *commands: AnyCommand, **more: Any) -> Decision:
        """Takes a task and answers it."""
        self.take()
        return self.answer(*commands, **more)

    def fail_task(self) -> Decision:
        """The worker cannot do the task."""
        cause: ev.WorkflowTaskFailedCause = "WORKFLOW_WORKER_UNHANDLED_FAILURE"
        return self.ask(req.FailWorkflowTask(**self.token, cause=cause))

    def attempt(self, scheduled_event_id: int) -> dict[str, Any]:
        """The token of the attempt that is pending."""
        activity = self.state.activities[scheduled_event_id]
        return {
            "scheduled_event_id": scheduled_event_id,
            "attempt": activity.attempt,
            "started_at": activity.started_at or self.run.now,
            "stamp": activity.stamp,
        }

    def copied(self) -> None:
        """The history ends with a started task, as that of a copy does."""
        task = self.state.workflow_task
        assert task is not None
        started = ev.WorkflowTaskStarted(
            event_id=self.state.last_event_id + 1,
            event_time=self.run.now,
            scheduled_event_id=task.scheduled_event_id,
        )
        self.run.write([started])
        self._event(started)

    def begin(self, scheduled_event_id: int) -> None:
        """A worker takes an activity."""
        self.ask(req.StartActivity(**self.attempt(scheduled_event_id), session="w1", identity="w1"))

    def text(self) -> str:
        """The whole transcript."""
        return "\n".join(self.lines) + "\n"

    def _event(self, event: ev.AnyEvent) -> None:
        late = "" if event.event_time == self.run.now else f" at {clock(event.event_time)}"
        self.lines.append(f"{event.event_id:8} {event.event_type}{fields(event)}{late}")

    def _new_run(self, new_run: NewRun) -> None:
        self.lines.append(f"         new run  {new_run.run_id[-1]}")
        for event in new_run.events:
            self.lines.append(f"{event.event_id:17} {event.event_type}{fields(event)}")
        for delivery, _ in new_run.moved_updates:
            self.lines.append(f"                  moved {delivery.update_id}")
        assert [] == violations(new_run.events)

    def _clock(self) -> str:
        return clock(self.run.now)


def clock(at: datetime) -> str:
    """Seconds since the beginning."""
    return f"{(at - EPOCH).total_seconds():g}s"


def described(value: Any) -> str:
    """A Struct as its name and what it says beyond its defaults."""
    return type(value).__name__ + fields(value)


def fields(value: Struct) -> str:
    """The fields of a Struct that are not at their default."""
    told: list[str] = []
    config = type(value).__struct_fields__
    defaults = dict(zip(reversed(config), reversed(type(value).__struct_defaults__), strict=False))
    for name in config:
        field = getattr(value, name)
        if name not in _HIDDEN and field != defaults.get(name, ...) and not (field in ("", ()) or field == {}):
            told.append(f"{name}={short(field)}")
    return f" {' '.join(told)}" if told else ""


def short(value: Any) -> str:
    """A value in few words."""
    match value:
        case datetime():
            return clock(value)
        case timedelta():
            return f"{value.total_seconds():g}s"
        case Raw():
            return bytes(value).decode()
        case Failure():
            return f"{type(value.info).__name__}({value.message!r})"
        case str():
            return value[-1] if value.startswith(NEXT_RUN_ID[:-1]) else value
        case dict():
            return "{" + ", ".join(f"{key!r}: {short(each)}" for key, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(short, value)) + "]"
        case Struct():
            return f"{type(value).__name__}({fields(value).strip()})"
        case _:
            return str(value)
