"""Timers: started, then fired or cancelled; one that is cancelled before its command left is dropped."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, Literal

from perdure_worker.replay.machines.table import Machine

State = Literal["created", "started", "canceling", "canceled", "dropped", "fired"]
Input = Literal["recorded", "cancel_recorded", "fired", "cancel"]
Action = Literal["nothing", "resolve", "drop", "request_cancel", "withdraw"]

TABLE: Final[Mapping[tuple[State, Input], tuple[State, Action]]] = MappingProxyType(
    {
        ("created", "recorded"): ("started", "nothing"),
        ("created", "cancel"): ("dropped", "drop"),
        ("started", "fired"): ("fired", "resolve"),
        ("started", "cancel"): ("canceling", "request_cancel"),
        ("canceling", "cancel_recorded"): ("canceled", "nothing"),
        # Only in the activation that cancels it: a firing that comes later is forgotten by the service.
        ("canceling", "fired"): ("fired", "withdraw"),
    }
)


class TimerMachine(Machine[State, Input, Action]):
    """One timer, by its timer id."""

    __slots__ = ("started_event_id",)

    family: ClassVar[str] = "timer"
    table: ClassVar[Mapping[tuple[State, Input], tuple[State, Action]]] = TABLE

    def __init__(self, name: str, waiter: object) -> None:
        super().__init__("created", name, waiter)
        self.started_event_id = 0
