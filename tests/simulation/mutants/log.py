"""The log: chain, fence, and the rows beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure_server.engine import rebuild
from perdure_server.engine.engine import Engine
from perdure_server.history.requests import FlushBuffer
from perdure_server.store.model import ModelStore
from perdure_server.store.model.commit import Commits
from perdure_server.store.port import Append, CommitBatch, CommitResult, Fence
from tests.simulation.mutants.replace import replace


def no_chain_check() -> None:
    """An append lands whatever it follows."""

    def continues(self: Commits, append: Append) -> bool:
        rows = self.tables.history.get((append.shard_id, append.run_id), {})
        return bool(append.previous_first_event_id) and append.first_event_id not in rows

    replace(Commits, "_continues", continues)


def no_fence() -> None:
    """A commit lands at whatever epoch."""
    real = ModelStore.commit_now

    def commit_now(self: ModelStore, fence: Fence, batch: CommitBatch) -> CommitResult:
        return real(self, Fence(fence.group_id, fence.server, self.tables.fences[fence.server]), batch)

    replace(ModelStore, "commit_now", commit_now)


def rows_beside_without_the_fence() -> None:
    """Where the fence is lost only the events stay out, not the rows beside the log."""
    real = ModelStore.commit_now

    def commit_now(self: ModelStore, fence: Fence, batch: CommitBatch) -> CommitResult:
        result = real(self, fence, batch)
        if not result.fence_held:
            waiting = {append.run_id for append in batch.appends}
            self._remove(batch, waiting)
            self._put(batch, waiting)
        return result

    replace(ModelStore, "commit_now", commit_now)


def rows_beside_without_their_append() -> None:
    """The rows of a run land even if its append does not."""
    remove, put = Commits._remove, Commits._put
    replace(Commits, "_remove", lambda self, batch, _: remove(self, batch, set()))
    replace(Commits, "_put", lambda self, batch, _: put(self, batch, set()))


def buffer_not_flushed_at_load() -> None:
    """A new owner leaves what was buffered in its rows."""
    real = Engine.transact

    def transact(self: Engine, execution: Any, request: Any, now: Any = None) -> Any:
        if isinstance(request, FlushBuffer):
            return None
        return real(self, execution, request, now)

    replace(Engine, "transact", transact)


def snapshots_of_memory() -> None:
    """A snapshot is believed as it was taken, with what only memory knew then."""
    replace(rebuild, "_forget_memory", lambda state: state)


def rows_of_activities_ignored() -> None:
    """State is rebuilt from the log alone, without the rows of activities."""
    replace(rebuild, "overlay", lambda *_: None)


MUTANTS: tuple[Callable[[], None], ...] = (
    no_chain_check,
    no_fence,
    rows_beside_without_the_fence,
    rows_beside_without_their_append,
    buffer_not_flushed_at_load,
    snapshots_of_memory,
    rows_of_activities_ignored,
)
