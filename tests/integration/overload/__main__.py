"""The figures of overload, in full numbers, by hand: `make overload`.

10,000 idle and 10,000 slow connections, a task with 10 and with 1,000 parked polls, and a burst of starts on a stalled
database with the bounds that a server has by default.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter

import aiohttp

from perdure import Client
from perdure_proto.channel import decode_answers, encode_request, frame
from perdure_proto.codec import encoder
from tests.integration.overload.crowd import (
    closing,
    connections,
    locked_history,
    raw_client,
    rss_mib,
    start,
    until_open,
)
from tests.integration.overload.test_crowds import POLLERS, cpu_of_tasks, served
from tests.processes import ServerProcess, machine
from tests.programs.slow import quick

IDLE = 10_000
CHANNELS = 15
BURST = 1_000
STALLED_SECONDS = 8.0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def measure_connections(words: bytes, name: str) -> None:
    """What a connection costs that says no more than this, and how long others wait meanwhile."""
    async with machine() as box:
        _, server = await served(box)
        async with await Client.connect(server.address) as client:
            await client.start_workflow(quick, 0)
            before = rss_mib(server)
            with closing(await connections(server, IDLE, words)):
                await until_open(server, IDLE)
                kib = (rss_mib(server) - before) * 1024 / IDLE
                began = time.monotonic()
                await client.start_workflow(quick, 0)
                waited = (time.monotonic() - began) * 1000
    say(f"{IDLE} {name} connections: {kib:.1f} KiB each; a start beside them takes {waited:.0f} ms")


async def measure_pollers() -> None:
    """What a task costs."""
    async with machine() as box:
        _, server = await served(box)
        few, many = [await cpu_of_tasks(server, pollers, f"p{pollers}") for pollers in (10, POLLERS)]
    say(f"CPU of 100 tasks: {few:.2f} s with 10 parked polls, {many:.2f} s with {POLLERS}")


async def measure_burst() -> None:
    """Starts as fast as they can be sent while the database stands still, then until all are answered."""
    async with machine() as box:
        dsn = await box.start_postgres()
        server = box.server("server-1", dsn)
        await server.restart()
        async with raw_client() as session:
            await start(session, server, "first")
            before = rss_mib(server)
            statuses: Counter[int] = Counter()
            async with locked_history(dsn):
                bursts = [asyncio.create_task(burst(session, server, number, statuses)) for number in range(CHANNELS)]
                await asyncio.wait(bursts, timeout=STALLED_SECONDS)
                stalled, most = dict(statuses), rss_mib(server)
            began = time.monotonic()
            await asyncio.gather(*bursts)
            drained, after = time.monotonic() - began, rss_mib(server)
    say(f"{CHANNELS * BURST} starts: {stalled} answered while stalled, {dict(statuses)} in all")
    say(f"RSS {before:.0f} MiB before, {most:.0f} while stalled, {after:.0f} after; drained in {drained:.1f} s")


async def burst(session: aiohttp.ClientSession, server: ServerProcess, number: int, statuses: Counter[int]) -> None:
    """Starts over one channel, all at once."""
    body = encoder.encode({"workflow_type": "nobody", "task_queue": "nobody", "input": ["x" * 1_000]})
    path = "/api/v1/namespaces/default/workflows"
    items = [encode_request(each, "POST", f"{path}/burst-{number}-{each}", body) for each in range(BURST)]
    async with session.ws_connect(f"{server.address}/api/v1/channel", max_msg_size=0) as socket:
        await socket.send_bytes(frame(items))
        left = BURST
        while left:
            answers = decode_answers(await socket.receive_bytes())
            statuses.update(answer.status for answer in answers)
            left -= len(answers)


async def main() -> None:
    await measure_connections(b"", "idle")
    await measure_connections(b"GET /api/v1/version HTTP/1.1\r\nHost: 127.0", "slow")
    await measure_pollers()
    await measure_burst()


if __name__ == "__main__":
    asyncio.run(main())
