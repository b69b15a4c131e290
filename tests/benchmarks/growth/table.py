"""What is measured, in order: a name for the command line, what the page says of it, and who measures it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct

from tests.benchmarks.growth import executions, memory, one_long, payloads, replays, workers
from tests.benchmarks.growth.counts import GrowthCounts
from tests.benchmarks.growth.curve import Growth


class Section(Struct, frozen=True):
    """One measurement."""

    name: str
    title: str
    text: str
    measure: Callable[[GrowthCounts], Awaitable[Growth]]


SECTIONS = (
    Section(
        "executions",
        "Executions in the database",
        "W1 with many executions in the database, and with none. They are copies of a workflow that sleeps for a month "
        "and of one that is closed, put into the tables by SQL. The two databases have a server and a worker each and "
        "are measured in turn, so that both lines show the same minutes of the machine.",
        executions.measure,
    ),
    Section(
        "events",
        "Events in one history",
        "One workflow runs activities one after the other, alone, and the worker has it cached. After each stretch a "
        "fresh workflow runs as many. A point is the mean of the stretch that begins there.",
        one_long.measure,
    ),
    Section(
        "replay",
        "Replay",
        "A history of activities in sequence, read as JSON and replayed: what a worker does when it gets a workflow "
        "that it has not cached.",
        replays.measure,
    ),
    Section(
        "workers",
        "Worker processes",
        "W1 over worker processes, all on one server. Two or three servers were not measured yet. `all cores` is what "
        "the machine had to give while 1,000 workflows ran.",
        workers.measure,
    ),
    Section(
        "memory",
        "Memory",
        "Workflows asleep for an hour, each in the memory of the server and in the cache of the worker.",
        memory.measure,
    ),
    Section(
        "payload",
        "Size of a payload",
        "Starts with a payload that can hardly be compressed; no worker takes the workflows.",
        payloads.measure,
    ),
)
NAMES = tuple(section.name for section in SECTIONS)
