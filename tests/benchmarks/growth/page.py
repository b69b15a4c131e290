"""The results: lines for the terminal, a page of the reference with its plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from tests.benchmarks.growth.counts import GrowthCounts
from tests.benchmarks.growth.curve import Curve, Finding, Growth
from tests.benchmarks.growth.plots import draw
from tests.benchmarks.growth.table import Section
from tests.benchmarks.machine import Machine
from tests.benchmarks.report import number

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "reference"
PAGE = "performance.md"

INTRODUCTION = """\
# How cost grows

What becomes of the [benchmarks](benchmarks.md) when there is more of everything: executions, events, workers, cached
workflows, bytes. Read it to see what your own load will cost. `make bench-growth ARGS=--write` measures all of this
page and writes it.

Client, history server, workers and the embedded Postgres, with full durability, share the cores of one machine. W1 is a
workflow of one activity with about 100 bytes of payload; every result is checked. Machines differ and drift: compare
what was measured on one machine in the same hour.
"""


class Measured(Struct, frozen=True):
    """A section, and what it found."""

    section: Section
    growth: Growth


def print_growth(measured: Measured) -> None:
    print(f"\n{measured.section.title}")
    for curve in measured.growth.curves:
        print(f"  {curve.y}, by {curve.x}: {', '.join(line.label for line in curve.lines)}")
        for row in rows(curve):
            print("  " + "".join(f"{cell:>14}" for cell in row))
    for finding in measured.growth.findings:
        print(f"  {told(finding)}")


def write_page(found: Sequence[Measured], machine: Machine, counts: GrowthCounts, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(markdown(found, machine, counts), encoding="utf-8")
    for measured in found:
        for curve in measured.growth.curves:
            draw(curve, folder)


def markdown(found: Sequence[Measured], machine: Machine, counts: GrowthCounts) -> str:
    """The whole page."""
    lines = [INTRODUCTION, "## Measured on", "", *(f"- {line}" for line in describe(machine, counts)), ""]
    for measured in found:
        section, growth = measured.section, measured.growth
        lines += [f"## {section.title}", "", section.text, "", *(f"- {told(one)}" for one in growth.findings), ""]
        for curve in growth.curves:
            lines += [f"![{curve.y}, by {curve.x}]({curve.name}.png)", "", *table(curve), ""]
    return "\n".join(lines).rstrip() + "\n"


def describe(machine: Machine, counts: GrowthCounts) -> list[str]:
    """The machine and the run, in a few lines."""
    return [
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, {machine.system}",
        f"perdure {machine.perdure}, Python {machine.python}, PostgreSQL {machine.postgres}",
        f"8 KiB made durable in {machine.flush_microseconds:g} µs (median); load before: {machine.load_before:g}",
        (
            f"{machine.measured_at:%Y-%m-%d %H:%M} UTC; W1 {counts.workflows:,} workflows, "
            f"{counts.in_flight} in flight, median of {counts.repeats}"
        ),
    ]


def told(finding: Finding) -> str:
    """A number, and whether its target is met."""
    said = f"{finding.what}: **{number(finding.amount)} {finding.unit}**"
    bounds = [
        f"at {name} {number(bound)} {finding.unit}"
        for name, bound in (("most", finding.most), ("least", finding.least))
        if bound is not None
    ]
    if not bounds:
        return said
    return f"{said}, wanted {' and '.join(bounds)}: {'met' if finding.is_met else 'missed'}"


def table(curve: Curve) -> list[str]:
    """The points of all lines, by x."""
    head = [curve.x, *(line.label for line in curve.lines)]
    return [_row(head), _row(["---:"] * len(head)), *(_row(cells) for cells in rows(curve))]


def rows(curve: Curve) -> list[list[str]]:
    """x, and the y of each line there; all lines of a curve have the same x."""
    places = zip(*(line.points for line in curve.lines), strict=True)
    return [[f"{place[0][0]:,.0f}", *(number(y) for _, y in place)] for place in places]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
