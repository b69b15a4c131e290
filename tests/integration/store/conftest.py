"""Stores for the tests.

Tests that ask for `store` and `fence` alone know only the port: they are the conformance suite, for every store. Those
that also ask for a database are about Postgres, and run on it alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from perdure_server.store.model import ModelStore
from perdure_server.store.port import Fence, Store
from perdure_server.store.postgres import PostgresStore
from tests.integration.store.members import Town, town_on


@pytest_asyncio.fixture
async def postgres_store(database_url: str) -> AsyncIterator[PostgresStore]:
    async with await PostgresStore.open(database_url) as opened:
        yield opened


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store" in metafunc.fixturenames:
        stores = ["postgres"] if "database_url" in metafunc.fixturenames else ["postgres", "model"]
        metafunc.parametrize("store", stores, indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "model":
        return ModelStore()
    found: Store = request.getfixturevalue("postgres_store")  # a database only for who needs one
    return found


@pytest_asyncio.fixture
async def fence(store: Store) -> Fence:
    return await store.take_fence("server-1")


@pytest_asyncio.fixture
async def control(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of the test's own, beside the store."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def town(database_url: str) -> AsyncIterator[Town]:
    """The members of a cluster."""
    async with town_on(database_url) as town:
        yield town
