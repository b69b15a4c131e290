"""What a command prints: text for a person, or JSON for a program. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import click
import msgspec
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

OutputFormat = Literal["text", "json", "jsonl"]
_UNBOUNDED = 10_000
"""Columns when nobody looks: an id must not be cut short in a pipe."""


class Output:
    """Writes results in the format that was asked for."""

    def __init__(self, format: OutputFormat = "text") -> None:
        self.format = format
        self._console = Console(
            width=None if sys.stdout.isatty() else _UNBOUNDED,
            highlight=False,
            markup=False,
            soft_wrap=False,
            emoji=False,
        )

    @property
    def is_text(self) -> bool:
        return self.format == "text"

    def result(self, value: object, text: RenderableType) -> None:
        """One answer: the text, or the value as JSON."""
        if self.is_text:
            self.text(text)
        else:
            self.line(value)

    def rows(self, values: Sequence[object], table: Table) -> None:
        """Several answers of one kind: a table, a JSON array, or a JSON value a line."""
        if self.is_text:
            self.text(table)
        elif self.format == "json":
            self.line(values)
        else:
            for value in values:
                self.line(value)

    def text(self, text: RenderableType) -> None:
        """Text, without the blanks that fill up columns."""
        with self._console.capture() as captured:
            self._console.print(text)
        click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))

    def line(self, value: object) -> None:
        """A value as JSON: indented, or on one line where lines are values."""
        data = msgspec.json.encode(value)
        click.echo(data if self.format == "jsonl" else msgspec.json.format(data, indent=2))


def table(*columns: str) -> Table:
    """An empty table in the one look that lists have."""
    made = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def fields(pairs: Iterable[tuple[str, RenderableType | None]]) -> Table:
    """Names and values below each other; what is empty is left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None and str(value):
            grid.add_row(name, value)
    return grid


def instant(at: datetime | None) -> str:
    """An instant in the reader's time zone, to the second."""
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def json_text(raw: bytes | msgspec.Raw, encoding: str = "") -> str:
    """A value as JSON text; what a codec made opaque is only named."""
    return f"<{encoding}>" if encoding else bytes(raw).decode("utf-8", "replace")


def compact(value: Any) -> str:
    """A Python value as JSON on one line."""
    return msgspec.json.encode(value).decode()
