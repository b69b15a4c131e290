"""Upserts: a change of memo or search attributes, recorded in the order in which it was asked for.

What was changed is not compared with history: values may differ in newer code. That something was is.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, Literal

from perdure_worker.replay.machines.table import Machine

State = Literal["created", "recorded"]
Input = Literal["recorded"]
Action = Literal["nothing"]

TABLE: Final[Mapping[tuple[State, Input], tuple[State, Action]]] = MappingProxyType(
    {("created", "recorded"): ("recorded", "nothing")}
)


class UpsertMachine(Machine[State, Input, Action]):
    """One change, by what it changes."""

    __slots__ = ()

    family: ClassVar[str] = "upsert"
    table: ClassVar[Mapping[tuple[State, Input], tuple[State, Action]]] = TABLE

    def __init__(self, name: str) -> None:
        super().__init__("created", name, None)
