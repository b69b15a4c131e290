"""The committer: one statement at a time takes all that gathered while the last was in flight.

Laws. Every commit takes the fence at its own epoch. A passing error: the same batch again, nothing has changed. A data
error: the batch is halved until the guilty run stands alone. An unknown outcome: the own epoch is raised, which waits
for the lost transaction, and the batch is read back by key. Fence lost: everything is dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

import structlog

from perdure_proto.errors import Code, ServiceError
from perdure_server.config import EngineSettings
from perdure_server.engine.batch import Batch, Staged
from perdure_server.engine.commit_backlog import CommitBacklog
from perdure_server.store.port import (
    CommitBatch,
    CommitOutcomeUnknownError,
    CommitResult,
    DataRefusedError,
    Fence,
    FenceLostError,
    RunKey,
    Store,
    StoreUnavailableError,
)

log = structlog.get_logger()

_PAUSE_SECONDS_MIN = 0.02
_PAUSE_SECONDS_MAX = 1.0


class Owner(Protocol):
    """Who holds the fence."""

    @property
    def fence(self) -> Fence:
        """The fence at our epoch."""
        ...

    async def raise_epoch(self) -> Fence:
        """Our own fence one epoch up, after every commit in flight. Raises `FenceLostError`."""
        ...


class Committer:
    """Commits batches in order. `lost` is called once, when the fence is somebody else's."""

    def __init__(self, store: Store, owner: Owner, settings: EngineSettings, lost: Callable[[str], None]) -> None:
        self._store = store
        self._owner = owner
        self._settings = settings
        self._lost = lost
        self._batches: deque[Batch] = deque([Batch()])
        self._wake = asyncio.Event()
        self._in_flight: Batch | None = None
        self._is_over = False
        self.backlog = CommitBacklog()
        self.commits = 0
        self.appends = 0

    def stage(self, key: RunKey, workflow: tuple[str, str], previous: int) -> Staged:
        """The place of a run in the open batch; the commit begins when this turn of the loop is over.

        It never opens another batch: what one transition writes must not be torn in two.
        """
        self._check()
        self._wake.set()
        return self._batches[-1].stage(key, workflow, previous)

    def make_room(self) -> None:
        """To be called between transitions: a batch that is full takes no more of them."""
        batch = self._batches[-1]
        if len(batch.runs) >= self._settings.batch_rows_max or batch.size_bytes >= self._settings.batch_bytes_max:
            self.seal()

    def withdraw(self, run_id: str, error: Exception) -> None:
        """Takes a run out of all batches that are not sent yet."""
        for batch in self._batches:
            batch.withdraw(run_id, error)

    def seal(self) -> Batch:
        """What comes now must come after all that is staged: opens another batch."""
        self._count(self._batches[-1])
        self._batches.append(Batch())
        return self._batches[-1]

    @property
    def is_over(self) -> bool:
        """Whether it commits no more: it was stopped, or the fence was lost."""
        return self._is_over

    @property
    def fence(self) -> Fence:
        """What we commit under; also what else we write depends on it."""
        return self._owner.fence

    @property
    def open_batch(self) -> Batch:
        """The batch that takes what is staged now."""
        return self._batches[-1]

    def barrier(self) -> Batch:
        """A batch whose landing says that the fence was held after this call: reads are confirmed by it."""
        self._check()
        self._wake.set()
        return self._batches[-1]

    async def run(self) -> None:
        """Commits until cancelled or fenced off."""
        try:
            while not self._is_over:
                await self._wake.wait()
                await self._next_batch()
        finally:
            self._end(ServiceError(Code.UNAVAILABLE, "the server stops: try again"))

    async def drain(self) -> None:
        """Returns when all that was staged before has landed."""
        if not self._is_over:
            await self.barrier().landed()

    def _check(self) -> None:
        if self._is_over:
            raise ServiceError(Code.UNAVAILABLE, "this server no longer owns the shard: try again")

    async def _next_batch(self) -> None:
        await asyncio.sleep(0)  # what becomes ready in this turn of the loop belongs to the same batch
        batch = self._batches.popleft()
        if not self._batches:
            batch.sealed_runs, batch.sealed_bytes = len(batch.runs), batch.size_bytes  # as `_count`, without the call
            self.backlog.runs += batch.sealed_runs
            self.backlog.bytes += batch.sealed_bytes
            self._batches.append(Batch())
            self._wake.clear()
        self._in_flight = batch
        await self._commit(batch, list(batch.runs.values()))
        self._in_flight = None
        self.backlog.runs -= batch.sealed_runs
        self.backlog.bytes -= batch.sealed_bytes
        batch.land()

    def _count(self, batch: Batch) -> None:
        """It takes no more; from now on it is counted with those that wait, until it has landed."""
        batch.sealed_runs, batch.sealed_bytes = len(batch.runs), batch.size_bytes
        self.backlog.runs += batch.sealed_runs
        self.backlog.bytes += batch.sealed_bytes

    async def _commit(self, batch: Batch, runs: list[Staged]) -> None:
        rows = CommitBatch()
        for staged in runs:
            staged.pour(rows)
        try:
            result = await self._until_known(rows, confirm_only=not runs)
        except DataRefusedError as error:
            await self._halve(batch, runs, error)
            return
        except FenceLostError as error:
            self._fenced_off(batch, str(error))
            return
        self.backlog.is_away = False
        if not result.fence_held:
            self._fenced_off(batch, "another server has taken over")
            return
        self.commits += 1
        self.appends += len(rows.appends)
        for staged in runs:
            if staged.has_append and staged.key.run_id not in result.accepted:
                batch.refuse(staged.key.run_id, AppendRefusedError(staged.key.run_id))

    async def _until_known(self, rows: CommitBatch, *, confirm_only: bool) -> CommitResult:
        """Tries the same batch until Postgres has said what became of it."""
        for pause in _pauses():
            try:
                if confirm_only:
                    return CommitResult(await self._store.confirm_fence(self._owner.fence), set())
                return await self._store.commit(self._owner.fence, rows)
            except StoreUnavailableError as error:
                self.backlog.is_away = True
                log.warning("commit_repeated", reason=str(error))
                await asyncio.sleep(pause)
            except CommitOutcomeUnknownError as error:
                self.backlog.is_away = True
                log.warning("commit_outcome_unknown", reason=str(error))
                known = await self._read_back(rows)
                if known is not None:
                    return known
        raise AssertionError("the pauses never end")

    async def _read_back(self, rows: CommitBatch) -> CommitResult | None:
        """What became of a commit whose answer was lost; None when nothing did and it is to be sent again."""
        for pause in _pauses():
            try:
                await self._owner.raise_epoch()
                keys = [(a.shard_id, a.run_id, a.first_event_id, a.last_event_id) for a in rows.appends]
                present = await self._store.read_back(keys) if keys else set()
                return CommitResult(fence_held=True, accepted=present) if present else None
            except StoreUnavailableError as error:
                log.warning("read_back_repeated", reason=str(error))
                await asyncio.sleep(pause)
        raise AssertionError("the pauses never end")

    async def _halve(self, batch: Batch, runs: list[Staged], error: DataRefusedError) -> None:
        """Finds the workflow whose value Postgres refuses; runs of one workflow stay together."""
        workflows = list(dict.fromkeys(staged.workflow for staged in runs))
        if len(workflows) <= 1:
            for staged in runs:
                refused = ServiceError(Code.VALUE_REFUSED, f"Postgres refuses a value of this request: {error}")
                batch.refuse(staged.key.run_id, refused)
            await self._commit(batch, [])  # a refused statement says nothing about the fence; who reads waits for it
            return
        first = set(workflows[: len(workflows) // 2])
        await self._commit(batch, [staged for staged in runs if staged.workflow in first])
        if not self._is_over:
            await self._commit(batch, [staged for staged in runs if staged.workflow not in first])

    def _fenced_off(self, batch: Batch, reason: str) -> None:
        log.error("fence_lost", server=self._owner.fence.server, epoch=self._owner.fence.epoch, reason=reason)
        error = ServiceError(Code.UNAVAILABLE, f"this server lost its shards ({reason}): try again")
        batch.refuse_all(error)
        self._end(error)
        self._lost(reason)

    def _end(self, error: ServiceError) -> None:
        self._is_over = True
        in_flight = [self._in_flight] if self._in_flight is not None else []
        for batch in [*in_flight, *self._batches]:
            batch.refuse_all(error)
            batch.land()
        self.backlog.clear()
        self._batches.clear()
        self._batches.append(Batch())


def _pauses() -> Iterator[float]:
    """A Postgres that is away is asked again soon, then ever less often."""
    pause = _PAUSE_SECONDS_MIN
    while True:
        yield pause
        pause = min(pause * 2, _PAUSE_SECONDS_MAX)


class AppendRefusedError(ServiceError):
    """The append did not land: its start lost against another, or the chain of the log was broken."""

    def __init__(self, run_id: str) -> None:
        super().__init__(Code.UNAVAILABLE, f"the history of run {run_id} went on elsewhere: try again")
