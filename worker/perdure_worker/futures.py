"""What workflow code waits on: activities, local activities and timers, as futures whose `cancel` asks history first.

They hash by creation number, so that sets of them iterate alike on every run. They must not know how commands are
made: `cancel` asks whoever started the thing whether to wait on.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from perdure._definition import ActivityHandle
from perdure_proto.options import CancellationType


class Canceller(Protocol):
    """Who can stop what a future stands for."""

    def cancel_started(self, future: Started) -> bool:
        """Asks it to stop; whether nobody is to wait for it any longer."""
        ...


class Started(ActivityHandle[Any]):
    """Something that history knows of. `machine` is its state machine, `result_type` what its result is read as."""

    def __init__(self, canceller: Canceller, loop: asyncio.AbstractEventLoop, number: int) -> None:
        super().__init__(loop=loop)
        self._canceller = canceller
        self._number = number
        self.machine: Any = None
        self.cancel_asked = False
        self.result_type: Any = None
        self.cancellation_type: CancellationType = "try_cancel"

    def __hash__(self) -> int:
        return self._number

    def cancel(self, msg: object = None) -> bool:
        """Asks it to stop. Where its end is waited for, the future stays open until then."""
        if self.done():
            return False
        self.cancel_asked = True
        if self._canceller.cancel_started(self):
            return super().cancel(msg)
        return True

    def end_cancelled(self) -> None:
        """It stopped because it was asked to."""
        if not self.done():
            super().cancel()
