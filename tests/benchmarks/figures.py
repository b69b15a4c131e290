"""Figures: one number of one measurement, and how many measurements become one row."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from msgspec import Struct


class Figure(Struct, frozen=True):
    """One number, such as the p50 of `W1 alone` in `ms`."""

    work: str
    name: str
    amount: float
    unit: str


class Row(Struct, frozen=True, kw_only=True):
    """One number over all repeats."""

    work: str
    name: str
    unit: str
    median: float
    least: float
    most: float
    amounts: list[float]


def percentile(amounts: Sequence[float], percent: float) -> float:
    """The smallest amount that at least so many percent do not exceed.

    >>> percentile([3.0, 1.0, 2.0], 50), percentile([3.0, 1.0, 2.0], 99)
    (2.0, 3.0)
    """
    return sorted(amounts)[max(math.ceil(len(amounts) * percent / 100) - 1, 0)]


def latencies(work: str, seconds: Sequence[float], *percents: float) -> list[Figure]:
    """Percentiles in milliseconds."""
    return [Figure(work, f"p{percent:g}", percentile(seconds, percent) * 1000, "ms") for percent in percents]


def rows_of(figures: Iterable[Figure]) -> list[Row]:
    """One row for each number, in the order in which they were first measured."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for figure in figures:
        found.setdefault((figure.work, figure.name, figure.unit), []).append(figure.amount)
    return [
        Row(
            work=work,
            name=name,
            unit=unit,
            median=statistics.median(amounts),
            least=min(amounts),
            most=max(amounts),
            amounts=amounts,
        )
        for (work, name, unit), amounts in found.items()
    ]
