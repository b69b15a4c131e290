"""Durable timers."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from perdure_proto.events.event import Event


class TimerStarted(Event, frozen=True, kw_only=True):
    """A timer runs."""

    type_id: ClassVar[int] = 17
    timer_id: str
    start_to_fire_timeout: timedelta
    summary: str = ""
    workflow_task_completed_event_id: int


class TimerFired(Event, frozen=True, kw_only=True):
    """The time of a timer came."""

    type_id: ClassVar[int] = 18
    timer_id: str
    started_event_id: int


class TimerCanceled(Event, frozen=True, kw_only=True):
    """The workflow forgot a timer."""

    type_id: ClassVar[int] = 19
    timer_id: str
    started_event_id: int
    identity: str = ""
    workflow_task_completed_event_id: int
