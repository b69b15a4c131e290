"""What the workflows carry, and that it comes back. The peers live in environments of their own, without perdure, so
this is the `Parcel` of `tests/benchmarks/programs.py` once more; every run checks that the two are the same bytes.
"""

from __future__ import annotations

from msgspec import Struct

TEXT = "It weighs next to nothing, and nobody has ever asked what there is in it."


class Parcel(Struct, frozen=True):
    """About 100 bytes of JSON."""

    number: int
    text: str = TEXT


class Parcels(Struct, frozen=True):
    """One argument, where a peer takes no more: a first parcel, and how many steps."""

    first: Parcel
    steps: int


class WrongResultError(Exception):
    """A peer gave back something else than it should: a fast wrong answer is worth nothing."""


def expect(expected: object, got: object) -> None:
    if expected != got:
        raise WrongResultError(f"expected {expected!r} and got {got!r}")
