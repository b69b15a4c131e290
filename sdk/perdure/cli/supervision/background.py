"""Tasks beside a main one. A programming error in any of them ends the main one with it: nothing dies unheard."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from typing import Any


class Background:
    """Starts tasks that the main task, the one that made this, does not wait for."""

    def __init__(self) -> None:
        self._main = asyncio.current_task()
        self.error: BaseException | None = None

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it until it ends or is cancelled."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        self.error = self.error or error
        if self._main is not None:
            self._main.cancel()


@contextmanager
def background() -> Generator[Background]:
    """Background tasks for a block, which ends with the first error of theirs."""
    tasks = Background()
    try:
        yield tasks
    except asyncio.CancelledError:
        if tasks.error is not None:
            raise tasks.error from None
        raise
