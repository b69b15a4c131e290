"""`wait_condition`: what is asked each time the loop comes to rest, in the order of creation.

It must not know the loop or history: the driver asks, and runs the loop again while something became true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Conditions:
    """The conditions that workflow code waits for."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def add(self, fn: Callable[[], bool], future: asyncio.Future[None]) -> None:
        """From now on `fn` is asked; `future` is done when it says so, or raises."""
        self._waiting.append((fn, future))

    def check(self) -> bool:
        """Asks all; whether any became true, so that there is something to run."""
        if not self._waiting:
            return False
        asked, self._waiting = self._waiting, []
        self._waiting[:0] = [one for one in asked if not _is_settled(*one)]
        return any(future.done() and not future.cancelled() for _, future in asked)


def _is_settled(fn: Callable[[], bool], future: asyncio.Future[None]) -> bool:
    if future.done():
        return True
    try:
        if fn():
            future.set_result(None)
    except Exception as error:  # noqa: BLE001 - it is raised where the condition is awaited
        future.set_exception(error)
    return future.done()
