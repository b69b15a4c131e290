"""What clients did and what they were told: the other side of the log."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Operation(Struct, kw_only=True):
    """One call of a client. `code` is empty when it was acknowledged; `?` while nobody knows."""

    client: str
    number: int
    do: str
    on: str
    values: list[Any]
    began_at: float
    ended_at: float = 0.0
    code: str = "?"
    run_id: str = ""
    answer: Any = None

    @property
    def is_acknowledged(self) -> bool:
        return not self.code


class Journal:
    """All operations, and what workers were told."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.completed: list[tuple[str, str]] = []
        """Tokens of completions that the service has accepted, by kind."""

    def acknowledged(self, *kinds: str) -> list[Operation]:
        return [each for each in self.operations if each.do in kinds and each.is_acknowledged]
