"""What is measured, in order: each section gets a stack of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from msgspec import Struct

from tests.benchmarks.counts import Counts
from tests.benchmarks.figures import Figure
from tests.benchmarks.stack import Stack, running_stack
from tests.benchmarks.workloads import asleep, short
from tests.benchmarks.workloads.load import warm_up

Measure = Callable[[Stack, Counts], Awaitable[list[Figure]]]


class Section(Struct, frozen=True):
    """One measurement of a workload; `is_long` is left out unless asked for."""

    workload: str
    measure: Measure
    is_long: bool = False
    servers: int = 1

    async def run(self, counts: Counts) -> list[Figure]:
        """Measure on a fresh stack."""
        async with running_stack(self.servers) as stack:
            await warm_up(stack, counts.warm_up)
            return await self.measure(stack, counts)


SECTIONS = (
    Section("W1", short.w1_alone),
    Section("W1", short.w1_throughput),
    Section("W1", short.w1_two_servers, servers=2),
    Section("W1", short.w1_three_servers, servers=3),
    Section("W1", short.w1_long, is_long=True),
    Section("W2", short.w2_alone),
    Section("W2", short.w2_throughput),
    Section("W2", short.w2_local_alone),
    Section("W2", short.w2_local_throughput),
    Section("W3", short.w3_fan_out),
    Section("W4", short.w4_signal),
    Section("W5", asleep.w5_hour),
    Section("W5", asleep.w5_kill_all),
)
WORKLOADS = tuple(dict.fromkeys(section.workload for section in SECTIONS))


def sections_of(workloads: tuple[str, ...], *, with_long: bool) -> Iterator[Section]:
    """The sections of these workloads."""
    for section in SECTIONS:
        if section.workload in workloads and (with_long or not section.is_long):
            yield section
