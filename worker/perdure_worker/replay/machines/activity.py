"""Activities: from the command that schedules one to the event that closes it, and the three ways to cancel.

`try_cancel` asks and waits no longer, `wait_cancel` asks and waits for what comes of it, `abandon` only stops waiting.
An activity that is cancelled before its command left is dropped: there never was one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, Literal

from perdure_proto import events as ev
from perdure_proto.events import Event
from perdure_proto.options import CancellationType
from perdure_worker.replay.machines.table import Machine

State = Literal["created", "scheduled", "canceling", "awaiting_cancel", "abandoned", "dropped", "closed"]
Input = Literal[
    "recorded",
    "cancel_recorded",
    "completed",
    "failed",
    "timed_out",
    "canceled",
    "try_cancel",
    "wait_cancel",
    "abandon",
]
Action = Literal["nothing", "resolve", "drop", "request_cancel"]

TABLE: Final[Mapping[tuple[State, Input], tuple[State, Action]]] = MappingProxyType(
    {
        ("created", "recorded"): ("scheduled", "nothing"),
        ("created", "try_cancel"): ("dropped", "drop"),
        ("created", "wait_cancel"): ("dropped", "drop"),
        ("created", "abandon"): ("dropped", "drop"),
        ("scheduled", "completed"): ("closed", "resolve"),
        ("scheduled", "failed"): ("closed", "resolve"),
        ("scheduled", "timed_out"): ("closed", "resolve"),
        ("scheduled", "canceled"): ("closed", "resolve"),
        ("scheduled", "try_cancel"): ("canceling", "request_cancel"),
        ("scheduled", "wait_cancel"): ("awaiting_cancel", "request_cancel"),
        ("scheduled", "abandon"): ("abandoned", "nothing"),
        ("canceling", "cancel_recorded"): ("canceling", "nothing"),
        ("canceling", "completed"): ("closed", "nothing"),
        ("canceling", "failed"): ("closed", "nothing"),
        ("canceling", "timed_out"): ("closed", "nothing"),
        ("canceling", "canceled"): ("closed", "nothing"),
        ("awaiting_cancel", "cancel_recorded"): ("awaiting_cancel", "nothing"),
        ("awaiting_cancel", "wait_cancel"): ("awaiting_cancel", "nothing"),
        ("awaiting_cancel", "completed"): ("closed", "resolve"),
        ("awaiting_cancel", "failed"): ("closed", "resolve"),
        ("awaiting_cancel", "timed_out"): ("closed", "resolve"),
        ("awaiting_cancel", "canceled"): ("closed", "resolve"),
        ("abandoned", "completed"): ("closed", "nothing"),
        ("abandoned", "failed"): ("closed", "nothing"),
        ("abandoned", "timed_out"): ("closed", "nothing"),
        ("abandoned", "canceled"): ("closed", "nothing"),
    }
)

NEWS: Final[Mapping[type[Event], Input]] = MappingProxyType(
    {
        ev.ActivityTaskCompleted: "completed",
        ev.ActivityTaskFailed: "failed",
        ev.ActivityTaskTimedOut: "timed_out",
        ev.ActivityTaskCanceled: "canceled",
    }
)
"""What each event that arrives means to the machine."""

CANCELS: Final[Mapping[CancellationType, Input]] = MappingProxyType(
    {
        "try_cancel": "try_cancel",
        "wait_cancellation_completed": "wait_cancel",
        "wait_cancellation_requested": "try_cancel",
        "abandon": "abandon",
    }
)
"""What each cancellation type means to the machine."""


class ActivityMachine(Machine[State, Input, Action]):
    """One activity, by its activity id."""

    __slots__ = ("activity_type", "scheduled_event_id")

    family: ClassVar[str] = "activity"
    table: ClassVar[Mapping[tuple[State, Input], tuple[State, Action]]] = TABLE

    def __init__(self, name: str, activity_type: str, waiter: object) -> None:
        super().__init__("created", name, waiter)
        self.activity_type = activity_type
        self.scheduled_event_id = 0
