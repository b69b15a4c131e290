"""W1 to W4 on a peer, section by section as `tests/benchmarks/workloads/short.py` has them for perdure. It knows no
peer: only what a peer can do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tests.benchmarks.counts import Counts
from tests.benchmarks.figures import Figure, latencies
from tests.benchmarks.peers.load import Load
from tests.benchmarks.peers.usage import cpu_figures, cpu_seconds

WARM_UP_FIRST = 1_000_000
"""Workflows of the warm-up have numbers from here on, and so ids of their own."""
WAITING_SECONDS = 0.05
"""How long a workflow gets to come to its signal: some ten times what a peer takes to start one."""

Job = TypeVar("Job")
Pids = Mapping[str, int]


@dataclass(frozen=True)
class Signalling(Generic[Job]):
    """A workflow that waits for a signal and returns what it carried."""

    start: Job
    """Starts it, and gives it `WAITING_SECONDS`."""
    signal: Job
    """Signals it and sees its result."""


@dataclass(frozen=True, kw_only=True)
class Peer(Generic[Job]):
    """A running peer: its jobs, each of which checks its result, and how it is loaded with them."""

    load: Load[Job]
    once: Job
    in_sequence: Job
    fan_out: Job
    signalling: Mapping[str, Signalling[Job]]
    """By the name of the work, since a peer may have more than one way."""
    close: Callable[[], None]


def w1_alone(peer: Peer[Job], counts: Counts, pids: Pids) -> list[Figure]:
    del pids
    warm_up(peer, counts)
    return latencies("W1 alone", peer.load.one_by_one(peer.once, range(counts.alone)), 50, 99)


def w1_throughput(peer: Peer[Job], counts: Counts, pids: Pids) -> list[Figure]:
    warm_up(peer, counts)
    count = counts.throughput

    def load() -> None:
        peer.load.at_once(peer.once, range(count), counts.throughput_in_flight)

    seconds, used = measured(load, pids)
    return [Figure("W1", "throughput", count / seconds, "workflows/s"), *cpu_figures("W1", used, count)]


def w2_alone(peer: Peer[Job], counts: Counts, pids: Pids) -> list[Figure]:
    del pids
    warm_up(peer, counts)
    return latencies("W2 alone", peer.load.one_by_one(peer.in_sequence, range(counts.sequences_alone)), 50)


def w2_throughput(peer: Peer[Job], counts: Counts, pids: Pids) -> list[Figure]:
    warm_up(peer, counts)
    count = counts.sequences

    def load() -> None:
        peer.load.at_once(peer.in_sequence, range(count), counts.sequences_in_flight)

    seconds, used = measured(load, pids)
    rate = Figure("W2", "throughput", count * counts.steps / seconds, "steps/s")
    return [rate, *cpu_figures("W2", used, count)]


def w3_fan_out(peer: Peer[Job], counts: Counts, pids: Pids) -> list[Figure]:
    del pids
    warm_up(peer, counts)
    return latencies("W3", peer.load.one_by_one(peer.fan_out, range(counts.fan_outs)), 50)


def w4_signal(peer: Peer[Job], counts: Counts, pids: Pids) -> list[Figure]:
    del pids
    warm_up(peer, counts)
    return [figure for work in peer.signalling for figure in _signals(peer, work, counts.signals)]


def _signals(peer: Peer[Job], work: str, count: int) -> list[Figure]:
    workflow, seconds = peer.signalling[work], []
    for number in range(count):
        peer.load.one_by_one(workflow.start, [number])
        seconds += peer.load.one_by_one(workflow.signal, [number])
    return latencies(work, seconds, 50, 99)


def warm_up(peer: Peer[Job], counts: Counts) -> None:
    """Let code, caches and connections come to where they are in long-running processes."""
    peer.load.one_by_one(peer.once, range(WARM_UP_FIRST, WARM_UP_FIRST + counts.warm_up))


def measured(load: Callable[[], None], pids: Pids) -> tuple[float, dict[str, float]]:
    """The seconds that it takes, and the CPU seconds of each process meanwhile."""
    before, started = cpu_seconds(pids), time.perf_counter()
    load()
    seconds, after = time.perf_counter() - started, cpu_seconds(pids)
    return seconds, {name: amount - before[name] for name, amount in after.items()}


SECTIONS: Mapping[str, Callable[[Peer[Any], Counts, Pids], list[Figure]]] = {
    section.__name__: section for section in (w1_alone, w1_throughput, w2_alone, w2_throughput, w3_fan_out, w4_signal)
}
