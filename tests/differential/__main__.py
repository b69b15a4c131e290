"""`python -m tests.differential PROGRAMS`, also as `make differential PROGRAMS=… SEED=…`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time

import structlog

from tests.differential.contest import Contest, Finding
from tests.differential.plans import plan
from tests.differential.sides import EVERY, ORDINARY, OTHERS
from tests.postgres import FORGETFUL, create_template, run_postgres


def main() -> int:
    given = arguments()
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return asyncio.run(compare_all(given))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("programs", type=int, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="that of the first one")
    parser.add_argument("--beside", type=int, default=8, help="how many programs run beside each other")
    parser.add_argument("--side", choices=EVERY, action="append", help="what to compare with; default: all")
    parser.add_argument("--show", action="store_true", help="print the account of each program")
    parser.add_argument("--no-shrink", action="store_true", help="only show the differences")
    return parser.parse_args()


async def compare_all(given: argparse.Namespace) -> int:
    """Every side against the ordinary one; how many differed at all becomes the exit status."""
    plans = [plan(seed) for seed in range(given.seed, given.seed + given.programs)]
    others = [EVERY[name] for name in given.side] if given.side else OTHERS
    findings: list[Finding] = []
    async with run_postgres(FORGETFUL) as postgres:
        contest = Contest(postgres, await create_template(postgres), given.beside)
        for side in (ORDINARY, *others):
            began = time.perf_counter(), time.process_time()
            await contest.hear(side, plans)
            took, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
            print(f"{side.name}: {contest.said(side)}; {took:.1f} s, {cpu:.1f} s of CPU", flush=True)
            for finding in contest.findings(side):
                print(finding.text(), flush=True)
                findings.append(finding)
        if given.show:
            for lines in contest.accounts[ORDINARY.name].values():
                print(*lines, sep="\n")
        if findings and not given.no_shrink:
            print("shrunk:", (await contest.shrunk(findings[0])).whole())
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
