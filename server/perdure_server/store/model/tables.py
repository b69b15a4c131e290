"""The tables, as dicts by primary key. A row that is put replaces its predecessor; nobody changes a row in place.

The key of what belongs to a run is `(shard_id, run_id)`; run ids are lower-case UUIDs, whose order as text is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from msgspec import Struct

from perdure_server.store.port import (
    ActivityRow,
    BufferedEvent,
    ExecutionRow,
    HistoryRow,
    NamespaceRow,
    OutcomeRow,
    Parked,
    SecretRow,
    Snapshot,
    WakeRow,
)

Run: TypeAlias = tuple[int, str]
WorkflowKey: TypeAlias = tuple[int, int, str]
"""Shard, namespace and workflow id."""
RETENTION_DEFAULT: Final = timedelta(days=3)


class ResetRow(Struct, frozen=True):
    """Which run began as a copy of which, when."""

    base_run_id: str
    begun_at: datetime


class Tables:
    """All that is stored. `now` is the clock of the cluster."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.fences: dict[str, int] = {}
        self.current: dict[WorkflowKey, str] = {}
        self.history: dict[Run, dict[int, HistoryRow]] = {}
        """The rows of each run by their first event id."""
        self.executions: dict[Run, ExecutionRow] = {}
        self.activities: dict[Run, dict[int, ActivityRow]] = {}
        self.buffered: dict[Run, dict[int, BufferedEvent]] = {}
        self.wakes: dict[Run, WakeRow] = {}
        self.parked: dict[Run, dict[int, tuple[int, Parked]]] = {}
        """Each with its place in the order of arrival."""
        self.snapshots: dict[Run, Snapshot] = {}
        self.outcomes: dict[Run, dict[int, OutcomeRow]] = {}
        self.resets: dict[Run, ResetRow] = {}
        first = SecretRow(generation=1, secret=bytes(32), valid_until=None)
        self.secrets: dict[str, list[SecretRow]] = {"waitpoints": [first]}
        """The generations of each, the newest first."""
        default = NamespaceRow(1, "default", "Made with the cluster.", RETENTION_DEFAULT, now())
        self.namespaces: dict[int, NamespaceRow] = {1: default}
        self.arrivals = 0

    def rows(self, run: Run, after_event_id: int = 0) -> list[HistoryRow]:
        """The rows of a run's log that begin after an event, in order."""
        rows = self.history.get(run, {})
        return [rows[first] for first in sorted(rows) if first > after_event_id]

    def forget(self, runs: Iterable[Run]) -> None:
        """Removes every trace of runs, but for their claims of a workflow id."""
        log = self.history, self.executions, self.snapshots, self.resets
        beside = self.activities, self.buffered, self.wakes, self.parked, self.outcomes
        tables: tuple[dict[Run, Any], ...] = (*log, *beside)
        for run in runs:
            for table in tables:
                table.pop(run, None)
