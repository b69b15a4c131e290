"""Postgres that is late or away for a while, and a second server on the same database."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from perdure import Client
from perdure.exceptions import RPCError
from perdure_proto.errors import RETRYABLE
from perdure_worker import Worker
from tests.integration.audit import audit
from tests.integration.faults.load import Load
from tests.processes import Machine
from tests.programs.mixed import double, mixed, treble
from tests.programs.slow import quick

pytestmark = pytest.mark.timeout(90)

IMPATIENT = timedelta(seconds=0.5)


async def test_a_server_waits_for_a_late_postgres(box: Machine) -> None:
    """It says what it waits for, callers get a retryable error, and who is patient is served later."""
    dsn = await box.start_postgres()
    await box.postgres.stop()
    server = box.server("server-1", dsn)
    await server.start()
    await server.until_state("waiting for database", "cannot connect to Postgres")
    assert 503 == (await server.readiness())["status"]
    async with (
        await Client.connect(server.address, rpc_timeout=IMPATIENT) as impatient,
        await Client.connect(server.address) as patient,
    ):
        with pytest.raises(RPCError) as caught:
            await impatient.start_workflow(quick, 1)
        assert caught.value.code in RETRYABLE
        assert "waiting for database" in str(caught.value)
        starting = asyncio.create_task(patient.start_workflow(quick, 1, id="patient"))
        await box.postgres.start()
        await server.until_ready()
        assert "patient" == (await starting).id


async def test_nothing_is_lost_while_postgres_is_away(box: Machine) -> None:
    """Work goes on where it was when Postgres is back, and meanwhile an impatient caller gets a retryable error."""
    dsn = await box.start_postgres()
    server = box.server("server-1", dsn)
    await server.restart()
    async with (
        await Client.connect(server.address) as client,
        await Client.connect(server.address, rpc_timeout=IMPATIENT) as impatient,
        Worker(client, workflows=[mixed], activities=[double, treble]),
        Load(client) as load,
    ):
        await load.acknowledged.more(10)
        await box.postgres.stop()
        await server.until_state("waiting for database")
        assert 503 == (await server.readiness())["status"]
        for number in range(3):
            with pytest.raises(RPCError) as caught:
                await impatient.start_workflow(quick, number)
            assert caught.value.code in RETRYABLE
        with pytest.raises(RPCError) as caught:
            await impatient.count_workflows()
        assert caught.value.code in RETRYABLE
        heard = len(server.said)
        await box.postgres.start()
        await server.until_said("server_state", after=heard, state="ready")
        await load.acknowledged.more(20)
        await load.finish()
    await audit(dsn, [mixed])


async def test_a_second_server_of_the_name_waits_and_takes_over(box: Machine) -> None:
    """It says why it waits, does no harm, and serves once the first is dead."""
    dsn = await box.start_postgres()
    first, second = (
        box.server("first", dsn, PERDURE_NAME="server-1"),
        box.server("second", dsn, PERDURE_NAME="server-1"),
    )
    await first.restart()
    async with (
        await Client.connect(first.address) as client,
        Worker(client, workflows=[mixed], activities=[double, treble]),
    ):
        async with Load(client, callers=3) as load:
            await load.acknowledged.more(5)
            await second.start()
            await second.until_state("waiting for ownership", "server-1")
            assert 503 == (await second.readiness())["status"]
            await load.acknowledged.more(20)
            await load.finish()
        assert "ready" == (await first.readiness())["state"]
        handle = await client.start_workflow(quick, 3, id="left behind")
    await first.kill()
    await second.until_ready()
    async with await Client.connect(second.address) as client, Worker(client, workflows=[quick]):
        assert 3 == await client.get_workflow_handle(handle.id).result()
    await audit(dsn, [mixed, quick])
