"""What earlier runs of a workflow id took: a repeat of a message that one of them has is for no other.

The runs of a chain carry the request ids of the last minutes themselves. A run that began on an id which another chain
had before looks for them in the log, once, when a message comes that it does not know. Law: whoever has a message is
who took it first; a later owner of the workflow id never gets it. A client repeats for less than ten minutes; a message
of another execution may come again as long as that owes it, so it says when it was decided, and only a run that began
after that has to look.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from perdure_server.engine.execution import Execution, Past

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

_CLOCKS_DIFFER = timedelta(seconds=5)
NO_PAST = Past(datetime.min.replace(tzinfo=UTC), {})
"""Of a run that began on a free workflow id."""


class Told(Struct, frozen=True):
    """A message that may have been told before: its request id, and when it was told first, where that is known."""

    request_id: str
    since: datetime | None = None


class Earlier:
    """Finds the run that took a message."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def is_known(self, execution: Execution, told: Told) -> bool:
        """Whether memory says which run took it, if one did."""
        if not told.request_id or told.request_id in execution.state.request_ids:
            return True
        since = self._since(told)
        began = execution.state.reset_at or execution.state.started.event_time
        if began + _CLOCKS_DIFFER < since:
            return True
        return execution.past is not None and execution.past.since <= since

    async def learn(self, execution: Execution, told: Told) -> None:
        """Reads what `is_known` lacks."""
        since = self._since(told)
        await execution.landed()  # what it replaces is in the log then
        found = await self._engine.store.requests_taken(
            execution.namespace_id, execution.workflow_id, since, self._engine.limits.carried_request_ids_max
        )
        execution.past = Past(since, found)

    def taken_by(self, execution: Execution, told: Told) -> str:
        """The earlier run that took it; empty where none did, or the run itself knows it."""
        if execution.past is None or told.request_id in execution.state.request_ids:
            return ""
        return execution.past.taken.get(told.request_id, "")

    def _since(self, told: Told) -> datetime:
        return told.since or self._engine.now() - self._engine.limits.carried_request_ids_for
