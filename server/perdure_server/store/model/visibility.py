"""Visibility rows one by one, in pages, and counted; and the namespaces. Filters are those of the real store."""

from __future__ import annotations

from copy import copy
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct, structs
from msgspec.json import Decoder

from perdure_server.store.filter import Term, parse_filter
from perdure_server.store.model.tables import Tables
from perdure_server.store.port import ExecutionRow, NamespaceChange, NamespaceRow
from perdure_server.store.visibility import read_cursor, write_cursor

MESSAGES: Final = "WorkflowExecutionSignaled", "WorkflowExecutionCancelRequested"


class Message(Struct):
    """What tells of an event whether it is a message, and of which request."""

    event_type: str
    request_id: str = ""


_messages = Decoder(list[Message])


class Visibility:
    """Reads visibility rows."""

    tables: Tables

    async def current_run(self, namespace_id: int, shard_id: int, workflow_id: str) -> ExecutionRow | None:
        """The newest run of a workflow id (open or closed)."""
        run_id = self.tables.current.get((shard_id, namespace_id, workflow_id))
        return None if run_id is None else await self.execution(shard_id, run_id)

    async def execution(self, shard_id: int, run_id: str) -> ExecutionRow | None:
        """The visibility row of a run."""
        return copy(self.tables.executions.get((shard_id, run_id)))

    async def execution_by_request(self, namespace_id: int, workflow_id: str, request_id: str) -> ExecutionRow | None:
        """The run that a start request of this id made, whatever happened since."""
        wanted = namespace_id, workflow_id, request_id
        rows = [
            row
            for row in self.tables.executions.values()
            if (row.namespace_id, row.workflow_id, row.request_id) == wanted
        ]
        return copy(min(rows, key=lambda row: row.start_time, default=None))

    async def requests_taken(self, namespace_id: int, workflow_id: str, since: datetime, limit: int) -> dict[str, str]:
        """Of the runs of a workflow id that closed since: the messages in their logs, run by request id."""
        wanted = namespace_id, workflow_id
        rows = [row for row in self.tables.executions.values() if (row.namespace_id, row.workflow_id) == wanted]
        rows = [row for row in rows if row.close_time is not None and row.close_time >= since]
        taken = [pair for row in sorted(rows, key=_place, reverse=True) for pair in self._taken_by(row)]
        return dict(taken[:limit])  # of two runs that have the same request the earlier comes last

    def _taken_by(self, row: ExecutionRow) -> list[tuple[str, str]]:
        log = self.tables.rows((row.shard_id, row.run_id))
        events = [event for piece in reversed(log) for event in reversed(_messages.decode(piece.events))]
        return [(each.request_id, row.run_id) for each in events if each.event_type in MESSAGES and each.request_id]

    async def list_executions(
        self, namespace_id: int, query: str, cursor: str, limit: int
    ) -> tuple[list[ExecutionRow], str]:
        """A page of visibility rows, newest start first, and the next cursor (empty: that was all)."""
        place = read_cursor(cursor)
        rows = sorted(self._that_fit(namespace_id, parse_filter(query)), key=_place, reverse=True)
        if place is not None:
            rows = [row for row in rows if _place(row) < place]
        page = [copy(row) for row in rows[:limit]]
        return page, write_cursor(page[-1]) if len(rows) > limit > 0 else ""

    async def count_executions(self, namespace_id: int, query: str) -> int:
        """How many visibility rows fit."""
        return len(self._that_fit(namespace_id, parse_filter(query)))

    async def create_namespace(self, name: str, description: str, retention: timedelta) -> NamespaceRow | None:
        """A new namespace; None when the name is taken."""
        namespaces = self.tables.namespaces
        if any(row.name == name for row in namespaces.values()):
            return None
        row = NamespaceRow(max(namespaces) + 1, name, description, retention, self.tables.now())
        namespaces[row.namespace_id] = row
        return row

    async def update_namespace(self, name: str, change: NamespaceChange) -> NamespaceRow | None:
        """The namespace as it is now; None when there is none of this name."""
        for row in self.tables.namespaces.values():
            if row.name == name:
                given = {key: value for key, value in structs.asdict(change).items() if value is not None}
                changed = self.tables.namespaces[row.namespace_id] = structs.replace(row, **given)
                return changed
        return None

    async def namespaces(self) -> list[NamespaceRow]:
        """All of them, by number."""
        return [self.tables.namespaces[namespace_id] for namespace_id in sorted(self.tables.namespaces)]

    def _that_fit(self, namespace_id: int, terms: list[Term]) -> list[ExecutionRow]:
        rows = self.tables.executions.values()
        return [row for row in rows if row.namespace_id == namespace_id and _fits(row, terms)]


def _fits(row: ExecutionRow, terms: list[Term]) -> bool:
    return all(getattr(row, term.column) == term.value for term in terms)


def _place(row: ExecutionRow) -> tuple[object, str]:
    return row.start_time, row.run_id
