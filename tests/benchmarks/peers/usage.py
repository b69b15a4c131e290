"""The CPU seconds of a peer's processes. `tests/benchmarks/usage.py` counts those of perdure in the same way; it knows
perdure's stack, which the peers' environment does not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import psutil

from tests.benchmarks.figures import Figure

CLIENT = "client"
ALL = "CPU, all"
WITHOUT_CLIENT = "CPU, without client"
CPU_UNIT = "s / 1,000 workflows"


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds so far of each process, of those below it, and of those below it that have ended."""
    return {name: _family_seconds(psutil.Process(pid)) for name, pid in pids.items()}


def cpu_figures(work: str, used: Mapping[str, float], workflows: int) -> Iterator[Figure]:
    """All of it, and where the client is a process of its own what is left without it."""
    each = {f"CPU, {name}": seconds for name, seconds in used.items()}
    if CLIENT in used:
        each[WITHOUT_CLIENT] = sum(seconds for name, seconds in used.items() if name != CLIENT)
    each[ALL] = sum(used.values())
    for name, seconds in each.items():
        yield Figure(work, name, seconds * 1000 / workflows, CPU_UNIT)


def _family_seconds(parent: psutil.Process) -> float:
    times = parent.cpu_times()
    ended = times.children_user + times.children_system
    return float(sum(map(_seconds, (parent, *parent.children(recursive=True)))) + ended)


def _seconds(process: psutil.Process) -> float:
    try:
        return float(sum(process.cpu_times()[:2]))
    except psutil.NoSuchProcess:
        return 0.0  # a session of Postgres may end between the list and the look
