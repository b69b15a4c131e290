"""How a command ends: its exit status, and one line on stderr that says what to do.

The statuses are a contract with scripts; the reference lists them from here.
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType

from perdure_proto.errors import Code


class Exit(IntEnum):
    """Exit statuses of `perdure`."""

    DONE = 0
    NOT_DONE = 1
    USAGE = 2
    UNAVAILABLE = 3
    REFUSED = 4


MEANING: MappingProxyType[Exit, str] = MappingProxyType(
    {
        Exit.DONE: "the thing asked for was done",
        Exit.NOT_DONE: "it was not done: the workflow failed, the update was rejected, a process could not go on",
        Exit.USAGE: "the command line, a variable or the settings file is wrong; nothing was asked of the service",
        Exit.UNAVAILABLE: "the service cannot be reached or cannot answer now; the same command may work later",
        Exit.REFUSED: "the service refused the request; the code stands in the message",
    }
)

_UNAVAILABLE = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED})


class CommandError(Exception):
    """A command could not do what was asked: the status to end with, a code and what to do."""

    def __init__(self, status: Exit, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message


def usage_error(message: str) -> CommandError:
    """What the user typed cannot be meant."""
    return CommandError(Exit.USAGE, "USAGE", message)


def status_of(code: str) -> Exit:
    """The exit status for an error code of the service.

    >>> status_of("WORKFLOW_NOT_FOUND").name, status_of("UNAVAILABLE").name
    ('REFUSED', 'UNAVAILABLE')
    """
    return Exit.UNAVAILABLE if code in _UNAVAILABLE else Exit.REFUSED


def one_line(text: str) -> str:
    """A message without line breaks, for one line of stderr."""
    return " ".join(text.split())
