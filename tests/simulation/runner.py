"""Runs many seeds, in one process or in several; each process runs worlds and nothing else."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

from tests.simulation.process import apart, prepare
from tests.simulation.scenario import Scenario

CHUNK = 20
"""So many worlds share a process: what they leave, about 2 MB each, goes with it."""


class Report(NamedTuple):
    """What one seed gave."""

    seed: str
    events: int
    faults: int
    wrong: list[str]


def begin(mutant: str) -> None:
    """The first thing that a process does which runs worlds."""
    prepare()
    if mutant:
        from tests.simulation.mutants import MUTANTS

        MUTANTS[mutant]()
    run_some(["warm"])  # what the first world fills, caches and imports, the copies of this process have
    gc.freeze()


def scenario_of(seed: str) -> Scenario:
    """The scenario of a seed."""
    from tests.simulation.generate import generate

    return generate(seed)


def reports_of(seeds: Sequence[str], jobs: int, mutant: str) -> Iterator[Report]:
    """In the order of the seeds."""
    chunks = [seeds[place : place + CHUNK] for place in range(0, len(seeds), CHUNK)]
    if jobs <= 1:
        for chunk in chunks:
            yield from apart(run_some, chunk)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=begin, initargs=(mutant,)) as pool:
        for reports in pool.map(partial(apart, run_some), chunks):
            yield from reports


def run_some(seeds: Sequence[str]) -> list[Report]:
    """One after the other."""
    from tests.simulation.run import run

    reports = []
    for seed in seeds:
        scenario = scenario_of(seed)
        outcome = run(scenario)
        reports.append(Report(seed, outcome.events, len(scenario.kinds), outcome.wrong))
    return reports
