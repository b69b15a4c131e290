"""Mutants: sentences of the architecture taken out, one at a time, to prove that the checkers can fail.

Each replaces one function of the service, in a process that does nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure_server.engine import committer, engine, execution, outbox, starts, transactor
from perdure_server.engine.batch import Batch, Staged
from perdure_server.store.model import ModelStore
from perdure_server.store.model.commit import Commits
from perdure_server.store.port import Append, CommitBatch, CommitResult, Fence
from tests.simulation.shared import mutants as shared


def replace(owner: type, name: str, instead: Callable[..., Any]) -> None:
    """For the rest of the process."""
    assert hasattr(owner, name), "a mutant of what there is"
    setattr(owner, name, instead)


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


def answers_before_commits() -> None:
    """Whoever asks is answered at once."""

    async def at_once(*_: Any, **__: Any) -> None:
        return

    replace(engine.Engine, "acknowledged", at_once)
    replace(engine.Engine, "settled", at_once)
    replace(execution.Execution, "landed", at_once)


def unknown_commits_sent_again() -> None:
    """A commit whose answer was lost is taken as one that did not happen, without raising the epoch."""

    async def nothing(self: Any, rows: CommitBatch) -> CommitResult | None:
        return None

    replace(committer.Committer, "_read_back", nothing)


def unknown_commits_believed() -> None:
    """A commit whose answer was lost is taken as one that happened."""

    async def everything(self: Any, rows: CommitBatch) -> CommitResult | None:
        return CommitResult(fence_held=True, accepted={append.run_id for append in rows.appends})

    replace(committer.Committer, "_read_back", everything)


def effects_before_commits() -> None:
    """Tasks and messages leave before what they follow from has landed."""

    def release(self: Any, run: execution.Execution, effects: list[Callable[[], None]]) -> None:
        for effect in effects:
            effect()

    replace(transactor.Transactor, "release", release)


def starts_not_repeated() -> None:
    """A start does not look for its request id past the current run."""

    async def none(*_: Any) -> None:
        return None

    replace(starts.Starts, "_repeat", none)


def nothing_owed() -> None:
    """The recovery list is not written."""

    def owe(self: Any, run: execution.Execution, staged: Staged) -> None:
        run.wake_owed = True

    replace(transactor.Transactor, "_owe", owe)


def buffer_only_in_memory() -> None:
    """What is acknowledged while a task is started is not kept in rows."""

    def pour(self: Staged, batch: CommitBatch) -> None:
        self.buffered = None
        real(self, batch)

    real = Staged.pour
    replace(Staged, "pour", pour)


def lanes_without_order() -> None:
    """What one run tells another is not sent again after a failure."""

    async def once(self: Any, run: Any, lane: Any) -> None:
        try:
            await real(self, run, lane)
        except Exception:  # noqa: BLE001 - the mutant forgets whatever went wrong
            run.owing.discard(lane.popleft().key)

    real = outbox.Outbox._send
    replace(outbox.Outbox, "_send", once)


def refused_runs_kept() -> None:
    """A run whose append did not land stays in memory as it is."""
    replace(Batch, "refuse", lambda self, run_id, error: self.refused.__setitem__(run_id, error))


MUTANTS: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        no_chain_check,
        no_fence,
        answers_before_commits,
        unknown_commits_sent_again,
        unknown_commits_believed,
        effects_before_commits,
        starts_not_repeated,
        nothing_owed,
        buffer_only_in_memory,
        lanes_without_order,
        refused_runs_kept,
    )
}
MUTANTS.update(shared.MUTANTS)
