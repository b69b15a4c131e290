"""`python -m tests.benchmarks`: measures W1 to W5 a few times over and reports the medians. The exit status is 0 only
if everything was measured and every result was right.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import uvloop
from rich.console import Console

from tests.benchmarks.counts import QUICK, Counts
from tests.benchmarks.figures import Figure, rows_of
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.report import WIDTH, Report, number, print_report, write_json, write_page
from tests.benchmarks.workloads.table import WORKLOADS, Section, sections_of

SECTION_SECONDS_MAX = 900.0
REPEATS = 3


class Run:
    """All repeats; one section's failure does not keep the others from being measured."""

    def __init__(self, counts: Counts, console: Console) -> None:
        self._counts = counts
        self._console = console
        self.figures: list[Figure] = []
        self.failures: list[str] = []

    async def measure(self, section: Section, repeat: int) -> None:
        name = section.measure.__name__
        try:
            async with asyncio.timeout(SECTION_SECONDS_MAX):
                found = await section.run(self._counts)
        except Exception as error:  # noqa: BLE001 - it is told, and it is the exit status
            self.failures.append(f"{name}: {type(error).__name__}: {error}")
            self._console.print(f"[bold red]{self.failures[-1]}[/bold red]", soft_wrap=True)
            return
        self.figures += found
        said = ", ".join(f"{one.name} {number(one.amount)} {one.unit}" for one in found[:2])
        self._console.print(f"{repeat}. {name}: {said}", soft_wrap=True)


async def run(options: argparse.Namespace, console: Console) -> bool:
    """Measure and report; True if all of it was right."""
    counts = QUICK if options.quick else Counts()
    machine = await describe_machine()
    measuring = Run(counts, console)
    for repeat in range(1, options.repeats + 1):
        for section in sections_of(options.only, with_long=options.long):
            await measuring.measure(section, repeat)
    report = Report(
        machine=machine,
        counts=counts,
        repeats=options.repeats,
        rows=rows_of(measuring.figures),
        failures=measuring.failures,
    )
    print_report(report, console)
    if options.json:
        write_json(report, options.json)
    if options.write and not report.failures:
        write_page(report)
    return not report.failures


def workloads(text: str) -> tuple[str, ...]:
    """`W1,W2`, in any case."""
    chosen = tuple(word.strip().upper() for word in text.split(","))
    for word in chosen:
        if word not in WORKLOADS:
            raise argparse.ArgumentTypeError(f"there is no {word}: choose from {', '.join(WORKLOADS)}")
    return chosen


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", type=workloads, default=WORKLOADS, help="workloads, such as W1,W2")
    parser.add_argument("--repeats", type=int, help=f"how often each is measured ({REPEATS}; 1 with --quick)")
    parser.add_argument("--long", action="store_true", help="W1 with 20,000 workflows as well")
    parser.add_argument("--quick", action="store_true", help="a little of each, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found to a file")
    parser.add_argument("--write", action="store_true", help="write the page of the reference")
    options = parser.parse_args()
    options.repeats = options.repeats or (1 if options.quick else REPEATS)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    return 0 if uvloop.run(run(options, console)) else 1


if __name__ == "__main__":
    sys.exit(main())
