"""An address where nobody listens: one knocks for all who want to come in, a few dozen times a second.

A server that is started again has a worker's polls and a client's results waiting for it, hundreds of them. Were each
to try by itself, they would take from it the processor that it needs to start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

KNOCK_PAUSE_SECONDS: Final = 0.02
"""From a refusal until the next knock: less than anybody waits before it tries again."""


class Door:
    """Open until somebody finds it shut; then until a knock is answered. `knock` gives the refusal, if it was one."""

    def __init__(self, knock: Callable[[], Awaitable[OSError | None]]) -> None:
        self.is_shut: bool = False
        self._knock = knock
        self._refused_at = 0.0
        self._knocking: asyncio.Task[OSError | None] | None = None

    def shut(self) -> None:
        """Nobody listened."""
        self.is_shut = True
        self._refused_at = time.monotonic()

    async def refusal(self, timeout: float) -> OSError | None:
        """Why nobody comes in; None if the door is open now. Raises `TimeoutError` when nothing is known by then."""
        if self._knocking is None or self._knocking.done():
            self._knocking = asyncio.get_running_loop().create_task(self._knock_once())
        await asyncio.wait([knocking := self._knocking], timeout=timeout)
        if not knocking.done():
            raise TimeoutError
        return ConnectionError("the client is closed") if knocking.cancelled() else knocking.result()

    async def _knock_once(self) -> OSError | None:
        await asyncio.sleep(self._refused_at + KNOCK_PAUSE_SECONDS - time.monotonic())
        error = await self._knock()
        if error is None:
            self.is_shut = False
        else:
            self.shut()
        return error

    async def close(self) -> None:
        """Nobody knocks any more."""
        if self._knocking is not None:
            self._knocking.cancel()
            await asyncio.wait([self._knocking])
