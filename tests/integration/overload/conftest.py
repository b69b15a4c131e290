"""What the tests of overload run on."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.processes import Machine, machine


@pytest_asyncio.fixture
async def box() -> AsyncIterator[Machine]:
    """Processes of this test's own."""
    async with machine() as running:
        yield running
