"""The results: a table for the terminal, a page of the reference, and JSON for whoever compares two runs."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from tests.benchmarks.counts import Counts
from tests.benchmarks.figures import Row
from tests.benchmarks.machine import Machine

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "benchmarks.md"
WIDTH = 120

INTRODUCTION = """\
# Benchmarks

What perdure does in a second, how long one piece of work takes, and what it costs: to see whether it is enough for
you, and to measure it on your own machine. `make bench` measures all of this page; `make bench ARGS=--write` writes it.

Client, history server, one worker process and the embedded Postgres, with full durability, are processes of their
own on one machine, and share its cores. Every section starts with fresh processes and an empty database. A payload is
about 100 bytes of JSON, an activity returns its input, and every result is checked. Machines differ and drift: compare
what was measured on one machine in the same hour.

| work | what it is |
|---|---|
| W1 | a workflow of one activity: start to result, alone; many at a time, until every result is seen; the latter \
also with 2 and 3 servers, on the same cores |
| W2 | a workflow of 10 activities in sequence, the same two ways; local: with local activities |
| W3 | a workflow of 100 activities at once, gathered; alone |
| W4 | a workflow waits for a signal and returns it: from sending to result, alone |
| W5 | workflows asleep for an hour: what they cost, and the time from kill -9 of a process, which is started again \
at once, until a new workflow gets through |
| W5 all killed | workflows asleep for 30 s; worker, server and Postgres are killed meanwhile: all finish, none early |
"""


class Report(Struct, frozen=True, kw_only=True):
    """Everything that one run of the benchmarks found."""

    machine: Machine
    counts: Counts
    repeats: int
    rows: list[Row]
    failures: list[str]


def print_report(report: Report, console: Console) -> None:
    for line in describe(report):
        console.print(line)
    table = Table("work", "what", "median", "least", "most", "unit")
    for column in table.columns[2:5]:
        column.justify = "right"
    for row in report.rows:
        table.add_row(row.work, row.name, *map(number, (row.median, row.least, row.most)), row.unit)
    console.print(table)


def write_json(report: Report, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def write_page(report: Report) -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(markdown(report), encoding="utf-8")


def markdown(report: Report) -> str:
    """The page: what was measured on what, and a table for each work."""
    lines = [INTRODUCTION, "## Measured on", "", *(f"- {line}" for line in describe(report)), ""]
    for work, rows in groupby(report.rows, key=lambda row: row.work):
        lines += [f"## {work}", "", "| | median | least | most | unit |", "|---|---:|---:|---:|---|"]
        lines += [f"| {row.name} | {cells(row)} | {row.unit} |" for row in rows]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def describe(report: Report) -> list[str]:
    """The machine and the run, in a few lines."""
    machine, counts = report.machine, report.counts
    return [
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, {machine.system}",
        f"perdure {machine.perdure}, Python {machine.python}, PostgreSQL {machine.postgres}",
        f"8 KiB made durable in {machine.flush_microseconds:g} µs (median); load before: {machine.load_before:g}",
        f"{machine.measured_at:%Y-%m-%d %H:%M} UTC, repeats: {report.repeats}",
        (
            f"W1 {counts.throughput:,} workflows, {counts.throughput_in_flight} in flight; "
            f"W2 {counts.sequences:,}, {counts.sequences_in_flight} in flight; "
            f"W5 {counts.asleep:,} asleep, and {counts.naps:,} for {counts.nap_seconds:g} s, "
            f"all killed after {counts.killed_after_seconds:g} s"
        ),
    ]


def cells(row: Row) -> str:
    return " | ".join(map(number, (row.median, row.least, row.most)))


def number(amount: float) -> str:
    """Three digits that mean something.

    >>> number(1234.5), number(12.345), number(0.01234)
    ('1,234', '12.3', '0.0123')
    """
    if abs(amount) >= 100:
        return f"{amount:,.0f}"
    return f"{amount:#.3g}".rstrip(".") if amount else "0"
