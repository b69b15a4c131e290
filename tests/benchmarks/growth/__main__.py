"""`python -m tests.benchmarks.growth`: how cost grows with executions, events, workers, cached workflows and bytes. The
exit status is 0 only if everything was measured; a missed target is told, and is no failure.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

import uvloop

from tests.benchmarks.growth.counts import QUICK, GrowthCounts
from tests.benchmarks.growth.page import FOLDER, Measured, print_growth, write_page
from tests.benchmarks.growth.plots import pyplot
from tests.benchmarks.growth.table import NAMES, SECTIONS
from tests.benchmarks.machine import describe_machine

SECTION_SECONDS_MAX = 3600.0


async def run(options: argparse.Namespace) -> bool:
    """Measure, print, and write if asked to; True if all of it worked."""
    counts = QUICK if options.quick else GrowthCounts()
    machine = await describe_machine()
    found, failed = [], False
    for section in SECTIONS:
        if section.name not in options.only:
            continue
        began = time.perf_counter()
        try:
            async with asyncio.timeout(SECTION_SECONDS_MAX):
                found.append(Measured(section, await section.measure(counts)))
        except Exception as error:  # noqa: BLE001 - it is told, and it is the exit status
            print(f"{section.name}: {type(error).__name__}: {error}")
            failed = True
        else:
            print_growth(found[-1])
            print(f"  measured in {time.perf_counter() - began:.0f} s")
    if options.write and not failed:
        write_page(found, machine, counts, options.write)
    return not failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a little of each, to see that it works")
    parser.add_argument("--only", action="append", choices=NAMES, help="one section; more with the option again")
    parser.add_argument(
        "--write", nargs="?", type=Path, const=FOLDER, metavar="FOLDER", help="write the page and its plots"
    )
    options = parser.parse_args()
    if options.write == FOLDER and (options.only or options.quick):
        parser.error("the page of the reference shows all of it: give --write another folder")
    options.only = options.only or NAMES
    if options.write:
        pyplot()  # not there: better now than in an hour
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return 0 if uvloop.run(run(options)) else 1


if __name__ == "__main__":
    sys.exit(main())
