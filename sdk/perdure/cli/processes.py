"""Running one long process: signals, the loop it runs on, and what ends it in order.

SIGTERM and Ctrl-C ask once, politely; a second one ends the process at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from typing import Any, TypeVar

INTERRUPTED = 130
"""128 + SIGINT, as shells say it."""

Outcome = TypeVar("Outcome")


def run_process(main: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Run on the fastest loop there is."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def on_stop_signals(stop: Callable[[], None], kill: Callable[[], None] = lambda: None) -> None:
    """Call `stop` at the first SIGINT, SIGTERM or SIGHUP; at the second `kill`, and end at once."""
    asked: list[int] = []

    def receive(number: int) -> None:
        asked.append(number)
        if len(asked) == 1:
            stop()
        else:
            kill()
            os._exit(INTERRUPTED)

    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        signal.signal(signal.SIGINT, lambda number, _frame: loop.call_soon_threadsafe(receive, number) and None)
        return
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, receive, number)


async def run_until_stopped(main: Coroutine[Any, Any, None]) -> None:
    """Run until it ends by itself or is asked to stop; being asked means cancelled, and it may take its time."""
    task = asyncio.ensure_future(main)
    asked = asyncio.Event()

    def stop() -> None:
        asked.set()
        task.cancel()

    on_stop_signals(stop)
    try:
        await task
    except asyncio.CancelledError:
        if not asked.is_set():
            raise


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop
