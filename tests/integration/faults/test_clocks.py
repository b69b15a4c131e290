"""Servers whose clocks are wrong by minutes, or are set while they run: nothing comes early, late, or out of order."""

from __future__ import annotations

import asyncio
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

from perdure import Client
from perdure.client import WorkflowHandle
from tests.integration.audit import audit
from tests.integration.faults.load import Load
from tests.integration.faults.sharing import until_shared
from tests.processes import PROGRAMS, Machine, ServerProcess
from tests.programs.mixed import mixed
from tests.programs.naps import TIMEOUT_SECONDS, nap, times_out

pytestmark = pytest.mark.timeout(120)

FIVE_MINUTES = 300
LATE_SECONDS_MAX = 3.0
"""A heartbeat, a shard on its way, and a machine that runs other tests beside."""
NAP_SECONDS = 4.0
NAPS = 30


def wrong(server: ServerProcess, *, by: int, more: int = 0) -> ServerProcess:
    """The same server with a clock that is wrong by so many seconds."""
    server.program = (str(PROGRAMS / "wrong_clock.py"), str(by), str(more))
    return server


async def three_servers(box: Machine, *, more: int = 0, **settings: str) -> tuple[str, list[ServerProcess]]:
    """The first is ahead, the second behind, the third right."""
    dsn = await box.start_postgres()
    servers = [
        wrong(box.server(f"server-{n}", dsn, PERDURE_DRAIN="60s", **settings), by=by, more=more)
        for n, by in ((1, FIVE_MINUTES), (2, -FIVE_MINUTES), (3, 0))
    ]
    await asyncio.gather(*(server.restart() for server in servers))
    await until_shared(servers)
    return dsn, servers


async def worker_of(box: Machine, program: str, server: ServerProcess) -> None:
    await box.worker(f"worker-of-{program}", program, server.address).start()


async def took(handle: WorkflowHandle[None], began_at: float) -> float:
    """Seconds from the start of a workflow to its end, as they pass here."""
    await handle.result()
    return time.monotonic() - began_at


async def naps(client: Client, prefix: str) -> list[asyncio.Task[float]]:
    """Workflows of all servers that wait, and how long each does."""
    await client.execute_workflow(nap, 0.0, id=f"{prefix}-before", task_queue="default")  # the worker is there
    begun = []
    for n in range(NAPS):
        began_at = time.monotonic()
        handle = await client.start_workflow(nap, NAP_SECONDS, id=f"{prefix}-{n}", task_queue="default")
        begun.append(asyncio.create_task(took(handle, began_at)))
    return begun


async def check_naps(client: Client, prefix: str, begun: list[asyncio.Task[float]]) -> None:
    """None came early or late, by our clock and by the histories."""
    for seconds in await asyncio.gather(*begun):
        assert NAP_SECONDS <= seconds < NAP_SECONDS + LATE_SECONDS_MAX
    now = datetime.now(UTC)
    for n in range(NAPS):
        history = await client.get_workflow_handle(f"{prefix}-{n}").fetch_history()
        times = {event.event_type: event.event_time for event in history.events}
        slept = times["TimerFired"] - times["TimerStarted"]
        assert timedelta(seconds=NAP_SECONDS) <= slept < timedelta(seconds=NAP_SECONDS + LATE_SECONDS_MAX)
        every = [event.event_time for event in history.events]
        assert sorted(every) == every
        assert now - timedelta(minutes=2) < every[0] < every[-1] <= now + timedelta(seconds=1)


async def test_timers_and_timeouts_hold_where_clocks_are_wrong(box: Machine) -> None:
    """Timers ring on time at servers that are five minutes ahead and behind, and an activity times out on time."""
    _, servers = await three_servers(box)
    await worker_of(box, "naps.py", servers[0])
    async with await Client.connect(servers[0].address) as client:
        await check_naps(client, "nap", await naps(client, "nap"))
        began_at = time.monotonic()
        outcomes = [client.execute_workflow(times_out, id=f"out-{n}", task_queue="default") for n in range(6)]
        assert {"TimeoutError"} == set(await asyncio.gather(*outcomes))
        assert TIMEOUT_SECONDS <= time.monotonic() - began_at < TIMEOUT_SECONDS + LATE_SECONDS_MAX


async def test_timers_go_from_a_fast_clock_to_a_slow_one(box: Machine) -> None:
    """Who leaves or is killed while timers run hands them over, and they ring on time at whoever gets them."""
    _, servers = await three_servers(box)
    await worker_of(box, "naps.py", servers[2])
    async with await Client.connect(servers[2].address) as client:
        begun = await naps(client, "left")
        assert 0 == await servers[0].terminate()
        await check_naps(client, "left", begun)
        begun = await naps(client, "killed")
        await servers[1].kill()
        await check_naps(client, "killed", begun)


@pytest.mark.parametrize("more", [200, -200])
async def test_timers_hold_while_a_clock_is_set(box: Machine, more: int) -> None:
    """Neither timers armed before a clock is set ring early or late, nor those after it, before the next heartbeat."""
    _, servers = await three_servers(box, more=more, PERDURE_HEARTBEAT_EVERY="3s", PERDURE_LEASE="30s")
    await worker_of(box, "naps.py", servers[2])
    async with await Client.connect(servers[2].address) as client:
        before = await naps(client, "before")
        for server in servers:
            server.send(signal.SIGUSR1)
        after = await naps(client, "after")
        await check_naps(client, "before", before)
        await check_naps(client, "after", after)


async def test_work_goes_on_where_clocks_are_wrong(box: Machine) -> None:
    """The mix loses nothing while shards go between servers ten minutes apart whose clocks jump."""
    dsn, servers = await three_servers(box, more=-90)
    for name in ("a", "b"):
        await box.worker(f"worker-{name}", "mixed.py", servers[2].address).start()
    async with await Client.connect(servers[2].address) as client, Load(client) as load:
        for server in servers[:2]:
            await load.acknowledged.more(8)
            assert 0 == await server.terminate()
            await load.acknowledged.more(8)
            await server.restart()
            server.send(signal.SIGUSR1)
            await until_shared(servers)
        await load.finish()
    assert len(load.callers) <= await audit(dsn, [mixed])
