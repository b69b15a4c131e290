"""Upkeep: what a new owner loads, what the look-ahead finds, what leaves memory, and what retention removes.

Law: `wakes` is the timer queue and the recovery list. The scan runs from its last bound to the look-ahead; a run leaves
memory only when its row says exactly when it must be looked at next, and that is after the scan's bound.

A shard that was gained waits for its recovery: what is owed, then what is due up to the bound of the scan. From then on
the scan looks after it. A shard that is given away meanwhile, even if it is gained again, is left out of what goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
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

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[int, None] = {}
        """Shards that wait for their recovery, or are in it."""
        self._recovered: set[int] = set()
        self._gained = asyncio.Event()
        self._scanned_until: datetime | None = None
        """What is due before is in memory: nothing of that leaves it."""
        self._found_until: datetime | None = None
        """How far the last scan came that was not cut off."""

    def expect(self, shards: Iterable[int]) -> None:
        """These shards were gained: they are recovered in the background."""
        self._waiting.update(dict.fromkeys(shards))
        self._engine.recovering.update(self._waiting)
        self._gained.set()

    def forget(self, shards: Iterable[int]) -> None:
        """These are not ours any more."""
        for shard_id in shards:
            self._waiting.pop(shard_id, None)
            self._recovered.discard(shard_id)
            self._engine.recovering.discard(shard_id)
            self._engine.expected.pop(shard_id, None)

    async def recover(self) -> int:
        """Recovers all shards that wait for it, also those that are gained meanwhile. Returns how many runs."""
        loaded = 0
        while self._waiting:
            tenures = {shard_id: self._engine.tenures.tenure(shard_id) for shard_id in self._waiting}
            loaded += await self._recover(tenures)
        return loaded

    async def scan(self) -> int:
        """Loads the runs whose time comes before the look-ahead ends."""
        engine = self._engine
        since, until = self._found_until, engine.now() + engine.settings.look_ahead
        self._scanned_until = until  # first: what is written meanwhile and is due before is armed in memory
        tenures = {shard_id: engine.tenures.tenure(shard_id) for shard_id in self._recovered}
        found = await self._load_due(tenures, since, until)
        self._found_until = until  # not before: what a scan missed that was cut off, the next one must find
        return found

    async def run(self) -> None:
        """Recovers, scans, sweeps and removes until cancelled. An outage of Postgres is waited out."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._recover_forever())
            both.create_task(self._look_forever())

    async def _recover_forever(self) -> None:
        while True:
            await self._gained.wait()
            self._gained.clear()
            try:
                loaded = await self.recover()
            except (StoreUnavailableError, ServiceError) as error:
                log.warning("recovery_repeated", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
                self._gained.set()
            else:
                log.info("recovered", executions=loaded)

    async def _look_forever(self) -> None:
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
                    await self.remove_expired()
                    next_retention = time.monotonic() + _RETENTION_EVERY_SECONDS
            except (StoreUnavailableError, ServiceError) as error:
                log.warning("upkeep_repeated", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def reload(self) -> None:
        """Reads runs again that were dropped because an append of theirs did not land."""
        for key in list(self._engine.dropped):
            if key.shard_id in self._engine.tenures.owned:
                await self._engine.residents.load(key)
            self._engine.dropped.discard(key)

    async def remove_expired(self) -> None:
        """Retention. Each server removes what is in its own shards, so that no two of them want the same rows."""
        owned = sorted(self._engine.tenures.owned)
        await self._engine.store.delete_expired(owned, _RETENTION_ROWS)
        await self._engine.store.delete_orphans(owned, _RETENTION_ROWS)

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

    async def _recover(self, tenures: Mapping[int, int]) -> int:
        """What is parked, owed and due soon in these shards, as long as they are ours."""
        engine = self._engine
        await engine.parking.recover(self._lasting(tenures))
        loaded = await self._load_owed(tenures)
        await engine.parking.announce()
        loaded += await self._catch_up(tenures)
        recovered = self._lasting(tenures)
        for shard_id in recovered:
            self._waiting.pop(shard_id, None)
        self._recovered.update(recovered)
        engine.recovered(recovered)
        return loaded

    async def _load_owed(self, tenures: Mapping[int, int]) -> int:
        engine, loaded, after = self._engine, 0, None
        while shards := self._lasting(tenures):
            page = await engine.store.owed_runs(shards, after, engine.settings.load_page)
            await self._load(page, tenures)
            loaded += len(page)
            if len(page) < engine.settings.load_page:
                break
            after = RunKey(page[-1].shard_id, page[-1].run_id)
        return loaded

    async def _catch_up(self, tenures: Mapping[int, int]) -> int:
        """What is due in shards that the scan has not looked after, up to its bound, wherever that is by then."""
        if self._scanned_until is None:
            self._scanned_until = self._found_until = self._engine.now() + self._engine.settings.look_ahead
        found, since = 0, None
        while since is None or since < self._scanned_until:
            until = self._scanned_until
            found += await self._load_due(tenures, since, until)
            since = until
        return found

    async def _load_due(self, tenures: Mapping[int, int], since: datetime | None, until: datetime) -> int:
        engine, found, after = self._engine, 0, None
        while shards := self._lasting(tenures):
            page = await engine.store.due_runs(shards, (since, until), after, engine.settings.load_page)
            await self._load(page, tenures)
            found += len(page)
            if len(page) < engine.settings.load_page:
                break
            after = page[-1]
        return found

    def _lasting(self, tenures: Mapping[int, int]) -> list[int]:
        """Those of these shards that were ours all the time since."""
        return [shard_id for shard_id, tenure in tenures.items() if self._engine.tenures.lasts(shard_id, tenure)]

    async def _load(self, page: Sequence[WakeRow], tenures: Mapping[int, int]) -> None:
        """Law: what was read before its shard was given away is not believed, even if it was gained again."""
        engine = self._engine
        keys = [RunKey(row.shard_id, row.run_id) for row in page if row.run_id not in engine.residents.by_run]
        for stored in await engine.store.load_runs(keys, STATE_VERSION) if keys else []:
            namespace = await engine.residents.namespaces.name_of(stored.namespace_id)
            if engine.tenures.lasts(stored.key.shard_id, tenures[stored.key.shard_id]):
                engine.residents.install(stored, namespace, is_current=stored.status in _OPEN)

    def _forget_closed(self, execution: Execution) -> None:
        if not self._is_needed(execution):
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
        return not self._is_needed(execution) and not is_soon and is_exact and not runs_now

    def _is_needed(self, execution: Execution) -> bool:
        return execution.is_busy() or self._engine.outcomes.is_about(execution)

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
