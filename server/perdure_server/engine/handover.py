"""Shards come and go while the server runs.

Gaining: requests may come at once; what is owed and due is loaded in the background.

Giving away, in an order that is the safety. In one turn of the loop for each handful of shards: what memory knows and
must not be lost is staged, the shards are refused from then on, and their runs leave memory, so that nothing finds them
any more and nothing can be staged about them. Then whatever writes beside the commits is waited for, and last the
commits themselves. Only afterwards may anybody else be told that the shards are theirs.

What is kept is what a crash would lose although it was given out: that attempts run (they must not be run twice), and
what was buffered (its senders get their answers). What only callers wait for (queries, updates that were not accepted,
long polls) ends with `WRONG_OWNER`: whoever asks again asks the next owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING

import structlog

from perdure_proto.errors import ServiceError

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine
    from perdure_server.engine.execution import Execution
    from perdure_server.engine.queries import Queries
    from perdure_server.engine.upkeep import Upkeep

log = structlog.get_logger()

_AT_ONCE_MAX = 16
"""So many shards are let go in one turn of the loop."""


class Handover:
    """The shards of this server as they change."""

    def __init__(self, engine: Engine, upkeep: Upkeep, queries: Queries) -> None:
        self._engine = engine
        self._upkeep = upkeep
        self._queries = queries

    def gain(self, shards: Collection[int]) -> None:
        """These are ours: those that were so already stay as they are."""
        gained = self._engine.tenures.gain(shards)
        if gained:
            self._upkeep.expect(gained)

    async def give_up(self, shards: Collection[int]) -> None:
        """Refuses all about these shards, and returns when the last commit about them has landed.

        Raises `ServiceError` with `UNAVAILABLE` when that cannot be known: the fence is lost, so all are somebody
        else's, or the commits were stopped, and one may be on its way.
        """
        ours = sorted(self._engine.tenures.owned.intersection(shards))
        for start in range(0, len(ours), _AT_ONCE_MAX):
            self._let_go(frozenset(ours[start : start + _AT_ONCE_MAX]))
            await asyncio.sleep(0)
        await self._engine.outbox.end(shards)
        await self._engine.outcomes.finish(shards)
        await self._engine.committer.barrier().landed()

    def given(self, shards: Collection[int]) -> None:
        """The table says that they are another's. Nothing is left here to forget, unless nobody gave them up."""
        kept = self._engine.tenures.owned.intersection(shards)
        if kept:
            log.error("given_without_giving_up", shards=sorted(kept))
            self._let_go(frozenset(kept))

    def _let_go(self, shards: frozenset[int]) -> None:
        engine = self._engine
        runs = engine.residents.of_shards(shards)
        for execution in runs:
            self._keep(execution)
        engine.tenures.end(shards)
        engine.residents.forget_loads(shards)
        self._upkeep.forget(shards)
        for execution in runs:
            error = engine.refusal(execution)
            self._queries.end(execution, error)
            engine.let_go(execution, error)
        engine.permits.withdraw(shards)
        engine.matching.withdraw(shards)

    def _keep(self, execution: Execution) -> None:
        """Stages what is in memory alone and was given out."""
        engine = self._engine
        try:
            engine.committer.make_room()
            engine.transactor.buffer_durably(execution)
            for scheduled_event_id, activity in list(execution.state.activities.items()):
                if activity.started_at is not None and activity.started_at != activity.row_started_at:
                    engine.transactor.write_row(execution, scheduled_event_id)
        except ServiceError as error:  # the fence is lost: the barrier says so
            log.warning("not_kept", run_id=execution.run_id, reason=str(error))
