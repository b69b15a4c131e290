"""How long a replay takes, by the length of the history: read as JSON and run, as for a worker that must begin anew."""

from __future__ import annotations

import statistics
import time

from perdure_proto.codec import decode_events, encode_events
from perdure_worker import Replayer
from tests.benchmarks.growth.counts import GrowthCounts
from tests.benchmarks.growth.curve import Curve, Finding, Growth, Line
from tests.benchmarks.growth.one_long import STEP_EVENTS
from tests.benchmarks.programs import Parcel, in_sequence
from tests.benchmarks.stack import TASK_QUEUE, Stack, running_stack

SECONDS_MOST = {10_000: 0.5}


async def measure(counts: GrowthCounts) -> Growth:
    """Real histories, replayed in this process."""
    async with running_stack() as stack:
        histories = {length: await _history(stack, length) for length in counts.replay_events}
    whole, decoding = Line("decoded and run", []), Line("decoded", [])
    for length, encoded in histories.items():
        seconds = [_replay_seconds(encoded) for _ in range(max(counts.repeats, 3))]
        whole.points.append((length, statistics.median(sum(one) for one in seconds) * 1000))
        decoding.points.append((length, statistics.median(decode for decode, _ in seconds) * 1000))
    return Growth(
        curves=[Curve(name="growth-replay", x="events in the history", y="ms", lines=[whole, decoding], log_x=True)],
        findings=[
            Finding(
                what=f"replay of {length:,.0f} events",
                amount=taken / 1000,
                unit="s",
                most=SECONDS_MOST.get(round(length)),
            )
            for length, taken in whole.points
        ],
    )


async def _history(stack: Stack, length: int) -> bytes:
    handle = await stack.client.start_workflow(
        in_sequence(Parcel(0), length // STEP_EVENTS), id=f"history-{length}", task_queue=TASK_QUEUE
    )
    await handle.result()
    return encode_events((await handle.fetch_history()).events)


def _replay_seconds(encoded: bytes) -> tuple[float, float]:
    """Of decoding, and of running."""
    began = time.perf_counter()
    events = decode_events(encoded)
    decoded = time.perf_counter()
    Replayer([in_sequence]).replay(events)
    return decoded - began, time.perf_counter() - decoded
