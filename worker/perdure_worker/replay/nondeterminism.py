"""The error of a replay that went another way: which event, what history holds, what the code did, and where.

It carries text for people and the parts for programs. It must not know how commands are matched.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from perdure_proto.commands import Command
from perdure_proto.events import AnyEvent

SHOWN: Final = (
    "activity_id",
    "activity_type",
    "timer_id",
    "scheduled_event_id",
    "update_id",
    "workflow_type",
    "workflow_id",
    "signal_name",
    "marker_name",
)
"""The fields that identify a command or an event; the rest is noise in a message."""


class Origin(Struct, frozen=True, gc=False):
    """The line of workflow code that a command comes from."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


class MismatchError(Exception):
    """Commands and history do not agree."""

    def __init__(self, expected: AnyEvent | None, found: Command | None, origin: Origin | None, after: int) -> None:
        self.event_id = after + 1 if expected is None else expected.event_id
        self.expected = "no further command" if expected is None else describe(expected)
        self.found = "no further command" if found is None else describe(found)
        self.origin = origin
        where = f" at {origin}" if origin is not None else ""
        super().__init__(
            f"nondeterminism at event {self.event_id}: history has {self.expected}, the workflow's code gave "
            f"{self.found}{where}. Code that runs already must keep its order of commands: guard a change with "
            "workflow.patched()"
        )


def describe(thing: AnyEvent | Command) -> str:
    """The type and what identifies it.

    >>> from perdure_proto.commands import CancelTimer
    >>> describe(CancelTimer(timer_id="2"))
    "CancelTimer(timer_id='2')"
    """
    fields = msgspec.structs.asdict(thing)
    shown = [f"{name}={fields[name]!r}" for name in SHOWN if fields.get(name)]
    if "marker_name" in fields:
        shown.append(f"details={bytes(fields['details']).decode(errors='replace')[:200]}")
    return f"{type(thing).__name__}({', '.join(shown)})"
