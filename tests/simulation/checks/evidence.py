"""What the checks read: the tables, every history decoded once, and the journal."""

from __future__ import annotations

from functools import cached_property

from perdure_proto.codec import decode_events, join_arrays
from perdure_proto.events import AnyEvent
from perdure_server.store.model.tables import Run, Tables
from perdure_server.store.port import ExecutionRow
from tests.simulation.journal import Journal
from tests.simulation.world import World


class Evidence:
    """A world as it was left."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.journal: Journal = world.journal
        self.tables: Tables = world.model.tables

    @cached_property
    def histories(self) -> dict[Run, list[AnyEvent]]:
        """Every run that exists."""
        read = {run: [row.events for row in self.tables.rows(run)] for run in self.tables.executions}
        return {run: decode_events(join_arrays(parts)) for run, parts in read.items() if parts}

    @cached_property
    def by_run(self) -> dict[str, list[AnyEvent]]:
        """Histories by run id alone."""
        return {run_id: history for (_, run_id), history in self.histories.items()}

    @cached_property
    def of_workflow(self) -> dict[str, list[tuple[ExecutionRow, list[AnyEvent]]]]:
        """Runs by workflow id."""
        found: dict[str, list[tuple[ExecutionRow, list[AnyEvent]]]] = {}
        for run, history in self.histories.items():
            row = self.tables.executions[run]
            found.setdefault(row.workflow_id, []).append((row, history))
        return found
