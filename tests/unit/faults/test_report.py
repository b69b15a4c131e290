"""Figures of the report."""

from __future__ import annotations

from tests.faults.report import percentile, silences


def test_silences_are_gaps_between_answers() -> None:
    """Gaps over a second, with where they begin and end, in any order of answers."""
    assert [(1.5, 4.0), (4.5, 9.0)] == silences([4.0, 1.0, 1.5, 9.0, 4.5])


def test_percentiles_are_values_that_were_there() -> None:
    """The nearest rank; 0 of nothing."""
    values = [float(n) for n in range(1, 101)]
    assert (50.0, 99.0, 100.0, 0.0) == (
        percentile(values, 0.5),
        percentile(values, 0.99),
        percentile(values, 1.0),
        percentile([], 0.5),
    )
