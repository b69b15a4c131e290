"""Seeds that must pass, the same twice, and mutants that must not."""

from __future__ import annotations

import os

import pytest

from tests.simulation.conftest import Simulate

SEEDS = 500
"""As many as half a minute allows on two cores; `make simulate` runs any number."""


@pytest.mark.timeout(300)
def test_seeds(simulate: Simulate) -> None:
    """Every invariant holds in every world."""
    ended = simulate(str(SEEDS), "--jobs", str(os.cpu_count() or 1))
    assert 0 == ended.returncode, ended.stdout + ended.stderr


def test_a_seed_is_the_same_world_twice(simulate: Simulate) -> None:
    """Whatever happens in a world is decided by its seed."""
    first, second = (simulate("=90", "--trace").stdout for _ in range(2))
    assert first == second
    assert "calm" in first


MUTANTS = {
    "no_chain_check": "=92",
    "no_fence": "=42@1",
    "takers_raise_no_epoch": "=3",
    "rows_beside_without_the_fence": "=238@1",
    "rows_beside_without_their_append": "=49@1",
    "rows_of_activities_ignored": "=0",
    "buffer_not_flushed_at_load": "=258",
    "answers_before_commits": "=3",
    "effects_before_commits": "=6",
    "failed_commits_believed": "=2",
    "unknown_commits_believed": "=18",
    "unknown_commits_sent_again": "=266",
    "refused_runs_kept": "=16",
    "buffer_only_in_memory": "=80@1",
    "starts_not_repeated": "=9",
    "every_start_wins": "=193",
    "closing_over_news": "=0",
    "times_not_clamped": "=0",
    "any_workflow_task_answer_accepted": "=5",
    "answers_of_other_starts_accepted": "=5",
    "everything_is_acknowledged": "=2",
    "nothing_owed": "=3@1",
    "wakes_only_when_owed": "=2",
    "owed_cleared_at_once": "=35",
    "evicted_whenever_idle": "=0",
    "nothing_scanned": "=0",
    "nothing_recovered": "=4",
    "lanes_without_order": "=85",
    "deliveries_without_keys": "=0",
    "answers_before_the_receiver_commits": "=111",
    "closed_runs_owe_nothing": "=124",
    "no_leave_taken": "=0",
}
"""A sentence of the architecture that is taken out, and a seed that notices; the README says what each is."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_checkers_can_fail(simulate: Simulate, mutant: str) -> None:
    """A service without one of its laws does not pass."""
    ended = simulate(MUTANTS[mutant], "--mutant", mutant, "--no-shrink", "--first")
    assert (1, "") == (ended.returncode, ended.stderr), ended.stdout
