"""Which faults come, by seed."""

from __future__ import annotations

import random
from itertools import islice

from tests.faults.deck import AT_ONCE_MAX, Deck, Drawn, names_of
from tests.faults.table import FAULTS, Target

SIZES: dict[Target, int] = {"server": 3, "worker": 4, "network": 3, "database": 3}
SECONDS_MAX = 5.0


def rounds(seed: int, count: int) -> list[list[Drawn]]:
    deck = Deck(names_of(small_disk=True), random.Random(seed), SIZES, seconds_max=SECONDS_MAX)
    return list(islice(deck.rounds(), count))


def test_a_seed_gives_the_same_faults_again() -> None:
    """The same rounds from the same seed, others from another."""
    assert rounds(1, 100) == rounds(1, 100)
    assert rounds(1, 100) != rounds(2, 100)


def test_each_fault_comes_before_any_comes_twice() -> None:
    """Nothing is left out however short the run is."""
    drawn = [one.name for each in rounds(3, 200) for one in each]
    for begin in range(0, len(drawn) - len(FAULTS), len(FAULTS)):
        assert set(FAULTS) == set(drawn[begin : begin + len(FAULTS)])


def test_no_two_faults_meet_in_one_place() -> None:
    """One to three at a time, each on a thing of its own, none longer than it may be."""
    sizes = set()
    for drawn in rounds(4, 300):
        sizes.add(len(drawn))
        assert len(drawn) == len({one.where for one in drawn})
        assert all(one.seconds <= SECONDS_MAX for one in drawn)
    assert set(range(1, AT_ONCE_MAX + 1)) == sizes


def test_no_disk_fills_that_is_not_ours() -> None:
    """Without a small disk the fault that fills it is left out."""
    assert ["disk full under Postgres"] == [name for name in FAULTS if name not in names_of(small_disk=False)]


def test_faults_are_chosen_by_their_names() -> None:
    """A regular expression is looked for anywhere in them."""
    assert ["SIGTERM of a server", "SIGTERM of a worker", "lock on history"] == names_of("TERM|lock", small_disk=True)
