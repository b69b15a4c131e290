"""Going back while an activity's transaction may be about to commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from perdure_proto.errors import ServiceError
from tests.engine import SHARDS, Cluster, OneServer, Worker, is_waiting
from tests.integration.engine.paying import Payments, begun, payments_in
from tests.integration.engine.test_reset import reset

SEALS = "select 1 from outcomes where seal is not null"


@pytest_asyncio.fixture
async def payments(database_url: str) -> AsyncIterator[Payments]:
    async with payments_in(database_url) as opened:
        yield opened


async def test_a_transaction_of_the_old_run_cannot_commit_after_a_reset(
    server: OneServer, worker: Worker, payments: Payments
) -> None:
    """It was begun before, and is sealed; the activity is run anew."""
    _, place = await begun(server, worker)
    transaction = await payments.transaction(place)
    await transaction.begin()
    await server.signal()
    await worker.turn()
    answer = await reset(server, point="last")
    assert "sealed" == await transaction.record()
    await transaction.roll_back()
    assert answer.run_id == (await Worker(server, "worker-2").activity_task()).run_id


async def test_a_reset_waits_for_a_transaction_that_has_recorded(
    server: OneServer, worker: Worker, payments: Payments
) -> None:
    """It commits, and its result is in the log of the old run before that ends."""
    _, place = await begun(server, worker)
    base = server.run().run_id
    transaction = await payments.transaction(place)
    await transaction.begin()
    assert "recorded" == await transaction.record()
    asking = asyncio.ensure_future(reset(server, point="first"))
    assert await is_waiting(asking)
    await transaction.commit()
    await asking
    types = await server.event_types(run_id=base)
    assert ["ActivityTaskCompleted", "WorkflowExecutionTerminated"] == [types[-3], types[-1]]


async def test_a_reset_that_is_not_made_leaves_no_seal(
    cluster: Cluster, server: OneServer, worker: Worker, payments: Payments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction can commit all the same."""
    _, place = await begun(server, worker)
    monkeypatch.setattr("perdure_server.engine.messages_after.MessagesAfter.are_complete", lambda *_: False)
    with pytest.raises(ServiceError, match="pause the workflow"):
        await reset(server, point="first")
    assert [] == await cluster.rows(SEALS)
    assert "recorded" == await (await payments.transaction(place)).pay()
    assert 1 == await server.store.delete_orphans(range(SHARDS), 10, timedelta(0))
