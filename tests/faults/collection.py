"""Whether a collection that was only added to holds what it must: each value that was acknowledged once, none twice,
none that nobody added; at each look all that was acknowledged before it. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import inf

from msgspec import Struct


class Add(Struct, frozen=True, kw_only=True):
    """One value, added by a caller; without an answer it may be there or not, at any time."""

    value: int
    caller: str
    invoked_at: float
    returned_at: float = inf


class Look(Struct, frozen=True, kw_only=True):
    """What was there, in order."""

    invoked_at: float
    returned_at: float
    values: tuple[int, ...]


def check_collection(adds: Sequence[Add], looks: Sequence[Look]) -> list[str]:
    """What is wrong, in words: all that the first look shows which shows anything. Nothing when all is well."""
    known = {add.value: add for add in adds}
    assert len(known) == len(adds), "values of a collection must all be different"
    for look in sorted(looks, key=lambda look: look.invoked_at):
        if wrong := [f"look at {look.invoked_at:.3f}: {text}" for text in _seen(adds, known, look)]:
            return wrong
    for before, after in _pairs(looks):
        if after.values[: len(before.values)] != before.values:
            return [f"what was seen at {before.returned_at:.3f} was another at {after.invoked_at:.3f}"]
    return []


def _seen(adds: Sequence[Add], known: dict[int, Add], look: Look) -> Iterator[str]:
    there = Counter(look.values)
    for add in adds:
        if add.returned_at < look.invoked_at and not there[add.value]:
            yield f"{add.value} of {add.caller} was acknowledged and is missing"
    for value, times in there.items():
        if times > 1:
            yield f"{value} is there {times} times"
        if value not in known:
            yield f"{value} was never added"
        elif known[value].invoked_at > look.returned_at:
            yield f"{value} was there before it was added"
    yield from _out_of_order(known, look)


def _out_of_order(known: dict[int, Add], look: Look) -> Iterator[str]:
    """One that was acknowledged before another of the same caller was sent stands before it."""
    last: dict[str, Add] = {}
    for value in look.values:
        add = known.get(value)
        if add is None:
            continue
        before = last.get(add.caller)
        if before is not None and add.returned_at < before.invoked_at:
            yield f"{add.value} of {add.caller} comes after {before.value}, which was sent later"
        if before is None or add.invoked_at > before.invoked_at:
            last[add.caller] = add


def _pairs(looks: Sequence[Look]) -> Iterator[tuple[Look, Look]]:
    """Each look and the next one that was begun after its end."""
    ordered = sorted(looks, key=lambda look: look.invoked_at)
    for index, look in enumerate(ordered):
        later = next((one for one in ordered[index + 1 :] if one.invoked_at > look.returned_at), None)
        if later is not None:
            yield look, later
