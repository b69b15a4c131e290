"""Worlds whose servers share the shards: laws of the cluster that are taken out are missed."""

from __future__ import annotations

import pytest

from tests.simulation.conftest import Simulate

MUTANTS = {
    "given_undrained": "3..60",
    "given_unrefused": "3..60",
    "taken_unfenced": "18..60",
    "moved_whatever_owner": "12..60",
    "moves_believed": "3..60",
    "loads_kept": "22..60",
}
"""A law that is taken out, and seeds of which one notices: today the first."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_checkers_can_fail(simulate: Simulate, mutant: str) -> None:
    """A cluster without one of its laws does not pass."""
    ended = simulate(MUTANTS[mutant], "--mutant", mutant, "--no-shrink", "--first")
    assert (1, "") == (ended.returncode, ended.stderr), ended.stdout
