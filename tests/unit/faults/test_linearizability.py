"""Hand-made histories of a register that could, and could not, have happened one after the other."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from tests.faults import linearizability
from tests.faults.linearizability import Operation, TooHardError, check_register

History = list[Operation]


def write(value: int, invoked_at: float, returned_at: float) -> Operation:
    return Operation(kind="write", value=value, invoked_at=invoked_at, returned_at=returned_at)


def read(found: int, invoked_at: float, returned_at: float) -> Operation:
    return Operation(kind="read", found=found, invoked_at=invoked_at, returned_at=returned_at)


def cas(change: tuple[int, int], found: int, invoked_at: float, returned_at: float) -> Operation:
    expected, value = change
    return Operation(
        kind="cas", expected=expected, value=value, found=found, invoked_at=invoked_at, returned_at=returned_at
    )


def lost_write(value: int, invoked_at: float) -> Operation:
    return Operation(kind="write", value=value, invoked_at=invoked_at, known=False)


def lost_cas(expected: int, value: int, invoked_at: float) -> Operation:
    return Operation(kind="cas", expected=expected, value=value, invoked_at=invoked_at, known=False)


GOOD: dict[str, History] = {
    "nothing": [],
    "one after the other": [write(1, 0, 1), read(1, 2, 3), write(2, 4, 5), read(2, 6, 7)],
    "a read beside a write sees the old value": [write(1, 0, 1), write(2, 2, 6), read(1, 3, 4), read(2, 7, 8)],
    "a read beside a write sees the new value": [write(1, 0, 1), write(2, 2, 6), read(2, 3, 4)],
    "the order of two writes side by side is free": [write(1, 0, 9), write(2, 0, 9), read(2, 10, 11)],
    "the order of two writes is the other one": [write(1, 0, 9), write(2, 0, 9), read(1, 10, 11)],
    "a compare-and-set finds what it expects": [write(1, 0, 1), cas((1, 2), 1, 2, 3), read(2, 4, 5)],
    "a compare-and-set finds another": [write(1, 0, 1), cas((7, 2), 1, 2, 3), read(1, 4, 5)],
    "a chain side by side has one order": [cas((2, 3), 2, 0, 9), cas((1, 2), 1, 0, 9), cas((0, 1), 0, 0, 9)],
    "a lost write is seen later": [lost_write(1, 0), read(0, 1, 2), read(1, 50, 51)],
    "a lost write is never seen": [write(1, 0, 1), lost_write(2, 2), read(1, 3, 4)],
    "a lost compare-and-set is seen through another": [
        write(1, 0, 1),
        lost_cas(1, 2, 2),
        lost_cas(2, 3, 3),
        read(3, 9, 10),
    ],
    "a lost write under a write that came later": [lost_write(1, 0), write(2, 1, 2), read(2, 3, 4), read(1, 5, 6)],
    "a write that took long covers many": [write(9, 0, 100), *[read(0, n, n + 0.5) for n in range(50)]],
}

BAD: dict[str, History] = {
    "a stale read": [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)],
    "a value that nobody wrote": [write(1, 0, 1), read(7, 2, 3)],
    "an acknowledged write is gone": [write(1, 0, 1), read(0, 2, 3)],
    "a read goes back": [write(1, 0, 9), read(1, 1, 2), read(0, 3, 4)],
    "a value before it was written": [read(1, 0, 1), write(1, 2, 3)],
    "two compare-and-sets find the same": [cas((0, 1), 0, 0, 9), cas((0, 2), 0, 0, 9)],
    "a compare-and-set succeeds on what is gone": [write(1, 0, 1), write(2, 2, 3), cas((1, 3), 1, 4, 5)],
    "two readers see two writes in two orders": [
        write(1, 0, 9),
        write(2, 0, 9),
        read(1, 1, 2),
        read(2, 3, 4),
        read(1, 5, 6),
    ],
    "a lost write is seen and taken back": [write(1, 0, 1), lost_write(2, 2), read(2, 3, 4), read(1, 5, 6)],
    "a lost write is seen before it was sent": [read(1, 0, 1), lost_write(1, 2)],
    "a lost compare-and-set on what never was": [write(1, 0, 1), lost_cas(7, 2, 2), read(2, 3, 4)],
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_a_good_history_passes(history: History) -> None:
    """There is an order, and it is found."""
    assert check_register(history) is None


@pytest.mark.parametrize("history", BAD.values(), ids=BAD)
def test_a_bad_history_is_found(history: History) -> None:
    """There is no order, and that is said."""
    assert check_register(history) is not None


def by_trying_all(history: History) -> bool:
    """Whether any order at all is right: slow, and plainly so."""
    for order in permutations(history):
        value, moment, good = 0, 0.0, True
        for one in order:
            moment = max(moment, one.invoked_at)
            good = good and moment <= one.returned_at and (one.kind == "write" or one.found == value)
            value = one.value if one.wrote else value
        if good:
            return True
    return not history


def some_history(chance: random.Random) -> History:
    """Six calls or fewer, with answers that are often right."""
    values = list(range(4))
    history: History = []
    for value in range(1, chance.randint(2, 7)):
        begun = chance.randint(0, 8)
        times = begun, begun + chance.randint(1, 5)
        found = chance.choice(values)
        kind = chance.choice(["read", "write", "cas"])
        if kind == "read":
            history.append(read(found, *times))
        elif kind == "write":
            history.append(write(value, *times))
        else:
            history.append(cas((chance.choice(values), value), found, *times))
    return history


def test_it_agrees_with_trying_all_orders() -> None:
    """Two thousand small histories are judged as by trying every order."""
    chance = random.Random(7)
    histories = [some_history(chance) for _ in range(2_000)]
    expected = [by_trying_all(history) for history in histories]
    assert expected == [check_register(history) is None for history in histories]
    assert {True, False} == set(expected)


def test_a_long_history_is_judged_in_one_go() -> None:
    """Five clients and thousands of calls: only what is open at one time is tried in other orders."""
    history: History = []
    for n in range(2_000):
        history += [
            write(n + 1, n, n + 0.4),
            read(n, n, n + 0.4),
            read(n + 1, n, n + 0.4),
            read(n + 1, n + 0.5, n + 0.6),
        ]
    assert check_register(history) is None
    assert check_register([*history, read(1, 3_000, 3_001)]) is not None


def test_it_says_where_it_is_stuck() -> None:
    """The finding has the value at the end of the longest order, and what could not follow."""
    stuck = check_register([write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)])
    assert stuck is not None
    assert (2, 2, (read(1, 4, 5),)) == (stuck.value, stuck.done, stuck.next)


def test_it_gives_up_on_what_is_too_hard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search without end is an error of its own, not a verdict."""
    monkeypatch.setattr(linearizability, "STATES_MAX", 50)
    with pytest.raises(TooHardError):
        check_register([*[write(n, 0, 9) for n in range(1, 12)], read(99, 10, 11)])
