"""A history as a timeline: one line an event, with what matters of it, and failures as tracebacks.

Written event by event, so that it can follow a run that goes on. A later event says the name of what it is about,
not only the number of an earlier one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Raw, Struct
from msgspec.structs import fields
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from perdure.cli.failure_text import failure_text
from perdure.cli.output import compact, json_text
from perdure_proto.durations import format_duration
from perdure_proto.events import AnyEvent
from perdure_proto.failures import Failure
from perdure_proto.payload import NULL

NAMES: Final = (
    "activity_type",
    "signal_name",
    "update_name",
    "timer_id",
    "marker_name",
    "workflow_type",
)
"""Attributes that name what an event is about, the first that it has."""

ORIGINS: Final = ("scheduled_event_id", "initiated_event_id", "accepted_event_id", "started_event_id")
"""Attributes that point at the event which named it."""

SHOWN_APART: Final = frozenset({*NAMES, *ORIGINS, "input", "kwargs", "encoding", "result", "failure", "last_failure"})

UNINTERESTING: Final = frozenset(
    {
        "event_id",
        "event_time",
        "workflow_task_completed_event_id",
        "request_id",
        "carried_request_ids",
        "header",
        "identity",
        "build_id",
        "sdk_metadata",
        "started_at",
        "namespace",
        "original_execution_run_id",
        "first_execution_run_id",
        "activity_id",
        "latest_cancel_requested_event_id",
        "accepted_request_sequencing_event_id",
        "history_size_bytes",
        "retry_policy",
        "workflow_execution_expiration_time",
        "last_completion_encoding",
        "last_completion_run_id",
    }
)

DETAILS_SHOWN_MAX: Final = 80
"""Characters of Markdown in a line; `describe` shows it whole."""

STYLES: Final = (
    ("Failed", "red"),
    ("TimedOut", "red"),
    ("Terminated", "red"),
    ("Cancel", "yellow"),
    ("Completed", "green"),
    ("Fired", "green"),
    ("Signaled", "cyan"),
    ("Update", "cyan"),
)


class Timeline:
    """Turns the events of one run, in order, into lines."""

    def __init__(self) -> None:
        self._began_at: datetime | None = None
        self._names: dict[int, str] = {}

    def line(self, event: AnyEvent) -> RenderableType:
        """The event as a row of fixed columns, so that rows printed one by one stand below each other."""
        began_at = self._began_at = self._began_at or event.event_time
        row = Table.grid(padding=(0, 1))
        row.add_column(width=5, justify="right", style="dim")
        row.add_column(width=9, justify="right")
        row.add_column(width=34, no_wrap=True)
        row.add_column(overflow="fold")
        title = Text(event.event_type, style=_style(event.event_type))
        row.add_row(str(event.event_id), since(event.event_time - began_at), title, self._details(event))
        return row

    def _details(self, event: AnyEvent) -> RenderableType:
        text = Text(self._subject(event))
        for part in interesting(event):
            text.append(f"  {part}" if text else part, style="dim")
        failure = getattr(event, "failure", None) or getattr(event, "last_failure", None)
        if not isinstance(failure, Failure):
            return text
        return Group(text, Text(failure_text(failure), style="red"))

    def _subject(self, event: AnyEvent) -> str:
        """What the event is about: `greet("Ada")` where it begins, `greet → "Hello"` where it ends."""
        name = next((getattr(event, name) for name in NAMES if getattr(event, name, "")), "")
        origin = next((self._names[at] for at in _origins(event) if at in self._names), "")
        name = f"timer {name}" if hasattr(event, "timer_id") else name or origin
        if name:
            self._names[event.event_id] = name
        if hasattr(event, "input"):
            name = f"{name}({arguments(event)})"
        if hasattr(event, "result"):
            name = f"{name} → {json_text(getattr(event, 'result', NULL), getattr(event, 'encoding', ''))}".strip()
        return name


def since(elapsed: timedelta) -> str:
    """Time since the start of the run.

    >>> since(timedelta(seconds=1.5))
    '+1.500s'
    """
    seconds = elapsed.total_seconds()
    if seconds < 100:  # noqa: PLR2004 - three digits fit the column
        return f"+{seconds:.3f}s"
    return f"+{format_duration(elapsed)}"


def arguments(event: Any) -> str:
    """The arguments of a call, as they would be written."""
    if event.encoding:
        return f"<{event.encoding}>"
    positional = json_text(event.input).strip()[1:-1]
    keywords = json_text(event.kwargs)
    return positional if keywords == "null" else f"{positional}, **{keywords}".lstrip(", ")


def interesting(event: AnyEvent) -> Iterator[str]:
    """`name=value` of each attribute that differs from its default and tells a reader something."""
    for field in fields(event):
        if field.name in UNINTERESTING or field.name in SHOWN_APART:
            continue
        value = getattr(event, field.name)
        if value != field.default and value not in ({}, ()):
            text = _plain(value)
            yield f"{field.name}={shortened(text) if field.name.endswith('_details') else text}"


def shortened(text: str) -> str:
    """Markdown as a part of one line.

    >>> shortened("# Title")
    '# Title'
    """
    line = " ".join(text.split())
    return line if len(line) <= DETAILS_SHOWN_MAX else f"{line[:DETAILS_SHOWN_MAX]}…"


def _origins(event: AnyEvent) -> Iterator[int]:
    return (getattr(event, name) for name in ORIGINS if getattr(event, name, 0))


def _plain(value: object) -> str:
    match value:
        case str():
            return value
        case timedelta():
            return format_duration(value)
        case datetime():
            return value.isoformat(timespec="seconds")
        case Raw():
            return json_text(value)
        case bool():
            return "yes" if value else "no"
        case Struct():
            return compact(value)
        case _:
            return compact(value)


def _style(event_type: str) -> str:
    return next((style for word, style in STYLES if word in event_type), "")
