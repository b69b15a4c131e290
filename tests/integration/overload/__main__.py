"""The figures of overload, in full numbers, by hand: `make overload`.

10,000 idle and 10,000 slow connections, a task with 10 and with 1,000 parked polls, and a burst of starts on a stalled
database with the bounds that a server has by default.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter

from perdure import Client
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
from tests.processes import machine
from tests.programs.slow import quick

IDLE = 10_000
BURST = 30_000
STALLED_SECONDS = 8.0
SENDERS = 500


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
    """Starts as fast as they can be sent while the database stands still, then until all are accepted."""
    async with machine() as box:
        dsn = await box.start_postgres()
        server = box.server("server-1", dsn)
        await server.restart()
        async with raw_client() as session:
            await start(session, server, "first")
            before, most, numbers = rss_mib(server), 0.0, iter(range(BURST))
            statuses: Counter[int] = Counter()

            async def send() -> None:
                for number in numbers:
                    statuses[(await start(session, server, f"burst-{number}")).status] += 1

            async with locked_history(dsn):
                # Each is answered when it is refused, or when the lock has gone: so there are as many as are to wait.
                senders = [asyncio.create_task(send()) for _ in range(10_000 + SENDERS)]
                until = time.monotonic() + STALLED_SECONDS
                while time.monotonic() < until:
                    await asyncio.wait(senders, timeout=0.2)
                    most = max(most, rss_mib(server))
                stalled = dict(statuses)
            began = time.monotonic()
            await asyncio.gather(*senders)
            drained, after = time.monotonic() - began, rss_mib(server)
    say(f"a burst of {BURST} starts: {stalled} while stalled, {dict(statuses)} in all")
    say(f"RSS {before:.0f} MiB before, {most:.0f} at most while stalled, {after:.0f} after; drained in {drained:.1f} s")


async def main() -> None:
    await measure_connections(b"", "idle")
    await measure_connections(b"GET /api/v1/version HTTP/1.1\r\nHost: 127.0", "slow")
    await measure_pollers()
    await measure_burst()


if __name__ == "__main__":
    asyncio.run(main())
