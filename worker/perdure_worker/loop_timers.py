"""The timers of a workflow's loop: the port that makes them durable, and the handle asyncio gets for one.

A timer of a positive delay exists in history, so starting and cancelling one goes through `TimerPort`; a delay of zero
is only a place in the ready queue. A timer fires once and a fired one is never cancelled, whatever asyncio asks for
afterwards: Python 3.11 and 3.12 differ in that, and the commands must not. This module knows neither commands nor
history.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context


class TimerPort(Protocol):
    """What a workflow's loop asks of whoever keeps its timers in history."""

    def start_timer(self, delay_s: float, callback: Callable[[], None]) -> int:
        """Start a durable timer and return its number; call `callback` once when it fires, never from here."""

    def cancel_timer(self, timer: int) -> None:
        """Cancel a timer that has neither fired nor been cancelled."""


class DurableTimer(asyncio.TimerHandle):
    """One timer: waiting at the port, then in the ready queue, then done."""

    __slots__ = ("number",)

    number: int | None
    """Its number at the port while it waits there, else None."""
    _callback: Callable[..., object]
    _context: Context
