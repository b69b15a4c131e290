"""Histories as they are compared: what differs from run to run is taken out of them, all else stays.

Ids that chance makes become numbers in the order in which they come; times and the sizes that follow from them go.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from perdure import Client
from perdure_proto import events as ev
from perdure_proto.events import AnyEvent

MADE_BY_CHANCE: Final = frozenset(
    {
        "event_time",
        "started_at",
        "history_size_bytes",
        "identity",
        "request_id",
        "carried_request_ids",
        "workflow_execution_expiration_time",
        "workflow_id",
        "stack_trace",
    }
)
"""Fields that differ from run to run, or say where a run is cached."""

UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

Plain = dict[str, Any]


async def runs_of(client: Client, workflow_id: str, run_id: str) -> AsyncIterator[list[AnyEvent]]:
    """The histories of a chain of runs, from this one on."""
    while run_id:
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        events = list((await handle.fetch_history()).events)
        yield events
        run_id = getattr(events[-1], "new_execution_run_id", "")


def comparable(histories: list[list[AnyEvent]]) -> list[list[Plain]]:
    """Histories without what chance made."""
    known: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return known.setdefault(found[0], f"id-{len(known) + 1}")

    def cleaned(value: Any) -> Any:
        match value:
            case dict():
                return {name: cleaned(one) for name, one in value.items() if name not in MADE_BY_CHANCE}
            case list() | tuple():
                return [cleaned(one) for one in value]
            case str():
                return UUID.sub(number, value)
            case _:
                return value

    return [[cleaned(plain(event)) for event in events] for events in histories]


def plain(event: AnyEvent) -> Plain:
    """An event as it stands in the log."""
    found: Plain = msgspec.json.decode(msgspec.json.encode(event))
    if isinstance(event, ev.WorkflowTaskScheduled):
        found.pop("task_queue", None)  # a sticky one names the worker
    return found
