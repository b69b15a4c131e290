"""Fixtures that every suite may ask for."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.postgres import FORGETFUL, create_template, fresh_database, run_postgres

DURABLE_OPTION = "--durable-postgres"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(DURABLE_OPTION, action="store_true", help="run Postgres with the settings of production")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The DSN of the session's Postgres, as a superuser."""
    settings = None if request.config.getoption(DURABLE_OPTION) else FORGETFUL
    async with run_postgres(settings) as dsn:
        yield dsn


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_template(postgres: str) -> str:
    return await create_template(postgres)


@pytest_asyncio.fixture
async def empty_database_url(postgres: str) -> AsyncIterator[str]:
    """The DSN of an empty database of this test's own."""
    async with fresh_database(postgres) as dsn:
        yield dsn


@pytest_asyncio.fixture
async def database_url(postgres: str, migrated_template: str) -> AsyncIterator[str]:
    """The DSN of a migrated database of this test's own."""
    async with fresh_database(postgres, template=migrated_template) as dsn:
        yield dsn
