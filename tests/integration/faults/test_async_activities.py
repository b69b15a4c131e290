"""Activities that wait for a person while every process dies."""

from __future__ import annotations

import aiohttp
import asyncpg
import pytest

from perdure import Client
from perdure_proto.codec import encoder
from tests.integration.audit import audit
from tests.processes import Machine, Process
from tests.programs.leaving import LEFT, asks

pytestmark = pytest.mark.timeout(120)


def left(worker: Process) -> list[tuple[str, str]]:
    """Attempt and token of each that has left the worker."""
    told = [str(told.get("event", "")).split() for told in worker.said]
    return [(words[-2], words[-1]) for words in told if words[:-2] == LEFT.split()]


async def until_all_have_left(dsn: str, count: int) -> None:
    """Waits until rows say that so many attempts are in nobody's hands."""
    connection = await asyncpg.connect(dsn)
    try:
        while count > await connection.fetchval("select count(*) from activities where session = ''"):
            pass
    finally:
        await connection.close()


async def complete_over_http(address: str, **body: str) -> int:
    path = f"{address}/api/v1/namespaces/default/activity-tasks/complete"
    headers = {"Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(path, data=encoder.encode(body), headers=headers) as answer,
    ):
        return answer.status


async def complete_on_the_command_line(box: Machine, address: str, *words: str) -> int:
    command = Process("complete", ("activity", "complete", *words, "--address", address), {}, box.folder)
    await command.start()
    return await command.ended()


async def test_what_has_left_outlives_worker_and_server(box: Machine) -> None:
    """Worker and server are killed; first attempts are completed over HTTP by token and on the command line by ids."""
    dsn = await box.start_postgres()
    server = box.server("server-1", dsn)
    await server.restart()
    worker = box.worker("worker-1", "leaving.py", server.address)
    await worker.start()
    async with await Client.connect(server.address) as client:
        first = await client.start_workflow(asks, id="first")
        await until_all_have_left(dsn, 1)
        second = await client.start_workflow(asks, id="second")
        await until_all_have_left(dsn, 2)
        await worker.kill()
        await server.kill()
        await server.restart()
        await worker.start()
        token = left(worker)[0][1]
        assert 200 == await complete_over_http(server.address, task_token=token, result="over HTTP")
        words = ("--workflow-id", "second", "--activity-id", "the-question", "--result", '"typed"')
        assert 0 == await complete_on_the_command_line(box, server.address, *words)
        assert ["over HTTP", "typed"] == [await first.result(), await second.result()]
    assert ["1", "1"] == [attempt for attempt, _ in left(worker)]
    assert 2 == await audit(dsn, [asks])
