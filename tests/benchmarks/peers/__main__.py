"""`python -m tests.benchmarks.peers`: measures W1 to W4 on perdure, DBOS and Restate in alternation and compares them.
The exit status is 0 only if everything was measured and every result was right.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console

from tests.benchmarks import programs
from tests.benchmarks.__main__ import workloads
from tests.benchmarks.counts import QUICK, Counts
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.peers import environment
from tests.benchmarks.peers.comparison import Finding, rows_of
from tests.benchmarks.peers.contestants import Contestant, contestants
from tests.benchmarks.peers.parcel import Parcel, expect
from tests.benchmarks.peers.report import WIDTH, Report, print_report, write_json, write_page
from tests.benchmarks.peers.work import SECTIONS
from tests.benchmarks.report import number
from tests.benchmarks.workloads.table import WORKLOADS

SECTION_SECONDS_MAX = 900.0
REPEATS = 3
JSON = environment.FOLDER / "peers.json"


class Run:
    """All repeats; one failure does not keep the others from being measured."""

    def __init__(self, counts: Counts, console: Console) -> None:
        self._counts = counts
        self._console = console
        self.findings: list[Finding] = []
        self.failures: list[str] = []

    async def measure(self, contestant: Contestant, section: str, repeat: int) -> None:
        name = f"{contestant.name} {section}"
        try:
            async with asyncio.timeout(SECTION_SECONDS_MAX):
                found = await contestant.measure(section, self._counts)
        except Exception as error:  # noqa: BLE001 - it is told, and it is the exit status
            self.failures.append(f"{name}: {type(error).__name__}: {error}")
            self._console.print(f"[bold red]{self.failures[-1]}[/bold red]", soft_wrap=True)
            return
        self.findings += [Finding(contestant.name, repeat, figure) for figure in found]
        said = ", ".join(f"{one.work} {one.name} {number(one.amount)} {one.unit}" for one in found[:2])
        self._console.print(f"{repeat}. {name}: {said}", soft_wrap=True)


async def run(options: argparse.Namespace, everybody: Sequence[Contestant], console: Console) -> bool:
    """Measure and report; True if all of it was right."""
    counts = QUICK if options.quick else Counts()
    sections = [section for section in SECTIONS if section.split("_")[0].upper() in options.only]
    machine = await describe_machine()
    measuring = Run(counts, console)
    for repeat in range(1, options.repeats + 1):
        first = (repeat - 1) % len(everybody)
        for section in sections:
            for contestant in (*everybody[first:], *everybody[:first]):
                await measuring.measure(contestant, section, repeat)
    report = Report(
        machine=machine,
        versions=environment.versions(),
        counts=counts,
        repeats=options.repeats,
        contestants=[one.name for one in everybody],
        rows=rows_of(measuring.findings),
        findings=measuring.findings,
        failures=measuring.failures,
    )
    print_report(report, console)
    write_json(report, options.json)
    if options.write and not report.failures:
        write_page(report)
    return not report.failures


def make_environments(console: Console) -> list[Contestant]:
    """Everybody who can be measured here."""
    environment.make_venv()
    restate = environment.make_node()
    if restate is None:
        console.print("[bold]There is no Node (node and npm) here: Restate is left out.[/bold]")
    return list(contestants(restate))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("--only", type=workloads, default=WORKLOADS, help="workloads, such as W1,W2")
    parser.add_argument("--repeats", type=int, help=f"how often each is measured ({REPEATS}; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="a little of each, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", default=JSON, help="where everything is written to")
    parser.add_argument("--write", action="store_true", help="write the page of the reference")
    options = parser.parse_args()
    options.repeats = options.repeats or (1 if options.quick else REPEATS)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    expect(msgspec.json.encode(programs.Parcel(1)), msgspec.json.encode(Parcel(1)))
    return 0 if uvloop.run(run(options, make_environments(console), console)) else 1


if __name__ == "__main__":
    sys.exit(main())
