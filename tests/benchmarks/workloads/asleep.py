"""W5: many workflows that wait. What they cost while nothing happens, how soon all is back after kill -9 of a process,
and whether timers that were running then fire in time: none early, none never.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from perdure.client import WorkflowHandle
from tests.benchmarks.counts import Counts
from tests.benchmarks.figures import Figure, percentile
from tests.benchmarks.process import BenchmarkError, Process
from tests.benchmarks.programs import Nap, nap
from tests.benchmarks.stack import LOOK_EVERY_SECONDS, TASK_QUEUE, Stack
from tests.benchmarks.usage import cpu_seconds, memory_figures
from tests.benchmarks.workloads.load import at_once, expect, run_once

HOUR_SECONDS = 3600.0
ASLEEP_SECONDS_MAX = 120.0
REST_SECONDS = 5.0
"""Between the work and the look at what rest costs: longer than the server takes to call a workflow idle."""

COUNT_ASLEEP = "select count(*) from history where events::text like '%\"TimerStarted\"%'"
STILL_ASLEEP = "WorkflowType = 'nap' and ExecutionStatus = 'Running'"
TICK_SECONDS = 1e-5
"""Times in the log are in microseconds, and floats round."""


async def w5_hour(stack: Stack, counts: Counts) -> list[Figure]:
    """Asleep for an hour: what it costs, and the way back."""
    work = "W5"
    started = time.perf_counter()
    await _start_naps(stack, counts.asleep, HOUR_SECONDS)
    await _until_asleep(stack, counts.asleep)
    figures = [Figure(work, "all started and asleep", time.perf_counter() - started, "s")]
    await asyncio.sleep(REST_SECONDS)
    figures += memory_figures(work, stack)
    figures += await _idle(work, stack, counts.idle_seconds)
    for name, bring_back in _BACK.items():
        figures += [
            Figure(work, f"back after kill -9 of {name}{part}", seconds, "s")
            for part, seconds in (await bring_back(stack)).items()
        ]
        expect(counts.asleep, (await stack.client.count_workflows(STILL_ASLEEP)).count)
    return figures


async def _idle(work: str, stack: Stack, seconds: float) -> list[Figure]:
    """CPU of each process while nothing happens."""
    before = cpu_seconds(stack)
    await asyncio.sleep(seconds)
    after = cpu_seconds(stack)
    used = {name: after[name] - before[name] for name in after if name != "client"}
    unit = f"s in {seconds:g} s"
    return [
        Figure(work, f"idle CPU, {name}", amount, unit) for name, amount in {**used, "all": sum(used.values())}.items()
    ]


async def _back_from_worker_kill(stack: Stack) -> dict[str, float]:
    return {"": await _restart(stack, stack.worker)}


async def _back_from_server_kill(stack: Stack) -> dict[str, float]:
    return {"": await _restart(stack, stack.server)}


async def _back_from_postgres_kill(stack: Stack) -> dict[str, float]:
    started = time.perf_counter()
    await stack.kill_postgres()
    await stack.postgres.start()
    accepts = time.perf_counter()
    await _until_back(stack, "postgres")
    ended = time.perf_counter()
    return {"": ended - started, ", since it accepts connections": ended - accepts}


_BACK: dict[str, Callable[[Stack], Awaitable[dict[str, float]]]] = {
    "worker": _back_from_worker_kill,
    "server": _back_from_server_kill,
    "Postgres": _back_from_postgres_kill,
}


async def _restart(stack: Stack, process: Process) -> float:
    """Kill, start again at once, and wait until a new workflow gets through."""
    started = time.perf_counter()
    await process.kill()
    process.start()
    await _until_back(stack, process.name)
    return time.perf_counter() - started


async def _until_back(stack: Stack, killed: str) -> None:
    # The client's own pauses between attempts are not what is measured: it asks when there is somebody to answer.
    await stack.until_ready()
    await run_once(stack, f"back-after-{killed}")


async def w5_kill_all(stack: Stack, counts: Counts) -> list[Figure]:
    """Asleep while everything is killed: all finish, none early, how late."""
    work = "W5 all killed"
    started = time.perf_counter()
    handles = await _start_naps(stack, counts.naps, counts.nap_seconds)
    results = asyncio.gather(*(_result(handle, started + counts.nap_seconds) for handle in handles))
    await _until_asleep(stack, counts.naps)
    await asyncio.sleep(started + counts.killed_after_seconds - time.perf_counter())
    killed = time.perf_counter()
    await _kill_all(stack)
    await _until_back(stack, "all")
    back = time.perf_counter() - killed
    late = [_lateness(one, counts.nap_seconds) for one in await results]
    return [
        Figure(work, "back", back, "s"),
        Figure(work, "late, p50", percentile(late, 50) * 1000, "ms"),
        Figure(work, "late, most", max(late) * 1000, "ms"),
    ]


async def _kill_all(stack: Stack) -> None:
    """Kill -9 of worker, server and Postgres, and start all three."""
    await stack.worker.kill()
    await stack.server.kill()
    await stack.kill_postgres()
    stack.server.start()
    stack.worker.start()
    await stack.postgres.start()


async def _result(handle: WorkflowHandle[Nap], not_before: float) -> Nap:
    result = await handle.result()
    if time.perf_counter() < not_before:
        raise BenchmarkError(f"{handle.id} finished early by our own clock")
    return result


def _lateness(slept: Nap, seconds: float) -> float:
    """Seconds from when the timer was due until the workflow went on, by the log's times."""
    late = slept.ended - slept.began - seconds
    if late < -TICK_SECONDS:
        raise BenchmarkError(f"a timer of {seconds:g} s fired {-late:.6f} s early")
    return late


async def _start_naps(stack: Stack, count: int, seconds: float) -> list[WorkflowHandle[Nap]]:
    handles: list[WorkflowHandle[Nap]] = []

    async def start(number: int) -> None:
        handles.append(await stack.client.start_workflow(nap(seconds), id=f"nap-{number}", task_queue=TASK_QUEUE))

    await at_once(start, count, 200)
    return handles


async def _until_asleep(stack: Stack, count: int) -> None:
    """Return when the timer of each is in the log."""
    try:
        async with asyncio.timeout(ASLEEP_SECONDS_MAX):
            while await stack.query(COUNT_ASLEEP) < count:  # noqa: ASYNC110 - Postgres raises no event
                await asyncio.sleep(LOOK_EVERY_SECONDS)
    except TimeoutError:
        asleep = await stack.query(COUNT_ASLEEP)
        raise BenchmarkError(f"{asleep} of {count} are asleep after {ASLEEP_SECONDS_MAX:.0f} s") from None
