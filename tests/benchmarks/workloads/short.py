"""W1 to W4: workflows that end as soon as they can, alone and many at a time."""

from __future__ import annotations

import time

from perdure.client import WorkflowHandle
from perdure_proto.events.workflow_task import WorkflowTaskCompleted
from tests.benchmarks.counts import Counts
from tests.benchmarks.figures import Figure, latencies
from tests.benchmarks.process import BenchmarkError
from tests.benchmarks.programs import Parcel, approve, fan_out, in_sequence, in_sequence_locally, wait_for_approval
from tests.benchmarks.stack import TASK_QUEUE, Stack
from tests.benchmarks.usage import spent, usage_figures
from tests.benchmarks.workloads.load import Work, at_once, expect, one_by_one, run_once, timed


async def w1_alone(stack: Stack, counts: Counts) -> list[Figure]:
    """Start to result, one after the other."""
    seconds = await one_by_one(lambda number: run_once(stack, f"alone-{number}"), counts.alone)
    return latencies("W1 alone", seconds, 50, 99)


async def w1_throughput(stack: Stack, counts: Counts) -> list[Figure]:
    """Many at a time, until every result is seen."""
    return await _throughput_of_once(stack, counts, "W1", counts.throughput)


async def w1_two_servers(stack: Stack, counts: Counts) -> list[Figure]:
    """The same with two servers that share the work."""
    return await _throughput_of_once(stack, counts, "W1, 2 servers", counts.throughput)


async def w1_three_servers(stack: Stack, counts: Counts) -> list[Figure]:
    """The same with three."""
    return await _throughput_of_once(stack, counts, "W1, 3 servers", counts.throughput)


async def w1_long(stack: Stack, counts: Counts) -> list[Figure]:
    """The same for longer."""
    return await _throughput_of_once(stack, counts, "W1 long", counts.throughput_long)


async def _throughput_of_once(stack: Stack, counts: Counts, work: str, count: int) -> list[Figure]:
    async with spent(stack, settle=counts.settle) as used:
        started = time.perf_counter()
        await at_once(lambda number: run_once(stack, f"many-{number}"), count, counts.throughput_in_flight)
        seconds = time.perf_counter() - started
    return [Figure(work, "throughput", count / seconds, "workflows/s"), *usage_figures(work, used, count)]


async def w2_alone(stack: Stack, counts: Counts) -> list[Figure]:
    """Activities in sequence, one workflow after the other."""
    seconds = await one_by_one(_sequences(stack, counts.steps), counts.sequences_alone)
    return latencies("W2 alone", seconds, 50)


async def w2_throughput(stack: Stack, counts: Counts) -> list[Figure]:
    """Activities in sequence, many workflows at a time."""
    return await _throughput_of_steps(stack, counts, "W2", _sequences(stack, counts.steps))


async def w2_local_alone(stack: Stack, counts: Counts) -> list[Figure]:
    """Local activities in sequence, one workflow after the other."""
    seconds = await one_by_one(_local_sequences(stack, counts.steps), counts.sequences_alone)
    return latencies("W2 local alone", seconds, 50)


async def w2_local_throughput(stack: Stack, counts: Counts) -> list[Figure]:
    """Local activities in sequence, many workflows at a time."""
    return await _throughput_of_steps(stack, counts, "W2 local", _local_sequences(stack, counts.steps))


async def _throughput_of_steps(stack: Stack, counts: Counts, work: str, sequence: Work) -> list[Figure]:
    count = counts.sequences
    async with spent(stack, settle=counts.settle) as used:
        started = time.perf_counter()
        await at_once(sequence, count, counts.sequences_in_flight)
        seconds = time.perf_counter() - started
    rate = Figure(work, "throughput", count * counts.steps / seconds, "steps/s")
    return [rate, *usage_figures(work, used, count)]


def _sequences(stack: Stack, steps: int) -> Work:
    async def run(number: int) -> None:
        call = in_sequence(Parcel(number), steps)
        total = await stack.client.execute_workflow(call, id=f"sequence-{number}", task_queue=TASK_QUEUE)
        expect(sum(range(number, number + steps)), total)

    return run


def _local_sequences(stack: Stack, steps: int) -> Work:
    async def run(number: int) -> None:
        call = in_sequence_locally(Parcel(number), steps)
        total = await stack.client.execute_workflow(call, id=f"local-sequence-{number}", task_queue=TASK_QUEUE)
        expect(sum(range(number, number + steps)), total)

    return run


async def w3_fan_out(stack: Stack, counts: Counts) -> list[Figure]:
    """Activities at once, gathered."""

    async def run(number: int) -> None:
        call = fan_out(counts.fan_width)
        expect(
            list(range(counts.fan_width)),
            await stack.client.execute_workflow(call, id=f"fan-{number}", task_queue=TASK_QUEUE),
        )

    return latencies("W3", await one_by_one(run, counts.fan_outs), 50)


async def w4_signal(stack: Stack, counts: Counts) -> list[Figure]:
    """From sending a signal to the result of the workflow that waited for it."""
    seconds = []
    for number in range(counts.signals):
        handle = await stack.client.start_workflow(wait_for_approval, id=f"signal-{number}", task_queue=TASK_QUEUE)
        await _until_waiting(handle)
        seconds.append(await timed(_approve(handle, Parcel(number))))
    return latencies("W4", seconds, 50, 99)


async def _approve(handle: WorkflowHandle[Parcel], parcel: Parcel) -> None:
    await handle.signal(approve, parcel)
    expect(parcel, await handle.result())


async def _until_waiting(handle: WorkflowHandle[Parcel]) -> None:
    """Return when the workflow has done all that it can without a signal."""
    async for event in handle.events(follow=True):
        if isinstance(event, WorkflowTaskCompleted):
            return
    raise BenchmarkError(f"{handle.id} closed before its signal")
