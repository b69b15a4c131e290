"""Reading a run's log event by event, in bounded pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from perdure_proto.codec import decode_events
from perdure_proto.events import AnyEvent
from perdure_server.engine.execution import Execution

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine


async def pages(engine: Engine, execution: Execution, after: int) -> AsyncIterator[list[AnyEvent]]:
    """What is in the log after an event, row by row."""
    rows_max = engine.settings.history_page_rows
    while True:
        rows = await engine.store.history(execution.key.shard_id, execution.run_id, after, rows_max)
        for row in rows:
            yield [event for event in decode_events(row.events) if event.event_id > after]
        if len(rows) < rows_max:
            return
        after = rows[-1].last_event_id


async def event_at(engine: Engine, execution: Execution, event_id: int) -> AnyEvent | None:
    """One event of the log; None where there is none of this id."""
    rows = await engine.store.history(execution.key.shard_id, execution.run_id, event_id - 1, 1)
    for row in rows:
        for event in decode_events(row.events):
            if event.event_id == event_id:
                return event
    return None
