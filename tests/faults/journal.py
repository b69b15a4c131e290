"""What clients asked, and what they were told: every operation with its times and its outcome, kept in a file too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from perdure.exceptions import RPCError
from perdure_proto.errors import RETRYABLE, Code

T = TypeVar("T")

OPEN_ENDED = RETRYABLE | {Code.DEADLINE_EXCEEDED, Code.QUERY_TIMED_OUT}
"""Errors after which nobody knows whether it happened."""


class Operation(Struct, kw_only=True):
    """One call of a client."""

    kind: str
    key: str
    invoked_at: float
    returned_at: float = 0.0
    outcome: str = "under way"
    """`acknowledged`, `failed`, `unknown`."""
    told: str = ""


class Answer(Struct, Generic[T], frozen=True):
    """What came of a call. `value` is there if it was acknowledged."""

    known: bool
    value: T | None
    invoked_at: float
    returned_at: float


class Journal:
    """All operations, in the order of their answers."""

    def __init__(self, folder: Path) -> None:
        self._begun = time.monotonic()
        self._file = (folder / "operations.jsonl").open("wb")
        self.operations: list[Operation] = []
        self.results: dict[str, object] = {}
        """What workflows gave their callers, by workflow id."""
        self.wrong: list[str] = []
        """Everything that should not have been, in words."""

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begun

    def blame(self, what: str) -> None:
        """Note a violation, and say it at once."""
        self.wrong.append(what)
        self.say(f"WRONG: {what}")

    def say(self, text: str) -> None:
        print(f"{self.now():8.2f}  {text}", flush=True)

    async def call(
        self, kind: str, key: str, ask: Callable[[], Awaitable[T]], *, patience: float | None = None
    ) -> Answer[T]:
        """Ask once, for so many seconds. An error other than one that leaves the outcome open is raised."""
        operation = Operation(kind=kind, key=key, invoked_at=self.now())
        try:
            async with asyncio.timeout(patience):
                value = await ask()
        except TimeoutError:
            self._note(operation, "unknown", "the caller had no more patience")
            return Answer(False, None, operation.invoked_at, operation.returned_at)
        except RPCError as error:
            open_ended = error.code in OPEN_ENDED
            self._note(operation, "unknown" if open_ended else "failed", str(error))
            if not open_ended:
                raise
            return Answer(False, None, operation.invoked_at, operation.returned_at)
        except BaseException as error:
            self._note(operation, "failed", repr(error))
            raise
        self._note(operation, "acknowledged", "")
        return Answer(True, value, operation.invoked_at, operation.returned_at)

    def _note(self, operation: Operation, outcome: str, told: str) -> None:
        operation.returned_at, operation.outcome, operation.told = self.now(), outcome, told[:200]
        self.operations.append(operation)
        self._file.write(msgspec.json.encode(operation) + b"\n")

    def close(self) -> None:
        self._file.close()
