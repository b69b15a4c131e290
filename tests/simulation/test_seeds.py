"""Seeds that must pass, the same twice, and mutants that must not."""

from __future__ import annotations

import os

import pytest

from tests.simulation.conftest import Simulate

SEEDS = 200
"""As many as twenty seconds allow on two cores; `make simulate` runs any number."""


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
    "answers_before_commits": "42..200",
    "unknown_commits_believed": "46..200",
    "starts_not_repeated": "49..200",
    "nothing_owed": "42..200",
    "buffer_only_in_memory": "80..200",
    "refused_runs_kept": "49..200",
    "no_fence": "238..400",
}
"""A sentence of the architecture that is taken out, and seeds of which one notices: today the first."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_checkers_can_fail(simulate: Simulate, mutant: str) -> None:
    """A service without one of its laws does not pass."""
    ended = simulate(MUTANTS[mutant], "--mutant", mutant, "--no-shrink", "--first")
    assert (1, "") == (ended.returncode, ended.stderr), ended.stdout
