"""One cluster for each test, checked for the invariants when the test is over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.engine import Cluster, OneServer, Worker, cluster_on
from tests.invariants import check_database


@pytest_asyncio.fixture
async def cluster(database_url: str) -> AsyncIterator[Cluster]:
    async with cluster_on(database_url) as opened:
        yield opened
    await check_database(database_url)


@pytest_asyncio.fixture
async def server(cluster: Cluster) -> OneServer:
    return await cluster.server()


@pytest_asyncio.fixture
async def worker(server: OneServer) -> Worker:
    return Worker(server)
