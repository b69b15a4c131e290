"""What a run is doing, drawn while somebody waits for it: one line for each activity, timer and message.

It follows the history for what happened, and asks now and then how pending activities fare. Drawing is on stderr and
leaves no trace: the result alone stays on the screen. When the service stops answering, the picture simply stands.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from perdure.cli.failure_text import failure_line
from perdure.cli.service import CommandService
from perdure.cli.timeline import arguments
from perdure.exceptions import RPCError
from perdure_proto.durations import format_duration
from perdure_proto.events import (
    ActivityTaskCanceled,
    ActivityTaskCompleted,
    ActivityTaskFailed,
    ActivityTaskScheduled,
    ActivityTaskTimedOut,
    AnyEvent,
    TimerCanceled,
    TimerFired,
    TimerStarted,
    WorkflowExecutionSignaled,
    WorkflowExecutionUpdateAccepted,
    WorkflowExecutionUpdateCompleted,
)
from perdure_proto.service import PendingActivity

LINES_MAX = 15
ASK_EVERY_SECONDS = 1.0
DONE, FAILED = "✓", "✗"


@dataclass
class Item:
    """One line: what it is, since when, and how it ended if it did."""

    title: str
    began_at: datetime
    ended_at: datetime | None = None
    mark: str = ""
    note: str = ""


class Progress:
    """The picture of one run."""

    def __init__(self, service: CommandService, workflow_id: str, run_id: str) -> None:
        self._service = service
        self._workflow_id = workflow_id
        self._run_id = run_id
        self._items: dict[int, Item] = {}
        self._count = 0
        self._note = ""

    @asynccontextmanager
    async def drawn(self) -> AsyncGenerator[None]:
        """Draws as long as the block lasts."""
        with Live(get_renderable=self.picture, console=Console(stderr=True), transient=True, refresh_per_second=8):
            tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._ask())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def picture(self) -> Table:
        """The latest lines, those under way with a spinner."""
        grid = Table.grid(padding=(0, 1))
        for item in list(self._items.values())[-LINES_MAX:]:
            style = {DONE: "green", FAILED: "red"}.get(item.mark, "")
            sign = Text(item.mark, style=style) if item.mark else Spinner("dots")
            grid.add_row(sign, Text(item.title), Text(_took(item), style="dim"), Text(item.note, style="yellow"))
        title = f"{self._workflow_id}  {self._count} events"
        grid.add_row(Spinner("dots"), Text(title, style="bold"), "", Text(self._note, style="yellow"))
        return grid

    def take(self, event: AnyEvent) -> None:
        """One more event of the run."""
        self._count = event.event_id
        match event:
            case ActivityTaskScheduled():
                self._begin(event, f"{event.activity_type}({arguments(event)})")
            case TimerStarted():
                self._begin(event, f"timer {format_duration(event.start_to_fire_timeout)}")
            case WorkflowExecutionUpdateAccepted():
                self._begin(event, f"update {event.update_name}({arguments(event)})")
            case WorkflowExecutionSignaled():
                self._begin(event, f"signal {event.signal_name}({arguments(event)})")
                self._end(event.event_id, event, DONE)
            case ActivityTaskCompleted():
                self._end(event.scheduled_event_id, event, DONE)
            case ActivityTaskFailed() | ActivityTaskTimedOut():
                self._end(event.scheduled_event_id, event, FAILED, failure_line(event.failure))
            case ActivityTaskCanceled():
                self._end(event.scheduled_event_id, event, FAILED, "cancelled")
            case TimerFired():
                self._end(event.started_event_id, event, DONE)
            case TimerCanceled():
                self._end(event.started_event_id, event, DONE, "cancelled")
            case WorkflowExecutionUpdateCompleted():
                self._end(event.accepted_event_id, event, FAILED if event.failure else DONE)
            case _:
                pass

    def note_pending(self, pending: PendingActivity) -> None:
        """How an activity that has not closed fares."""
        item = self._items.get(pending.scheduled_event_id)
        if item is None or item.mark:
            return
        why = failure_line(pending.last_failure) if pending.last_failure else ""
        attempt = f"attempt {pending.attempt}" if pending.attempt > 1 else ""
        item.note = " · ".join(filter(None, (attempt, why, pending.note)))

    def _begin(self, event: AnyEvent, title: str) -> None:
        self._items[event.event_id] = Item(title=title, began_at=event.event_time)

    def _end(self, beginning: int, event: AnyEvent, mark: str, note: str = "") -> None:
        if item := self._items.get(beginning):
            item.ended_at, item.mark, item.note = event.event_time, mark, note

    async def _follow(self) -> None:
        with contextlib.suppress(RPCError):
            async for event in self._service.events(self._workflow_id, self._run_id, follow=True):
                self.take(event)

    async def _ask(self) -> None:
        with contextlib.suppress(RPCError):
            while True:
                await asyncio.sleep(ASK_EVERY_SECONDS)
                answer = await self._service.describe(self._workflow_id, self._run_id)
                task = answer.pending_workflow_task
                self._note = "" if task is None else task.note or (task.last_failure_cause if task.attempt > 1 else "")
                for pending in answer.pending_activities:
                    self.note_pending(pending)


def _took(item: Item) -> str:
    ended_at = item.ended_at or datetime.now(UTC)
    return format_duration(max(ended_at - item.began_at, ended_at - ended_at))
