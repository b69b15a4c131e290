"""Heartbeats of a worker that is killed."""

from __future__ import annotations

import pytest

from perdure import Client
from tests.integration.audit import audit
from tests.processes import Machine
from tests.programs.beating import CAME_SO_FAR, HALF, reads

pytestmark = pytest.mark.timeout(120)


async def test_another_worker_goes_on_where_the_killed_one_was(box: Machine) -> None:
    """The server notices that the worker is lost, and the next attempt finds what the last heartbeat carried."""
    dsn = await box.start_postgres()
    server = box.server("server-1", dsn)
    await server.restart()
    first = box.worker("worker-1", "beating.py", server.address)
    await first.start()
    async with await Client.connect(server.address) as client:
        handle = await client.start_workflow(reads, id="reads")
        await first.until_said(CAME_SO_FAR)
        while (await handle.describe()).pending_activities[0].last_heartbeat_time is None:
            pass
        await first.kill()
        second = box.worker("worker-2", "beating.py", server.address)
        await second.start()
        assert [2, HALF] == await handle.result()
    assert 1 == await audit(dsn, [reads])
