"""Updates: admitted, then accepted or rejected, then completed; the two commands may leave in one task.

A rejection writes nothing, so a replay never sees a rejected update.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, Literal

from perdure_worker.replay.machines.table import Machine

State = Literal["admitted", "rejected", "accepted", "running", "completed", "completing", "done"]
Input = Literal["accept", "reject", "complete", "accept_recorded", "complete_recorded"]
Action = Literal["nothing", "send_accept", "send_reject", "send_complete"]

TABLE: Final[Mapping[tuple[State, Input], tuple[State, Action]]] = MappingProxyType(
    {
        ("admitted", "accept"): ("accepted", "send_accept"),
        ("admitted", "reject"): ("rejected", "send_reject"),
        ("accepted", "accept_recorded"): ("running", "nothing"),
        ("accepted", "complete"): ("completed", "send_complete"),
        ("completed", "accept_recorded"): ("completing", "nothing"),
        ("running", "complete"): ("completing", "send_complete"),
        ("completing", "complete_recorded"): ("done", "nothing"),
    }
)


class UpdateMachine(Machine[State, Input, Action]):
    """One update, by its id."""

    __slots__ = ()

    family: ClassVar[str] = "update"
    table: ClassVar[Mapping[tuple[State, Input], tuple[State, Action]]] = TABLE

    def __init__(self, name: str) -> None:
        super().__init__("admitted", name, None)
