"""What a run of the suite found, as a table for the terminal and as a page of the reference."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from msgspec import Struct

from tests.faults.journal import Operation
from tests.faults.registers import Verdict
from tests.faults.storm import Struck

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "faults.md"
WINDOW_SECONDS_MIN = 1.0

INTRODUCTION = """\
# What the service was put through

`make faults` runs servers, workers and a durable Postgres as processes of their own under a mixed load, and lets them
be killed, stopped, cut off and starved, one to three faults at a time. Then the faults end, all that is owed must
happen, and the whole database is checked. [What it does in detail](../../tests/faults/README.md). This page is written
by `make faults ARGS=--write`; the figures are of one run on one machine that others used too.
"""


class Report(Struct, frozen=True, kw_only=True):
    """All of it."""

    seed: int
    minutes: float
    servers: int
    workers: int
    machine: str
    operations: Sequence[Operation]
    programs: Counter[str]
    ended_at: Sequence[float]
    histories: int
    registers: Verdict
    struck: Sequence[Struck]
    rest_seconds: float
    wrong: Sequence[str]


def render(report: Report) -> str:
    """The body of the page."""
    size = f"{report.minutes:g} minutes, {report.servers} server(s), {report.workers} workers, seed {report.seed}"
    return "\n".join(
        [
            f"{size}. {report.machine}",
            "",
            *_table(("what", ""), _summary(report)),
            "",
            *_table(("operation", "acknowledged", "unknown", "p50 s", "p99 s", "longest s"), _operations(report)),
            "",
            *_table(("fault", "times", "seconds in all", "longest silence around it, s"), _faults(report)),
            "",
            *([f"**{len(report.wrong)} violations**"] if report.wrong else ["No violation."]),
            *[f"- {one}" for one in report.wrong],
            "",
        ]
    )


def write_page(report: Report) -> None:
    PAGE.write_text(f"{INTRODUCTION}\n{render(report)}", encoding="utf-8")


def silences(moments: Iterable[float]) -> list[tuple[float, float]]:
    """Times in which nothing happened, longer than the least, as begin and end."""
    return [pair for pair in pairwise(sorted(moments)) if pair[1] - pair[0] > WINDOW_SECONDS_MIN]


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that so many are not above; 0 of nothing."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else 0.0


Row = tuple[object, ...]


def _summary(report: Report) -> list[Row]:
    acknowledged = [one.returned_at for one in report.operations if one.outcome == "acknowledged"]
    windows = [end - begin for begin, end in silences(acknowledged)]
    progress = [end - begin for begin, end in silences(report.ended_at)]
    told = report.registers
    return [
        ("programs begun, and come to their right end", f"{report.programs.total()}, {len(report.ended_at)}"),
        ("histories checked and replayed", report.histories),
        ("operations on registers, checked for linearizability", told.operations),
        ("adds to the set, and looks at it", f"{told.adds}, {told.looks}"),
        ("faults", len(report.struck)),
        (f"times longer than {WINDOW_SECONDS_MIN:g} s in which no client got an answer", len(windows)),
        ("these in seconds: p50, p99, longest", _three(windows)),
        ("longest time in which no program came to its end, s", f"{max(progress, default=0.0):.1f}"),
        ("from the end of the faults until nothing was owed, s", f"{report.rest_seconds:.1f}"),
    ]


def _three(values: Sequence[float]) -> str:
    return f"{percentile(values, 0.5):.1f}, {percentile(values, 0.99):.1f}, {max(values, default=0.0):.1f}"


def _operations(report: Report) -> list[Row]:
    rows: list[Row] = []
    for kind in sorted({one.kind for one in report.operations}):
        of_kind = [one for one in report.operations if one.kind == kind]
        taken = [one.returned_at - one.invoked_at for one in of_kind if one.outcome == "acknowledged"]
        unknown = sum(one.outcome == "unknown" for one in of_kind)
        shown = [f"{percentile(taken, share):.3f}" for share in (0.5, 0.99, 1.0)]
        rows.append((kind, len(taken), unknown, *shown))
    return rows


def _faults(report: Report) -> list[Row]:
    quiet = silences(one.returned_at for one in report.operations if one.outcome == "acknowledged")
    rows: list[Row] = []
    for name in sorted({one.name for one in report.struck}):
        of_kind = [one for one in report.struck if one.name == name]
        seconds = sum(one.ended_at - one.begun_at for one in of_kind)
        beside = [end - begin for begin, end in quiet for one in of_kind if begin < one.ended_at and end > one.begun_at]
        rows.append((name, len(of_kind), f"{seconds:.0f}", f"{max(beside, default=0.0):.1f}"))
    return rows


def _table(head: Sequence[str], rows: Iterable[Row]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return [f"| {' | '.join(str(cell) for cell in line)} |" for line in lines]


def errors_in_logs(folder: Path) -> Counter[str]:
    """What servers and workers said at level error, by event: not wrong by itself, but worth a look."""
    said: Counter[str] = Counter()
    for log in folder.glob("*.log"):
        for line in log.read_text(errors="replace").splitlines():
            if '"level":"error"' in line.replace(" ", "") and line.startswith("{"):
                told = json.loads(line)
                said[f"{log.stem}: {told.get('event')}: {str(told.get('error', ''))[:80]}"] += 1
            elif line.startswith("Traceback"):
                said[f"{log.stem}: a traceback"] += 1
    return said
