"""What a section finds: curves to draw, numbers with their targets, and sentences that say what they mean."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

Point = tuple[float, float]


class Line(Struct, frozen=True):
    """One line of a plot."""

    label: str
    points: list[Point]


class Curve(Struct, frozen=True, kw_only=True):
    """One plot; `name` is that of its file."""

    name: str
    x: str
    y: str
    lines: list[Line]
    log_x: bool = False


class Finding(Struct, frozen=True, kw_only=True):
    """One number; with `most` or `least` it has a target."""

    what: str
    amount: float
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the target is reached; without a target nothing is missed."""
        return (self.most is None or self.amount <= self.most) and (self.least is None or self.amount >= self.least)


class Growth(Struct, frozen=True, kw_only=True):
    """All that a section found."""

    curves: list[Curve]
    findings: list[Finding]


def slope(points: Sequence[Point]) -> float:
    """How much y grows where x grows by one: the line with the least squares.

    >>> slope([(0, 1), (1, 3), (2, 5)])
    2.0
    """
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
