"""Upkeep: what a new owner loads, what the look-ahead finds, what leaves memory, and what retention removes.

Law: `wakes` is the timer queue and the recovery list. The scan runs from its last bound to the look-ahead; a run leaves
memory only when its row says exactly when it must be looked at next, and that is after the scan's bound.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from perdure_proto.errors import ServiceError
from perdure_server.engine.execution import Execution
from perdure_server.engine.rebuild import take_snapshot
from perdure_server.history.deadlines import deadlines_of
from perdure_server.history.state import STATE_VERSION
from perdure_server.store.port import STATUS_NUMBERS, RunKey, StoreUnavailableError, WakeRow

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

log = structlog.get_logger()

_RETENTION_EVERY_SECONDS = 60.0
_RETENTION_ROWS = 500
_RETRY_SECONDS = 1.0
_OPEN = STATUS_NUMBERS["RUNNING"], STATUS_NUMBERS["PAUSED"]


class Upkeep:
    """Keeps memory and store in step."""

    def __init__(self, engine: Engine, shards: Sequence[int]) -> None:
        self._engine = engine
        self._shards = list(shards)
        self._scanned_until: datetime | None = None

    async def recover(self) -> int:
        """Loads all to which something is owed, in pages; then everything due soon. Returns how many runs."""
        engine, loaded, after = self._engine, 0, None
        await engine.parking.recover()
        while True:
            page = await engine.store.owed_runs(self._shards, after, engine.settings.load_page)
            await self._load(page)
            loaded += len(page)
            if len(page) < engine.settings.load_page:
                break
            after = RunKey(page[-1].shard_id, page[-1].run_id)
        engine.parking.announce()
        return loaded + await self.scan()

    async def scan(self) -> int:
        """Loads the runs whose time comes before the look-ahead ends."""
        engine = self._engine
        until = engine.now() + engine.settings.look_ahead
        since, after, found = self._scanned_until, None, 0
        self._scanned_until = until  # first: what is written meanwhile and is due before is armed in memory
        while True:
            page = await engine.store.due_runs(since, until, after, engine.settings.load_page)
            await self._load(page)
            found += len(page)
            if len(page) < engine.settings.load_page:
                return found
            after = page[-1]

    async def run(self) -> None:
        """Scans, sweeps and removes until cancelled. An outage of Postgres is waited out."""
        settings = self._engine.settings
        next_scan = time.monotonic() + settings.scan_every.total_seconds()
        next_retention = time.monotonic() + _RETENTION_EVERY_SECONDS
        while True:
            await asyncio.sleep(min(settings.idle_after, settings.scan_every).total_seconds())
            try:
                self.sweep()
                await self.reload()
                await self._engine.outcomes.sweep()
                if time.monotonic() >= next_scan:
                    await self.scan()
                    next_scan = time.monotonic() + settings.scan_every.total_seconds()
                if time.monotonic() >= next_retention:
                    await self._engine.store.delete_expired(_RETENTION_ROWS)
                    await self._engine.store.delete_orphans(_RETENTION_ROWS)
                    next_retention = time.monotonic() + _RETENTION_EVERY_SECONDS
            except (StoreUnavailableError, ServiceError) as error:
                log.warning("upkeep_repeated", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def reload(self) -> None:
        """Reads runs again that were dropped because an append of theirs did not land."""
        for key in list(self._engine.dropped):
            await self._engine.residents.load(key)
            self._engine.dropped.discard(key)

    def sweep(self) -> None:
        """Clears what is owed no more, and lets idle runs leave memory. It looks only at what changed since."""
        engine = self._engine
        now = time.monotonic()
        idle_since = now - engine.settings.idle_after.total_seconds()
        for run_id, touched in list(engine.touched.items()):
            if touched > idle_since:
                break  # in order of the last touch
            engine.committer.make_room()
            execution = engine.residents.by_run.get(run_id)
            if execution is None or execution.is_lost:
                del engine.touched[run_id]
            elif not execution.state.is_open:
                self._forget_closed(execution)
            else:
                self._settle(execution)
                if execution.batch is None:
                    engine.idle[run_id] = engine.touched.pop(run_id)
        self._evict_idle(now)

    def _evict_idle(self, now: float) -> None:
        """The longest idle first; one that must stay is looked at again after as long."""
        engine = self._engine
        evict_since = now - engine.settings.evict_after.total_seconds()
        surplus = len(engine.residents.by_run) - engine.settings.cached_executions_max
        for _ in range(len(engine.idle)):
            run_id, since = next(iter(engine.idle.items()))
            if since > evict_since and surplus <= 0:
                break
            surplus -= 1
            engine.committer.make_room()
            del engine.idle[run_id]
            execution = engine.residents.by_run.get(run_id)
            if execution is None or execution.is_lost:
                continue
            if not self._can_evict(execution) or not self._evict(execution):
                engine.idle[run_id] = now

    async def _load(self, page: Sequence[WakeRow]) -> None:
        engine = self._engine
        keys = [RunKey(row.shard_id, row.run_id) for row in page if row.run_id not in engine.residents.by_run]
        for stored in await engine.store.load_runs(keys, STATE_VERSION) if keys else []:
            engine.residents.install(stored, is_current=stored.status in _OPEN)

    def _forget_closed(self, execution: Execution) -> None:
        if not execution.is_busy():
            self._engine.residents.remove(execution)
            del self._engine.touched[execution.run_id]

    def _settle(self, execution: Execution) -> None:
        """Law: `owed` is cleared lazily, when the run is idle, together with the exact time to look again.

        A time that is no longer exact (its timer was cancelled) is set right too, or the run could never be evicted.
        """
        is_exact = not execution.wake_owed and execution.wake_at == execution.next_deadline
        if is_exact or execution.is_changing() or self._is_owed(execution):
            return
        execution.forget_deadlines()  # most of them are stale now: of tasks that ended, of timers that were cancelled
        for deadline in deadlines_of(execution.state):
            execution.add_deadline(deadline)
        if execution.wake_owed or execution.wake_at != execution.next_deadline:
            execution.wake_owed, execution.wake_at = False, execution.next_deadline
            self._engine.transactor.stage(execution).set_wake(execution.wake_at, owed=False)

    def _is_owed(self, execution: Execution) -> bool:
        state = execution.state
        task = state.workflow_task
        if execution.owing:
            return True
        if task is not None and task.not_before is None and 0 not in execution.parked and not state.is_paused:
            return True
        # A running attempt counts: a new owner must know of it, or it would not miss the worker. One that no worker
        # has waits for its deadlines alone.
        return any(
            activity.next_attempt_at is None
            and not activity.is_detached
            and event_id not in execution.parked
            and (activity.started_at is not None or not (state.is_paused or activity.paused))
            for event_id, activity in state.activities.items()
        )

    def _can_evict(self, execution: Execution) -> bool:
        """Only what the store knows in full, and what the scan will find again."""
        earliest = execution.next_deadline
        is_soon = earliest is not None and self._scanned_until is not None and earliest <= self._scanned_until
        is_exact = not execution.wake_owed and (earliest is None or execution.wake_at == earliest)
        attempts = execution.state.activities.values()
        runs_now = any(attempt.started_at is not None and not attempt.is_detached for attempt in attempts)
        # An attempt that was given up may still commit: only what is in memory is looked for.
        runs_now = runs_now or any(attempt.transactional for attempt in attempts)
        return not execution.is_busy() and not is_soon and is_exact and not runs_now

    def _evict(self, execution: Execution) -> bool:
        """Takes a run out of memory; one that has grown long gets a snapshot first, and leaves when that has landed."""
        engine = self._engine
        grown = execution.state.last_event_id - execution.snapshot_event_id
        if grown >= engine.settings.snapshot_events:
            engine.transactor.stage(execution).snapshot = take_snapshot(execution)
            execution.snapshot_event_id = execution.state.last_event_id
            return False
        engine.residents.remove(execution)
        return True
