"""One worker on two real servers: each has a Postgres database of its own, and the client is told that they are one
cluster. So the worker's links meet real matching, though no shard ever moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from perdure import Client, activity, workflow
from perdure._cluster import Cluster
from perdure.client import WorkflowHandle
from perdure_proto.cluster import ClusterAnswer, ClusterMember
from perdure_worker import Worker
from tests.integration.model.stack import served
from tests.postgres import fresh_database

STEPS = 3


@activity.defn(start_to_close_timeout=timedelta(seconds=30))
async def add(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@workflow.defn
async def chain(start: int) -> int:
    for step in range(STEPS):
        start = await add(start, step)
    return start


@workflow.defn
async def fan_out(width: int) -> int:
    return sum(await asyncio.gather(*[add(n, 0) for n in range(width)]))


class Pair:
    """Clients of the two servers, and one that takes them for a cluster."""

    def __init__(self, first: Client, second: Client, both: Client) -> None:
        self.each = (first, second)
        self.both = both


@asynccontextmanager
async def pair(postgres: str, template: str) -> AsyncIterator[Pair]:
    async with (
        fresh_database(postgres, template=template) as one,
        fresh_database(postgres, template=template) as two,
        served(one) as here,
        served(two) as there,
        await Client.connect(here) as first,
        await Client.connect(there) as second,
        await Client.connect(here) as both,
    ):
        members = tuple(ClusterMember(server="", address=address) for address in (here, there))
        cluster = both.service.connection
        cluster.members.take(ClusterAnswer(shards=2, members=members, owners=(0, 1)))
        yield Pair(first, second, both)


async def run_both(given: Pair, count: int) -> None:
    """So many chains and a wide one at each server, all at once."""
    running: list[WorkflowHandle[int]] = []
    for client in given.each:
        running += await asyncio.gather(
            client.start_workflow(fan_out, 100), *[client.start_workflow(chain, n) for n in range(count)]
        )
    wide, chained = sum(range(100)), [n + sum(range(STEPS)) for n in range(count)]
    async with asyncio.timeout(40):
        results = await asyncio.gather(*[handle.result() for handle in running])
    assert [wide, *chained] * 2 == results


@pytest.fixture(autouse=True)
def _two_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither server knows of the other: what the client was told stays."""

    async def look(_: Cluster) -> bool:
        return True

    monkeypatch.setattr(Cluster, "_look", look)


@pytest.mark.parametrize("slots", [1, 7, 100])
async def test_a_worker_does_the_work_of_both(postgres: str, migrated_template: str, slots: int) -> None:
    """With few slots or many, all that either server has is done."""
    async with (
        pair(postgres, migrated_template) as given,
        Worker(
            given.both,
            workflows=[chain, fan_out],
            activities=[add],
            max_concurrent_workflow_tasks=slots,
            max_concurrent_activities=slots,
        ),
    ):
        await run_both(given, 60)
