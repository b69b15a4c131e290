"""More work than Postgres takes: it is refused at the door, memory stays bounded, and what was accepted is done."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice

import pytest

from perdure import Client
from perdure_worker import Worker
from tests.integration.audit import audit
from tests.integration.overload.crowd import locked_history, raw_client, rss_mib, start
from tests.processes import Machine
from tests.programs.slow import quick

pytestmark = pytest.mark.timeout(90)

WAITING_MAX = 100
SMALL_BATCHES = {"PERDURE_ENGINE_BATCH_ROWS_MAX": "20"}
BURST = 600
PATIENT_CALLERS = 200
RSS_GROWTH_MIB_MAX = 80


async def test_a_burst_on_a_stalled_database_is_refused_and_drains(box: Machine) -> None:
    """Beyond the bound a start gets 429 and Retry-After; what was accepted is in the log once, and the SDK succeeds."""
    dsn = await box.start_postgres()
    server = box.server("server-1", dsn, PERDURE_ENGINE_COMMITS_WAITING_MAX=str(WAITING_MAX), **SMALL_BATCHES)
    await server.restart()
    async with await Client.connect(server.address) as client, raw_client() as session:
        await client.start_workflow(quick, 0, id="before")
        before = rss_mib(server)
        async with locked_history(dsn):
            burst = [asyncio.create_task(start(session, server, f"burst-{number}")) for number in range(BURST)]
            for answered in islice(asyncio.as_completed(burst), BURST - 2 * WAITING_MAX):
                assert 429 == (await answered).status
            patient = [
                asyncio.create_task(client.start_workflow(quick, number, id=f"patient-{number}"))
                for number in range(PATIENT_CALLERS)
            ]
            assert 429 == (await start(session, server, "one more")).status
            assert rss_mib(server) < before + RSS_GROWTH_MIB_MAX
        answers = await asyncio.gather(*burst)
        handles = await asyncio.gather(*patient)
        async with Worker(client, workflows=[quick]):
            results = await asyncio.gather(*(handle.result() for handle in handles))
    assert list(range(PATIENT_CALLERS)) == results
    statuses = Counter(answer.status for answer in answers)
    assert {200, 429} == set(statuses)
    told = next(answer for answer in answers if answer.status == 429)
    assert ("1", "RESOURCE_EXHAUSTED") == (told.retry_after, told.body["code"])
    assert {"limit": "commits_waiting_max", "max": WAITING_MAX, "retry_after": 1} == told.body["details"]
    assert statuses[200] + PATIENT_CALLERS + 1 == await audit(dsn, [quick])
