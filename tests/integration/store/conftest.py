"""Stores for the tests.

Tests that ask for `store` and `fence` alone know only the port: they are the conformance suite, for every store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from perdure_server.store.port import Fence, Store
from perdure_server.store.postgres import PostgresStore


@pytest_asyncio.fixture
async def postgres_store(database_url: str) -> AsyncIterator[PostgresStore]:
    async with await PostgresStore.open(database_url) as opened:
        yield opened


@pytest_asyncio.fixture
async def store(postgres_store: PostgresStore) -> Store:
    return postgres_store


@pytest_asyncio.fixture
async def fence(store: Store) -> Fence:
    return await store.take_fence("server-1")


@pytest_asyncio.fixture
async def control(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of the test's own, beside the store."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
