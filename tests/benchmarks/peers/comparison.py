"""Many measurements become one row for each number, with a ratio for each peer: perdure divided by the peer, pair by
pair of the same repeat and then the median, so that a machine that drifts from one repeat to the next does no harm.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

from msgspec import Struct

from tests.benchmarks.figures import Figure
from tests.benchmarks.peers.contestants import PERDURE
from tests.benchmarks.peers.usage import ALL, WITHOUT_CLIENT

COMPARED = frozenset({"p50", "p99", "throughput", WITHOUT_CLIENT, ALL})
STANDS_FOR: Mapping[str, str] = {"W2 local alone": "W2 alone", "W2 local": "W2", "W4 awakeable": "W4"}
"""Work that only one does in a second way: it is compared with the first way of the others."""

WORKS = ("W1 alone", "W1", "W2 alone", "W2 local alone", "W2", "W2 local", "W3", "W4", "W4 awakeable")

Key = tuple[str, str, str]
"""Work, name and unit."""


class Finding(Struct, frozen=True):
    contestant: str
    repeat: int
    figure: Figure


class Cell(Struct, frozen=True):
    """One contestant's number; amounts by repeat."""

    median: float
    amounts: dict[int, float]
    ratio: float | None
    """perdure divided by it; None for perdure itself."""


class Row(Struct, frozen=True):
    work: str
    name: str
    unit: str
    cells: dict[str, Cell]


def rows_of(findings: Iterable[Finding]) -> list[Row]:
    """One row for each number that is compared, work by work."""
    found: dict[Key, dict[str, dict[int, float]]] = {}
    for finding in findings:
        figure = finding.figure
        if figure.name in COMPARED:
            key = figure.work, figure.name, figure.unit
            found.setdefault(key, {}).setdefault(finding.contestant, {})[finding.repeat] = figure.amount
    for (work, name, unit), measured in found.items():
        for contestant, amounts in found.get((STANDS_FOR.get(work, work), name, unit), {}).items():
            measured.setdefault(contestant, amounts)
    return [Row(*key, cells=_cells(found[key])) for key in sorted(found, key=lambda key: WORKS.index(key[0]))]


def _cells(measured: Mapping[str, Mapping[int, float]]) -> dict[str, Cell]:
    ours = measured.get(PERDURE, {})
    return {
        contestant: Cell(
            median=statistics.median(amounts.values()),
            amounts=dict(amounts),
            ratio=None if contestant == PERDURE else _ratio(ours, amounts),
        )
        for contestant, amounts in measured.items()
    }


def _ratio(ours: Mapping[int, float], theirs: Mapping[int, float]) -> float | None:
    pairs = [ours[repeat] / amount for repeat, amount in theirs.items() if repeat in ours and amount]
    return statistics.median(pairs) if pairs else None
