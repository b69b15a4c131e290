"""`python -m tests.simulation SEEDS`, also as `make simulate SEEDS=… JOBS=…`.

SEEDS: `n` for the first n seeds, `a..b` for a range, `=a,b` for some, or the name of a file that holds a scenario. Each
failing seed is shrunk and shown with its trace; `--keep` writes the first one down, to become a named test.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.simulation.process import collect
from tests.simulation.runner import begin, reports_of, scenario_of
from tests.simulation.scenario import Scenario, read, write

EXPLAINED_MAX = 3
HASH_SEED = "0"
"""Sets of strings iterate alike in every process that runs a seed. Nor has code its columns there: to draw the carets
under the lines of a traceback, Python parses each line."""


def main() -> int:
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        environment = {**os.environ, "PYTHONHASHSEED": HASH_SEED, "PYTHONNODEBUGRANGES": "1"}
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], environment)
    given = arguments()
    begin(given.mutant)
    if Path(given.seeds).is_file():
        return show(read(Path(given.seeds).read_bytes()), trace=given.trace)
    if given.trace:
        return max(show(scenario_of(seed), trace=True) for seed in seeds_of(given.seeds))
    return run_all(given)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes")
    parser.add_argument("--trace", action="store_true", help="show the trace of every seed")
    parser.add_argument("--keep", type=Path, help="where to write the first failing scenario, shrunk")
    parser.add_argument("--no-shrink", action="store_true", help="only say which seeds fail, and how")
    parser.add_argument("--first", action="store_true", help="stop at the first seed that fails")
    parser.add_argument("--mutant", default="", help="run with a part of the service taken out")
    return parser.parse_args()


def run_all(given: argparse.Namespace) -> int:
    seeds = list(seeds_of(given.seeds))
    began, reports, failed = time.perf_counter(), [], []
    for report in reports_of(seeds, given.jobs, given.mutant):
        reports.append(report)
        if report.wrong:
            failed.append(report.seed)
            print(f"seed {report.seed}: {report.wrong[0]}", flush=True)
            if given.first:
                break
    rate = len(reports) / (time.perf_counter() - began)
    events = statistics.median(report.events for report in reports)
    kinds = statistics.median(report.faults for report in reports)
    print(f"{len(reports)} seeds, {len(failed)} failed; {rate:.1f} a second; ", end="")
    print(f"median {events:g} events, {kinds:g} kinds of fault")
    for seed in [] if given.no_shrink else failed[:EXPLAINED_MAX]:
        explain(scenario_of(seed), given.keep if seed == failed[0] else None)
    return 1 if failed else 0


def explain(scenario: Scenario, keep: Path | None) -> None:
    """Shrinks a failing scenario and shows what is left of it."""
    from tests.simulation.run import run
    from tests.simulation.shrink import law_of, shrink

    law = law_of(run(scenario).wrong)

    def fails(smaller: Scenario) -> bool:
        wrong = run(smaller).wrong
        collect()
        return law_of(wrong) == law

    small = shrink(scenario, fails)
    print(f"\n== seed {scenario.seed}, shrunk ==\n{write(small)}")
    show(small, trace=True)
    if keep is not None:
        keep.write_text(write(small) + "\n")


def show(scenario: Scenario, *, trace: bool) -> int:
    """One scenario with its trace."""
    from tests.simulation.run import run

    outcome = run(scenario, keep_trace=trace)
    print("\n".join([*outcome.trace, *outcome.wrong] if outcome.wrong or trace else ["nothing is wrong"]))
    return 1 if outcome.wrong else 0


def seeds_of(text: str) -> Iterator[str]:
    """The seeds that a word names.

    >>> [list(seeds_of(word)) for word in ("2", "3..5", "=x,y")]
    [['0', '1'], ['3', '4'], ['x', 'y']]
    """
    if text.startswith("="):
        yield from text[1:].split(",")
        return
    first, separator, last = text.partition("..")
    yield from map(str, range(int(first), int(last)) if separator else range(int(first)))


if __name__ == "__main__":
    sys.exit(main())
