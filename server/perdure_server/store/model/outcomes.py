"""Outcomes of transactional activities: a seal, or the result that an attempt committed. Whoever is first stays."""

from __future__ import annotations

from collections.abc import Sequence

from perdure_server.store.model.tables import Tables
from perdure_server.store.port import ActivityKey, Fence, OutcomeRow


class Outcomes:
    """Reads outcomes, and seals. `record_outcome` is what an attempt does in its user's transaction."""

    tables: Tables

    async def seal_outcome(self, fence: Fence, key: ActivityKey, seal: str) -> OutcomeRow | None:
        """The seal, or the outcome that was there first; None when the fence is lost."""
        if self.tables.fences.get(fence.server) != fence.epoch:
            return None
        rows = self.tables.outcomes.setdefault((key.shard_id, key.run_id), {})
        known = rows.get(key.scheduled_event_id)
        if known is None or known.seal:
            known = rows[key.scheduled_event_id] = OutcomeRow(key, seal, 0, None, "", None, "")
        return known

    async def unseal_outcome(self, fence: Fence, key: ActivityKey, seal: str) -> None:
        """Attempts may commit again, unless another seal has taken the place of this one."""
        rows = self.tables.outcomes.get((key.shard_id, key.run_id), {})
        known = rows.get(key.scheduled_event_id)
        if known is not None and known.seal == seal and self.tables.fences.get(fence.server) == fence.epoch:
            del rows[key.scheduled_event_id]

    async def outcomes(self, keys: Sequence[ActivityKey]) -> list[OutcomeRow]:
        """Those of these activities that have an outcome or a seal."""
        found = [self.tables.outcomes.get((key.shard_id, key.run_id), {}).get(key.scheduled_event_id) for key in keys]
        return [row for row in found if row is not None]

    async def record_outcome(self, outcome: OutcomeRow) -> str:
        """`recorded`, `settled` (another attempt was first), `sealed` or `unknown` (no such run)."""
        run = outcome.key.shard_id, outcome.key.run_id
        if run not in self.tables.executions:
            return "unknown"
        known = self.tables.outcomes.setdefault(run, {}).setdefault(outcome.key.scheduled_event_id, outcome)
        if known is outcome:
            return "recorded"
        return "sealed" if known.seal else "settled"
