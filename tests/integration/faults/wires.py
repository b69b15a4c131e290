"""A proxy of the fault suite before one port, for a test that cuts and mends it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.network import HOST, Link


@asynccontextmanager
async def wire_to(port: int) -> AsyncIterator[Link]:
    """A wire to a port of this machine; it carries everything until it is told otherwise."""
    link = Link(f"to {port}", random.Random(1))
    await link.listen(lambda: asyncio.open_connection(HOST, port))
    try:
        yield link
    finally:
        await link.close()


def cut_off(link: Link) -> None:
    """Nothing passes: who is connected hears nothing, and neither does who connects."""
    link.cut(1.0)


def shut(link: Link) -> None:
    """Every connection breaks, and whoever connects is thrown out."""
    link.shut()
