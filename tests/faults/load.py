"""A steady stream of programs, each by a caller of its own, until it is enough; then all must come to an end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence

from perdure import Client
from tests.faults.caller import Caller
from tests.faults.journal import Journal
from tests.faults.programs import PROGRAMS

RUNNING_MAX = 150
"""Programs that run at once: when nothing moves, no more are begun."""


class Load:
    """Begins `rate` programs a second, in a shuffled order."""

    def __init__(self, clients: Sequence[Client], journal: Journal, *, rate: float, seed: int) -> None:
        self._clients = clients
        self._journal = journal
        self._pause = 1 / rate
        self._chance = random.Random(seed)
        self._running: dict[str, asyncio.Task[None]] = {}
        self.begun: Counter[str] = Counter()
        self.ended_at: list[float] = []
        self.held_back = 0

    @property
    def running(self) -> list[str]:
        """Ids of the programs that have not come to an end."""
        return list(self._running)

    async def run(self) -> None:
        """Until cancelled."""
        for number, name in enumerate(self._names()):
            if len(self._running) < RUNNING_MAX:
                self._begin(name, number)
            else:
                self.held_back += 1
            await asyncio.sleep(self._pause)

    async def rest(self, seconds: float) -> list[str]:
        """Wait until all have come to an end; the ids of those that have not by then."""
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=seconds)
        return self.running

    async def stop(self) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _names(self) -> Iterator[str]:
        """Each program once, in some order, and again."""
        while True:
            yield from self._chance.sample(list(PROGRAMS), len(PROGRAMS))

    def _begin(self, name: str, number: int) -> None:
        self.begun[name] += 1
        workflow_id = f"{name}-{number}"
        self._running[workflow_id] = asyncio.create_task(self._attend(name, workflow_id))

    async def _attend(self, name: str, workflow_id: str) -> None:
        caller = Caller(self._clients, self._journal, workflow_id, random.Random(workflow_id))
        try:
            await PROGRAMS[name](caller)
            self.ended_at.append(self._journal.now())
        except Exception as error:  # noqa: BLE001 - whatever a program raises is a finding
            self._journal.blame(f"{workflow_id}: {type(error).__name__}: {error}")
        finally:
            del self._running[workflow_id]
