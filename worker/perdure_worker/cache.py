"""The sticky cache: executions that the worker keeps between their tasks, the least recently used leave first.

A run in use is never evicted by pressure: the cache may for a while hold more than it should. A run that has left is
torn down once and never driven again; the service need not be told, for a task that brings too little history is
mended by fetching the rest.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from itertools import islice

from perdure_proto.commands import ScheduleActivityTask
from perdure_proto.tasks import QueryTask, WorkflowTask
from perdure_worker.outcome import LocalActivityResult, Outcome
from perdure_worker.runtime import WorkflowInstance
from perdure_worker.telemetry import RUN_EVICTED, log


class CachedRun:
    """A workflow in memory and what it is doing between its activations."""

    __slots__ = ("ahead", "awaits", "gone", "instance", "local", "outcome", "run_id", "turn", "turn_timer")

    def __init__(self, run_id: str, instance: WorkflowInstance) -> None:
        self.run_id = run_id
        self.instance = instance
        self.turn: WorkflowTask | None = None
        """The task that waits for local activities."""
        self.turn_timer: asyncio.TimerHandle | None = None
        self.outcome: Outcome | None = None
        """What that task came to so far."""
        self.local: dict[str, asyncio.Task[LocalActivityResult]] = {}
        """Local activities that run, by activity id."""
        self.awaits: ScheduleActivityTask | None = None
        """The one command of its last turn, where that scheduled an activity and nothing else."""
        self.ahead = 0
        """The start of its last turn, where that was an eager one that the service is not known to have taken."""
        self.gone = False

    @property
    def in_use(self) -> bool:
        return self.turn is not None or self.ahead > 0 or bool(self.local) or self.instance.keeps_results

    def goes_on_with(self, task: WorkflowTask | QueryTask) -> bool:
        """Whether the task continues where this run stands."""
        if self.ahead:
            return False  # the service has not taken what it stands on
        if isinstance(task, QueryTask) and self.in_use:
            return True  # in the midst of a turn: what it knows is newer than what the service asks about
        return self.turn is None and self.instance.fits(task)

    def end_turn(self) -> None:
        """The task that waited is answered for."""
        self.turn = self.outcome = None
        if self.turn_timer is not None:
            self.turn_timer.cancel()
            self.turn_timer = None

    def cancel_local(self, activity_id: str) -> None:
        """Asks a local activity to stop; it still reports how it ended."""
        activity = self.local.get(activity_id)
        if activity is not None:
            activity.cancel()

    def tear_down(self) -> None:
        self.gone = True
        self.end_turn()
        for activity in self.local.values():
            activity.cancel()
        self.local.clear()
        self.instance.close()


class Cache:
    """Runs by run id, least recently used first."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._runs: OrderedDict[str, CachedRun] = OrderedDict()

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def get(self, run_id: str) -> CachedRun | None:
        """The run, now the most recently used."""
        run = self._runs.get(run_id)
        if run is not None:
            self._runs.move_to_end(run_id)
        return run

    def put(self, run: CachedRun) -> None:
        self._runs[run.run_id] = run

    def discard(self, run_id: str) -> None:
        """Tears a run down, if it is there: it has ended."""
        run = self._runs.pop(run_id, None)
        if run is not None:
            run.tear_down()

    def evict(self, run_id: str, reason: str) -> None:
        """Tears a run down, if it is there, that may come back."""
        if run_id in self._runs:
            log.debug(RUN_EVICTED, run_id=run_id, reason=reason)
            self.discard(run_id)

    def shrink(self) -> None:
        """Evicts the least recently used runs that are not in use until the rest fits."""
        excess = len(self._runs) - self._size_max
        if excess <= 0:
            return
        for run in list(islice((run for run in self._runs.values() if not run.in_use), excess)):
            self.evict(run.run_id, "cache full")

    @property
    def keeps(self) -> bool:
        """Whether anything is cached at all."""
        return self._size_max > 0

    def in_turn(self) -> list[CachedRun]:
        """The runs whose task waits for local activities."""
        return [run for run in self._runs.values() if run.turn is not None]

    def clear(self) -> None:
        """The worker stops."""
        for run_id in list(self._runs):
            self.evict(run_id, "worker stopped")
