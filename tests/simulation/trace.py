"""What happened in a world, as lines: kept cheaply, written out only when a seed fails."""

from __future__ import annotations

from typing import Any

from perdure_proto.codec import decode_events
from tests.simulation.loop import SimulatedLoop

TEXT_MAX = 200


class Trace:
    """Who did what when."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self._said: list[tuple[float, str, str, tuple[Any, ...]]] = []
        self.closed_at: dict[str, float] = {}
        """When the close of each run landed, in the time of the world."""

    def note(self, who: str, what: str, *details: Any) -> None:
        self._said.append((self._loop.now, who, what, details))

    def closed(self, run_id: str) -> None:
        self.closed_at.setdefault(run_id, self._loop.now)

    def lines(self) -> list[str]:
        """One line for each thing that happened."""
        return [
            f"{at:10.6f}  {who:<10} {what}{''.join(f'  {_short(each)}' for each in details)}"
            for at, who, what, details in self._said
        ]


def _short(value: Any) -> str:
    if isinstance(value, bytes):
        return ", ".join(event.event_type for event in decode_events(value))
    text = str(value)
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…"
