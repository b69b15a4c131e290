"""What crosses from the benchmark to the client of a peer, which runs in the peers' own environment: what to measure
goes there as JSON on the command line, and figures come back in a file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from tests.benchmarks.counts import Counts
from tests.benchmarks.figures import Figure
from tests.benchmarks.peers.work import SECTIONS, Peer

Job = TypeVar("Job")


class Task(Struct, frozen=True, kw_only=True):
    """One section to measure."""

    section: str
    counts: Counts
    address: str
    """Where the peer is: a DSN or a URL."""
    pids: dict[str, int]
    """The processes whose CPU is counted; the client adds itself."""
    answer: str
    """The file that the figures are written to."""


def run_task(me: str, make: Callable[[Task], Peer[Job]]) -> None:
    """The main function of a client; `me` is what this process is: a client, or client and worker in one."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    peer = make(task)
    try:
        figures = SECTIONS[task.section](peer, task.counts, {me: os.getpid(), **task.pids})
        Path(task.answer).write_bytes(msgspec.json.encode(figures))
    finally:
        peer.close()


def read_answer(path: Path) -> list[Figure]:
    return msgspec.json.decode(path.read_bytes(), type=list[Figure])
