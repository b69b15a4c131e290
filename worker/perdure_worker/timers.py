"""Durable timers: the port of the loop, and timers that workflow code starts itself.

A timer is known to the loop by the number in its id. It must not know asyncio's handles: firing is a callback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from perdure_proto.commands import StartTimer
from perdure_worker.futures import Started
from perdure_worker.replay.machines.timer import TimerMachine

if TYPE_CHECKING:
    from perdure_worker.run import Run

SHORTEST: Final = timedelta(milliseconds=1)
"""A timer takes at least this long: history keeps no instant."""


class Timers:
    """The timers of one run, as `TimerPort` and by future."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._waiting: dict[int, TimerMachine] = {}

    def start_timer(self, delay_s: float, callback: Callable[[], None]) -> int:
        """Starts a timer for the loop."""
        return self._start(delay_s, callback, "")[0]

    def cancel_timer(self, timer: int) -> None:
        """Cancels a timer that has neither fired nor been cancelled."""
        self._run.require_commands("cancelling a timer")
        machine = self._waiting.pop(timer, None)
        if machine is not None:
            self._run.execution.cancel_timer(machine)

    def start(self, delay_s: float, summary: str) -> asyncio.Future[None]:
        """Starts a timer for workflow code."""
        future = Started(self, self._run.loop, self._run.loop.next_creation_hash())
        if delay_s <= 0:
            self._run.loop.call_soon(_fire, future)
        else:
            future.machine = self._start(delay_s, lambda: _fire(future), summary)[1]
        return future

    def cancel_started(self, future: Started) -> bool:
        """Workflow code waits no longer for a timer that it started."""
        if future.machine is not None and not self._run.gone:
            self.cancel_timer(int(future.machine.name))
        return True

    def fire(self, machine: TimerMachine) -> None:
        """History says that its time came."""
        self._waiting.pop(int(machine.name), None)
        callback = machine.waiter
        assert callable(callback)
        callback()

    def _start(self, delay_s: float, callback: Callable[[], None], summary: str) -> tuple[int, TimerMachine]:
        self._run.require_commands("starting a timer")
        execution = self._run.execution
        timer_id = execution.next_timer_id()
        delay = max(timedelta(seconds=delay_s), SHORTEST)
        command = StartTimer(timer_id=timer_id, start_to_fire_timeout=delay, summary=summary)
        machine = execution.start_timer(command, callback)
        number = int(timer_id)
        self._waiting[number] = machine
        return number, machine


def _fire(future: Started) -> None:
    if not future.done():
        future.set_result(None)
