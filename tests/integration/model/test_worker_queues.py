"""Worker-specific task queues: a workflow that stays with one of several workers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from perdure import Client
from perdure_worker import Worker
from tests.integration.audit import audit
from tests.integration.model.stack import served
from tests.postgres import fresh_database
from tests.programs import model_hosts as program
from tests.programs.model_hosts import STEPS, Host

pytestmark = pytest.mark.timeout(60)
RUNS = 20


async def test_a_workflow_stays_with_the_worker_that_it_found(postgres: str, migrated_template: str) -> None:
    """All steps run where the first one left its file, though two workers share the queue of the first."""
    async with fresh_database(postgres, template=migrated_template) as dsn:
        async with served(dsn) as address, await Client.connect(address) as client, AsyncExitStack() as running:
            hosts = [Host("host-a"), Host("host-b")]
            for host in hosts:
                only_here = [host.download, host.read]
                shared = Worker(
                    client,
                    task_queue="shared",
                    workflows=program.WORKFLOWS,
                    activities=[host.reserve],
                    max_concurrent_activities=1,
                )
                await running.enter_async_context(shared)
                await running.enter_async_context(Worker(client, task_queue=host.own_queue, activities=only_here))
            found = await asyncio.gather(
                *(client.execute_workflow(program.stays, f"f{n}", task_queue="shared") for n in range(RUNS))
            )
        for number, (queue, *read) in enumerate(found):
            assert [f"f{number} on {queue}"] * STEPS == read
        assert {host.own_queue for host in hosts} == {queue for queue, *_ in found}
        assert RUNS == await audit(dsn, program.WORKFLOWS)
