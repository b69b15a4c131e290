"""Visibility rows one by one, in pages, and counted; and the namespaces. Filters are those of the real store."""

from __future__ import annotations

from collections import Counter
from copy import copy
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final

from msgspec import Struct, structs
from msgspec.json import Decoder

from perdure_server.store.model.tables import Tables
from perdure_server.store.port import ExecutionRow, NamespaceChange, NamespaceRow
from perdure_server.visibility.conditions import Filter
from perdure_server.visibility.matching import fits, whole_value
from perdure_server.visibility.pages import (
    count_filter,
    group_name,
    is_behind,
    list_filter,
    read_cursor,
    sorts_of,
    with_run_id,
    write_cursor,
)

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
        wanted = list_filter(query)
        sorts = sorts_of(wanted)
        rows = self._that_fit(namespace_id, wanted)
        for sort in reversed(with_run_id(sorts)):
            rows = [row for row in rows if getattr(row, sort.field.column) is not None]
            rows.sort(key=attrgetter(sort.field.column), reverse=sort.descending)
        place = read_cursor(sorts, cursor)
        rows = [row for row in rows if place is None or is_behind(sorts, place, row)]
        page = [copy(row) for row in rows[:limit]]
        return page, write_cursor(sorts, page[-1]) if len(rows) > limit > 0 else ""

    async def count_executions(self, namespace_id: int, query: str) -> tuple[int, dict[str, int]]:
        """How many visibility rows fit; and by value, the most frequent first, if the query groups by something."""
        wanted = count_filter(query)
        rows = self._that_fit(namespace_id, wanted)
        field = wanted.group_by
        groups = Counter() if field is None else Counter(group_name(field, whole_value(field, row)) for row in rows)
        return len(rows), dict(sorted(groups.items(), key=lambda group: (-group[1], group[0])))

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

    def _that_fit(self, namespace_id: int, wanted: Filter) -> list[ExecutionRow]:
        rows = [row for row in self.tables.executions.values() if row.namespace_id == namespace_id]
        return [row for row in rows if wanted.condition is None or fits(wanted.condition, row)]


def _place(row: ExecutionRow) -> tuple[object, str]:
    return row.start_time, row.run_id
