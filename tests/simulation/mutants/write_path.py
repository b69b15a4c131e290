"""The write path: what an answer and an effect wait for, what becomes of a commit, and who may start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from perdure_server.engine import committer, engine, execution, starts, transactor
from perdure_server.engine.batch import Batch, Staged
from perdure_server.store.model.commit import Commits
from perdure_server.store.port import CommitBatch, CommitResult, StoreUnavailableError
from tests.simulation.mutants.replace import replace

TRIES = 10_000


def answers_before_commits() -> None:
    """Whoever asks is answered at once."""

    async def at_once(*_: Any, **__: Any) -> None:
        return

    replace(engine.Engine, "acknowledged", at_once)
    replace(engine.Engine, "settled", at_once)
    replace(execution.Execution, "landed", at_once)


def reads_unconfirmed() -> None:
    """A refusal, a duplicate's answer or a read waits for the run's own appends, and for no commit after it arrived."""

    async def settled(_: engine.Engine, run: execution.Execution) -> None:
        await run.landed()

    replace(engine.Engine, "settled", settled)


def refusals_before_commits() -> None:
    """Only what changes something waits for a commit: not a refusal, not the answer to a duplicate, not a read."""

    async def at_once(*_: Any) -> None:
        return

    replace(engine.Engine, "settled", at_once)


def failed_commits_believed() -> None:
    """A commit that was refused for a while is taken as one that happened."""
    real = committer.Committer.__init__

    def make(self: committer.Committer, store: Any, *others: Any) -> None:
        real(self, _Believing(store), *others)

    replace(committer.Committer, "__init__", make)


class _Believing:
    """A store of which every commit is taken as done."""

    def __init__(self, its: Any) -> None:
        self._its = its

    def __getattr__(self, name: str) -> Any:
        return getattr(self._its, name)

    async def commit(self, fence: Any, rows: CommitBatch) -> CommitResult:
        try:
            return await self._its.commit(fence, rows)  # type: ignore[no-any-return] # it is a store
        except StoreUnavailableError:
            return CommitResult(fence_held=True, accepted={append.run_id for append in rows.appends})


def unknown_commits_sent_again() -> None:
    """A commit whose answer was lost is taken as one that did not happen, without raising the epoch."""

    async def nothing(self: Any, rows: CommitBatch) -> CommitResult | None:
        return None

    replace(committer.Committer, "_read_back", nothing)


def read_back_before_the_raise() -> None:
    """The batch is read back while the lost transaction may still be on its way; the epoch is raised after that."""

    async def read_back(self: committer.Committer, rows: CommitBatch) -> CommitResult | None:
        for _ in range(TRIES):
            try:
                keys = [(a.shard_id, a.run_id, a.first_event_id, a.last_event_id) for a in rows.appends]
                present = await self._store.read_back(keys) if keys else set()
                await self._owner.raise_epoch()
            except StoreUnavailableError:
                await asyncio.sleep(0.1)
            else:
                return CommitResult(fence_held=True, accepted=present) if present else None
        raise AssertionError("the store never came back")

    replace(committer.Committer, "_read_back", read_back)


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


def buffer_only_in_memory() -> None:
    """What is acknowledged while a task is started is not kept in rows."""

    def pour(self: Staged, batch: CommitBatch) -> None:
        self.buffered = None
        real(self, batch)

    real = Staged.pour
    replace(Staged, "pour", pour)


def refused_runs_kept() -> None:
    """A run whose append did not land stays in memory as it is."""
    replace(Batch, "refuse", lambda self, run_id, error: self.refused.__setitem__(run_id, error))


def staged_kept_of_refused() -> None:
    """What is staged on top of an append that did not land is sent all the same."""
    replace(committer.Committer, "withdraw", lambda *_: None)


def every_start_wins() -> None:
    """The insert into `current_executions` decides nothing."""

    def win(self: Commits, claims: Any, _: set[str]) -> set[str]:
        for claim in claims:
            self.tables.current[claim.shard_id, claim.namespace_id, claim.workflow_id] = claim.run_id
        return {claim.run_id for claim in claims}

    replace(Commits, "_win", win)


def refused_runs_go_on_elsewhere() -> None:
    """A successor begins though the append that closes the run before it did not land."""
    real = Commits._win

    def win(self: Commits, claims: Any, continued: set[str]) -> set[str]:
        return real(self, claims, continued | {claim.old_run_id for claim in claims})

    replace(Commits, "_win", win)


MUTANTS: tuple[Callable[[], None], ...] = (
    answers_before_commits,
    reads_unconfirmed,
    refusals_before_commits,
    failed_commits_believed,
    unknown_commits_sent_again,
    unknown_commits_believed,
    read_back_before_the_raise,
    effects_before_commits,
    starts_not_repeated,
    every_start_wins,
    refused_runs_go_on_elsewhere,
    buffer_only_in_memory,
    refused_runs_kept,
    staged_kept_of_refused,
)
