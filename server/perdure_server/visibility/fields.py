"""What a filter can ask for: the fields that every execution has, by name; any other name is a search attribute."""

from __future__ import annotations

from difflib import get_close_matches
from enum import Enum, auto
from typing import Final

from msgspec import Struct


class Kind(Enum):
    """What a field's values are, and so what it can be compared with."""

    TEXT = auto()
    STATUS = auto()
    TIME = auto()
    NUMBER = auto()
    DURATION = auto()
    ATTRIBUTE = auto()


class Field(Struct, frozen=True):
    """A field: its name in filters, what it holds, and the column where it stands, if it is one."""

    name: str
    kind: Kind
    column: str = ""
    is_ordered: bool = False
    """Whether an index gives it in order."""


SYSTEM: Final = {
    field.name: field
    for field in (
        Field("WorkflowId", Kind.TEXT, "workflow_id", is_ordered=True),
        Field("WorkflowType", Kind.TEXT, "workflow_type", is_ordered=True),
        Field("ActivityId", Kind.TEXT, "workflow_id", is_ordered=True),
        Field("ActivityType", Kind.TEXT, "workflow_type", is_ordered=True),
        Field("RunId", Kind.TEXT, "run_id"),
        Field("FirstRunId", Kind.TEXT, "first_run_id"),
        Field("TaskQueue", Kind.TEXT, "task_queue"),
        Field("ExecutionStatus", Kind.STATUS, "status"),
        Field("StartTime", Kind.TIME, "start_time", is_ordered=True),
        Field("CloseTime", Kind.TIME, "close_time", is_ordered=True),
        Field("ExecutionDuration", Kind.DURATION),
        Field("HistoryLength", Kind.NUMBER, "history_length"),
    )
}
"""Standalone activities are runs of their own: their ids and types stand in the same columns."""

_FOLDED: Final = {name.lower().replace("_", ""): name for name in SYSTEM}


def field_of(name: str) -> Field:
    """The field of this name."""
    return SYSTEM.get(name) or Field(name, Kind.ATTRIBUTE)


def misspelt(name: str) -> str:
    """The system field that was probably meant by a name that is none, or nothing.

    >>> misspelt("workflow_id"), misspelt("ExecutionStatsu"), misspelt("Customer")
    ('WorkflowId', 'ExecutionStatus', '')
    """
    if name in SYSTEM:
        return ""
    near = get_close_matches(name.lower().replace("_", ""), _FOLDED, n=1, cutoff=0.9)
    return _FOLDED[near[0]] if near else ""
