"""Signals to other executions and requests that they stop: initiated, then answered.

A signal that is cancelled before its command left is dropped; one that has left is on its way, and its answer is
waited for. A request cannot be taken back. A request that cancels a child has the child's machine as its waiter.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, Literal

from perdure_worker.replay.machines.table import Machine

SignalState = Literal["created", "initiated", "dropped", "answered"]
SignalInput = Literal["recorded", "answered", "cancel"]
SignalAction = Literal["nothing", "resolve", "drop"]

SIGNAL_TABLE: Final[Mapping[tuple[SignalState, SignalInput], tuple[SignalState, SignalAction]]] = MappingProxyType(
    {
        ("created", "recorded"): ("initiated", "nothing"),
        ("created", "cancel"): ("dropped", "drop"),
        ("initiated", "cancel"): ("initiated", "nothing"),
        ("initiated", "answered"): ("answered", "resolve"),
    }
)

CancelState = Literal["created", "initiated", "answered"]
CancelInput = Literal["recorded", "answered"]
CancelAction = Literal["nothing", "resolve"]

CANCEL_TABLE: Final[Mapping[tuple[CancelState, CancelInput], tuple[CancelState, CancelAction]]] = MappingProxyType(
    {
        ("created", "recorded"): ("initiated", "nothing"),
        ("initiated", "answered"): ("answered", "resolve"),
    }
)


class SignalMachine(Machine[SignalState, SignalInput, SignalAction]):
    """One signal to another execution, by the workflow id of that one."""

    __slots__ = ()

    family: ClassVar[str] = "external signal"
    table: ClassVar[Mapping[tuple[SignalState, SignalInput], tuple[SignalState, SignalAction]]] = SIGNAL_TABLE

    def __init__(self, name: str, waiter: object) -> None:
        super().__init__("created", name, waiter)


class CancelMachine(Machine[CancelState, CancelInput, CancelAction]):
    """One request that another execution stop, by the workflow id of that one."""

    __slots__ = ()

    family: ClassVar[str] = "external cancel"
    table: ClassVar[Mapping[tuple[CancelState, CancelInput], tuple[CancelState, CancelAction]]] = CANCEL_TABLE

    def __init__(self, name: str, waiter: object) -> None:
        super().__init__("created", name, waiter)
