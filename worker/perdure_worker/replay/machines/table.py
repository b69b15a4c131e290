"""The one funnel of all machines: look up the table, move, and name what is illegal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

StateT = TypeVar("StateT", bound=str)
InputT = TypeVar("InputT", bound=str)
ActionT = TypeVar("ActionT", bound=str)


class IllegalTransitionError(Exception):
    """History brought what cannot happen in this state."""


class Machine(Generic[StateT, InputT, ActionT]):
    """Something that a command began. `waiter` is whoever wants to know: opaque here.

    `place` is that of its last command among those of one task.
    """

    __slots__ = ("name", "place", "state", "waiter")

    family: ClassVar[str]
    # Mapping of Any: a class variable cannot use the type variables.
    table: ClassVar[Mapping[tuple[Any, Any], tuple[Any, Any]]]

    def __init__(self, state: StateT, name: str, waiter: object) -> None:
        self.state = state
        self.place = 0
        self.name = name
        self.waiter = waiter

    def step(self, given: InputT) -> ActionT:
        """Moves on and says what is to be done."""
        try:
            self.state, action = self.table[self.state, given]
        except KeyError:
            raise IllegalTransitionError(
                f"{self.family} {self.name!r} is {self.state}: {given} cannot happen to it"
            ) from None
        result: ActionT = action
        return result
