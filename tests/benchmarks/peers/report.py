"""What was found: a table for the terminal, a page of the reference, and JSON for whoever compares two runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from tests.benchmarks.counts import Counts
from tests.benchmarks.machine import Machine
from tests.benchmarks.peers.comparison import Cell, Finding, Row
from tests.benchmarks.peers.contestants import PERDURE
from tests.benchmarks.report import PAGE as PAGE_OF_PERDURE
from tests.benchmarks.report import number

PAGE = PAGE_OF_PERDURE.with_name("benchmarks-peers.md")
TEXT = Path(__file__).with_name("introduction.txt")
NOTHING = "–"
WIDTH = 140


class Report(Struct, frozen=True, kw_only=True):
    """Everything that one run found."""

    machine: Machine
    versions: dict[str, str]
    counts: Counts
    repeats: int
    contestants: list[str]
    rows: list[Row]
    findings: list[Finding]
    failures: list[str]


def print_report(report: Report, console: Console) -> None:
    for line in describe(report):
        console.print(line)
    table = Table("work", "what", "unit", *header(report))
    for column in table.columns[3:]:
        column.justify = "right"
    for row in report.rows:
        table.add_row(row.work, row.name, row.unit, *cells(report, row))
    console.print(table)


def write_json(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def write_page(report: Report) -> None:
    PAGE.write_text(markdown(report), encoding="utf-8")


def markdown(report: Report) -> str:
    """The page: what was measured how and on what, and one table."""
    names = ["", "", "unit", *header(report)]
    lines = [
        TEXT.read_text(encoding="utf-8").rstrip(),
        "",
        "## Measured on",
        "",
        *(f"- {line}" for line in describe(report)),
        "",
        "## Results",
        "",
        f"| {' | '.join(names)} |",
        f"|---|---|---|{'---:|' * len(header(report))}",
    ]
    lines += [f"| {' | '.join((row.work, row.name, row.unit, *cells(report, row)))} |" for row in report.rows]
    return "\n".join(lines) + "\n"


def describe(report: Report) -> list[str]:
    """The machine and the run, in a few lines."""
    machine, counts = report.machine, report.counts
    peers = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return [
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, {machine.system}",
        f"perdure {machine.perdure}, {peers}, Python {machine.python}, PostgreSQL {machine.postgres}",
        f"8 KiB made durable in {machine.flush_microseconds:g} µs (median); load before: {machine.load_before:g}",
        f"{machine.measured_at:%Y-%m-%d %H:%M} UTC, repeats: {report.repeats}",
        (
            f"W1 {counts.throughput:,} workflows, {counts.throughput_in_flight} in flight; "
            f"W2 {counts.sequences:,}, {counts.sequences_in_flight} in flight; W3 {counts.fan_width} at once"
        ),
    ]


def header(report: Report) -> list[str]:
    """A column for perdure, and two for each peer."""
    peers = [name for name in report.contestants if name != PERDURE]
    return [PERDURE, *(column for peer in peers for column in (peer, "ratio"))]


def cells(report: Report, row: Row) -> list[str]:
    return [text for name in report.contestants for text in _texts(name, row.cells.get(name))]


def _texts(contestant: str, cell: Cell | None) -> Iterator[str]:
    yield NOTHING if cell is None else number(cell.median)
    if contestant != PERDURE:
        yield NOTHING if cell is None or cell.ratio is None else f"{number(cell.ratio)} ×"
