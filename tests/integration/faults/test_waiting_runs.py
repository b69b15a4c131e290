"""Runs that wait for their first task, while the server is killed: what they wait for is in the database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perdure import Client
from perdure_proto.options import RetryPolicy
from tests.integration.audit import audit
from tests.processes import Machine
from tests.programs import model_chains as program

pytestmark = pytest.mark.timeout(120)


async def test_a_killed_server_forgets_no_wait(box: Machine) -> None:
    """A start delay, a backoff and a tick that pass while nobody runs are kept by the server that comes back."""
    dsn = await box.start_postgres()
    server = box.server("server-1", dsn)
    await server.restart()
    worker = box.worker("worker-1", "model_chains.py", server.address)
    await worker.start()
    policy = RetryPolicy(initial_interval=timedelta(seconds=1.5))
    async with await Client.connect(server.address) as client:
        delayed = await client.start_workflow(program.hands_on, 2, start_delay=timedelta(seconds=1.5))
        retried = await client.start_workflow(program.tries, 2, "Boom", retry_policy=policy)
        ticking = await client.start_workflow(program.counts, 9, cron_schedule="@every 2s")
        async for _ in retried.events(follow=True):
            pass  # until the first attempt has failed, and the second waits
        await server.kill()
        await server.start()
        assert (await delayed.result())["waited"] >= 1.5
        [known, _] = await retried.result()
        assert (2, "attempt 1") == (known["attempt"], known["failure"])
        assert 1 == await ticking.result(follow_runs=False)
        await client.get_workflow_handle(ticking.id).terminate()
    assert await audit(dsn, program.WORKFLOWS)
