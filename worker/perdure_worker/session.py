"""A worker's session with one server: the numbers of its requests and what it has acknowledged.

The law: a request keeps its number when it is repeated, and every answer that arrived is acknowledged in a later
request, once. A service that does not know the session is told who the worker is before anything else; what was
owed in acknowledgements then no longer counts, because the introduction lists what the worker holds.

On all servers the session has the same id and draws from the same numbers, so that no two requests of a worker are
taken for one, whichever way they went.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from uuid import uuid4

from perdure_proto.tasks import WorkerInfo
from perdure_worker.telemetry import SESSION_UNKNOWN, log


class Session:
    """Numbers requests, remembers answers to acknowledge, and knows whether the service knows the worker."""

    def __init__(
        self, describe: Callable[[], WorkerInfo], *, id: str | None = None, numbers: Iterator[int] | None = None
    ) -> None:
        self.id = id or str(uuid4())
        self.acquaintance = 0
        """How often the service had to be told again; a request notes it when it is sent."""
        self._describe = describe
        self._numbers = numbers or count(1)
        self._held_wanted = False
        self._unacknowledged: list[int] = []
        self._introduced = asyncio.Event()
        self._when_unknown: list[Callable[[], None]] = []

    def next_sequence(self) -> int:
        """The number of a new request."""
        return next(self._numbers)

    def received(self, sequence: int) -> None:
        """An answer arrived and what it brought is in hand."""
        self._unacknowledged.append(sequence)

    def take_acknowledged(self) -> tuple[int, ...]:
        """What the request about to be built acknowledges. It is repeated until answered, so nothing gets lost."""
        taken, self._unacknowledged = tuple(self._unacknowledged), []
        return taken

    def owes_acknowledgement(self, sequence: int) -> bool:
        """Whether no request has acknowledged this answer yet."""
        return sequence in self._unacknowledged

    def introduction(self) -> WorkerInfo | None:
        """Who the worker is, while the service does not know."""
        if self._introduced.is_set():
            return None
        self._unacknowledged.clear()
        self._held_wanted = False
        return self._describe()

    def list_held(self) -> None:
        """The service asks for the tokens that the worker holds."""
        self._held_wanted = True

    def take_held(self) -> tuple[str, ...] | None:
        """What the request about to be built lists, where the service has asked. It is repeated until answered."""
        if not self._held_wanted:
            return None
        self._held_wanted = False
        return self._describe().held

    def confirmed(self) -> None:
        """The service has answered an introduction."""
        self._introduced.set()

    @property
    def is_introduced(self) -> bool:
        """Whether the service knows the session, as far as one can tell."""
        return self._introduced.is_set()

    async def introduced(self) -> None:
        """Waits until the service knows the session."""
        await self._introduced.wait()

    def when_unknown(self, callback: Callable[[], None]) -> None:
        """Calls back when the service is found not to know the session."""
        self._when_unknown.append(callback)

    def unknown(self, acquaintance: int) -> None:
        """The service does not know the session, says the answer to a request sent in that acquaintance.

        Several requests in flight find out; only the first counts, or the others would undo its introduction.
        """
        if acquaintance != self.acquaintance:
            return
        self.acquaintance += 1
        self._introduced.clear()
        log.warning(SESSION_UNKNOWN, session=self.id, held=len(self._describe().held))
        for callback in self._when_unknown:
            callback()
