"""Hand-made histories of a collection that is only added to."""

from __future__ import annotations

import pytest

from tests.faults.collection import Add, Look, check_collection

ADDS = (
    Add(value=1, caller="a", invoked_at=0, returned_at=1),
    Add(value=2, caller="a", invoked_at=2, returned_at=3),
    Add(value=3, caller="b", invoked_at=2, returned_at=5),
    Add(value=4, caller="b", invoked_at=6),
)


def look(*values: int, at: float) -> Look:
    return Look(invoked_at=at, returned_at=at + 0.1, values=values)


@pytest.mark.parametrize(
    "looks",
    [
        [],
        [look(at=0.5)],
        [look(1, at=0.5)],
        [look(1, 3, at=2.5), look(1, 3, 2, at=9)],
        [look(1, 2, 3, at=9)],
        [look(1, 2, 3, at=9), look(1, 2, 3, 4, at=10)],
    ],
)
def test_a_good_history_passes(looks: list[Look]) -> None:
    """What was acknowledged is there once; what has no answer may be there or not."""
    assert [] == check_collection(ADDS, looks)


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ([look(1, 3, at=9)], "2 of a was acknowledged and is missing"),
        ([look(1, 2, 3, 2, at=9)], "2 is there 2 times"),
        ([look(1, 2, 3, 7, at=9)], "7 was never added"),
        ([look(1, 2, at=1.5)], "2 was there before it was added"),
        ([look(2, 1, 3, at=9)], "1 of a comes after 2, which was sent later"),
        ([look(1, 2, 3, at=9), look(1, 3, 2, at=10)], "what was seen at 9.100 was another at 10.000"),
    ],
)
def test_a_bad_history_is_found(looks: list[Look], said: str) -> None:
    """Each way to be wrong is named."""
    [wrong] = check_collection(ADDS, looks)
    assert said in wrong
