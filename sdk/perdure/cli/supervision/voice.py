"""What a supervisor and its children say, on one stream: prefixed lines for a person, JSON lines for a program."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import click
import msgspec

NAME_WIDTH = 8
COLOURS = ("cyan", "green", "magenta", "yellow", "blue")


class Voice:
    """Writes lines under the name of whoever said them."""

    def __init__(self, *, is_text: bool, stream: TextIO | None = None) -> None:
        self.is_text = is_text
        self._stream = stream or sys.stderr
        self._colours: dict[str, str] = {}

    def say(self, event: str, text: str, /, **keys: Any) -> None:
        """The supervisor's own line: a sentence, or an event with keys."""
        if self.is_text:
            self._prefixed("dev", text)
        else:
            self._json("dev", **{"event": event, "message": text, **keys})

    def relay(self, name: str, line: str) -> None:
        """A line that a child wrote. Log events pass as they are; what user code printed is wrapped."""
        if self.is_text:
            self._prefixed(name, line)
        elif line.startswith("{"):
            self._write(line)
        else:
            self._json(name, event="printed", line=line)

    def _prefixed(self, name: str, line: str) -> None:
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        self._write(click.style(f"{name:<{NAME_WIDTH}} │ ", fg=colour) + line)

    def _json(self, process: str, /, **keys: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._write(msgspec.json.encode({"process": process, **keys, "timestamp": now}).decode())

    def _write(self, line: str) -> None:
        click.echo(line, file=self._stream)
