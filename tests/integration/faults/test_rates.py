"""Rates of task queues and namespaces over three servers, and what they say of a queue together."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus

import aiohttp
import pytest

from perdure import Client, Priority
from perdure.client import WorkflowHandle
from perdure_proto.events import ActivityTaskStarted
from perdure_proto.service import DescribeTaskQueueAnswer
from perdure_server.rates.homes import RateKey, home_of
from perdure_worker import Worker
from tests.integration.faults.sharing import until_shared
from tests.processes import Machine, ServerProcess
from tests.programs import model_priorities as program

pytestmark = pytest.mark.timeout(120)

QUEUE = "slow"
PER_SECOND = 20
WORKFLOWS, ACTIVITIES_EACH = 20, 5
QUEUE_BURST = PER_SECOND * 0.2 + 3
"""What may leave at once: a fifth of a second's worth together, and one more at each server."""
RPS_MAX, REQUESTS = 30, 120
LATE_SECONDS_MAX = 0.25
"""From the bucket to the time that is measured, more for one than for another: hand-out, and a busy machine."""


@asynccontextmanager
async def three_servers(box: Machine) -> AsyncIterator[tuple[list[ServerProcess], Client]]:
    dsn = await box.start_postgres()
    servers = [box.server(f"server-{n}", dsn) for n in (1, 2, 3)]
    await asyncio.gather(*(server.restart() for server in servers))
    await until_shared(servers)
    key = RateKey("default", QUEUE, "activity")
    home = home_of(key, [server.name for server in servers])
    servers.sort(key=lambda server: server.name != home)
    async with await Client.connect(servers[1].address) as client:
        yield servers, client


async def described(client: Client) -> DescribeTaskQueueAnswer:
    path = f"/api/v1/namespaces/default/task-queues/{QUEUE}"
    return await client.service.connection.call("GET", path, None, DescribeTaskQueueAnswer)


async def flood(client: Client) -> list[WorkflowHandle[int]]:
    """Workflows at every server, whose activities all wait in a queue that nobody polls yet."""
    tasks = [(str(number), Priority()) for number in range(ACTIVITIES_EACH)]
    handles = await asyncio.gather(
        *[client.start_workflow(program.floods, QUEUE, tasks, id=f"flood-{n}") for n in range(WORKFLOWS)]
    )
    while (await described(client)).activity_backlog < WORKFLOWS * ACTIVITIES_EACH:
        pass
    return list(handles)


async def starts_of(handles: Sequence[WorkflowHandle[int]]) -> list[float]:
    """When each activity was started, as the histories say."""
    starts: list[float] = []
    for handle in handles:
        history = await handle.fetch_history()
        starts += [event.event_time.timestamp() for event in history.events if isinstance(event, ActivityTaskStarted)]
    return sorted(starts)


def most_over(times: Sequence[float], per_second: float) -> float:
    """By how many those of any stretch of time are more than the rate lets go in it."""
    return max(
        1 + last - first - (times[last] - times[first]) * per_second
        for last in range(len(times))
        for first in range(last + 1)
    )


def limited_worker(client: Client) -> Worker:
    return Worker(
        client, task_queue=QUEUE, activities=program.ACTIVITIES, max_task_queue_activities_per_second=PER_SECOND
    )


async def until_all_are_done(handles: Sequence[WorkflowHandle[int]]) -> list[float]:
    """The starts of all activities."""
    assert [ACTIVITIES_EACH] * WORKFLOWS == await asyncio.gather(*[handle.result() for handle in handles])
    starts = await starts_of(handles)
    assert WORKFLOWS * ACTIVITIES_EACH == len(starts)
    return starts


async def test_a_queue_keeps_its_rate_over_servers(box: Machine) -> None:
    """A hundred activities that wait at three servers take five seconds, as they would at one."""
    async with three_servers(box) as (_, client), Worker(client, workflows=program.WORKFLOWS):
        handles = await flood(client)
        async with limited_worker(client):
            starts = await until_all_are_done(handles)
    assert most_over(starts, PER_SECOND) <= QUEUE_BURST + PER_SECOND * LATE_SECONDS_MAX
    # Shares follow demand a second behind, and the last few tasks leave at the pace of one share.
    assert starts[-1] - starts[0] <= WORKFLOWS * ACTIVITIES_EACH / PER_SECOND + 4


async def test_a_queue_keeps_its_rate_when_its_home_dies(box: Machine) -> None:
    """The others go on with their shares, and the next home gives the dead one's away; all is done."""
    async with three_servers(box) as (servers, client), Worker(client, workflows=program.WORKFLOWS):
        handles = await flood(client)
        async with limited_worker(client):
            while (await described(client)).activity_backlog > WORKFLOWS * ACTIVITIES_EACH * 0.7:
                pass
            await servers[0].kill()
            starts = await until_all_are_done(handles)
    assert most_over(starts, PER_SECOND) <= QUEUE_BURST + PER_SECOND * LATE_SECONDS_MAX


async def test_a_namespace_takes_so_many_requests_from_all_servers(box: Machine) -> None:
    """Whoever asks whichever server: over the limit they are told when to come back."""
    taken: list[float] = []
    refused: list[aiohttp.ClientResponse] = []

    async def ask(server: ServerProcess, session: aiohttp.ClientSession) -> None:
        while len(taken) < REQUESTS:
            async with session.get(f"{server.address}/api/v1/namespaces/default/workflow-count") as answer:
                if answer.status == HTTPStatus.OK:
                    taken.append(time.monotonic())
                else:
                    refused.append(answer)

    async with three_servers(box) as (servers, _), aiohttp.ClientSession() as session:
        url = f"{servers[2].address}/api/v1/namespaces/default/update"
        async with session.post(url, json={"rps_max": RPS_MAX}) as answer:
            assert HTTPStatus.OK == answer.status
        await asyncio.gather(*[ask(server, session) for server in servers])
    assert {HTTPStatus.TOO_MANY_REQUESTS} == {answer.status for answer in refused}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert most_over(taken, RPS_MAX) <= RPS_MAX + len(servers) + RPS_MAX * LATE_SECONDS_MAX
    assert taken[-1] - taken[0] <= REQUESTS / RPS_MAX + 4


async def test_a_task_queue_is_described_by_all_servers(box: Machine) -> None:
    """Pollers and backlogs of all; a server that stands still is named until it is known to be dead."""
    async with three_servers(box) as (servers, client):
        async with Worker(client, workflows=program.WORKFLOWS), limited_worker(client):
            assert (await described(client)).servers == ("server-1", "server-2", "server-3")
            await until(client, lambda answer: len(answer.pollers) == 1)
            assert PER_SECOND == (await described(client)).activities_per_second
        async with Worker(client, workflows=program.WORKFLOWS):
            await flood(client)
        servers[0].send(signal.SIGSTOP)
        await servers[0].until_stopped()
        answer = await until(client, lambda answer: bool(answer.silent))
        assert (servers[0].name,) == answer.silent
        assert {server.name for server in servers[1:]} == set(answer.servers)
        assert 0 < answer.activity_backlog < WORKFLOWS * ACTIVITIES_EACH
        servers[0].send(signal.SIGCONT)


async def until(client: Client, fits: Callable[[DescribeTaskQueueAnswer], bool]) -> DescribeTaskQueueAnswer:
    while not fits(answer := await described(client)):
        pass
    return answer
