"""Refills: when a queue that overflowed falls below half its window, the engine is asked for what it parked.

One refill at a time for each queue. It must not know what the engine does to find parked tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from perdure_server.matching.port import TaskSource, Times
from perdure_server.matching.queues import KindQueue

log = structlog.get_logger(__name__)


class Refills:
    """The refills that run."""

    def __init__(self, source: TaskSource, times: Times) -> None:
        self._source = source
        self._times = times
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    def look(self, kinds: Iterable[KindQueue]) -> None:
        """Begin what had to wait for room or for a pause."""
        for kind in kinds:
            if kind.parked or kind.parked_unnamed:
                self.begin(kind)

    def begin(self, kind: KindQueue) -> None:
        """Refill the queue, if it has room for what is known to be parked."""
        room = 0 if self._closed else kind.room(self._times.clock())
        if room:
            known = kind.refill_begins()
            task = self._loop.create_task(self._refill(kind, room, known))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Stop: what is parked stays parked."""
        self._closed = True
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _refill(self, kind: KindQueue, room: int, known: tuple[bool, bool]) -> None:
        try:
            taken = await self._source.refill(kind.namespace, kind.name, kind.kind, room)
            kind.refused += taken > 0  # also those of closed or paused runs, which were offered to nobody
        except Exception:  # the database may be away: the tasks are still there, and it is tried again
            log.exception("matching_refill_failed", namespace=kind.namespace, task_queue=kind.name, kind=kind.kind)
            kind.refused += 1
        kind.refill_ends(known, room, self._times.clock())
        self.begin(kind)
