"""A run that was reset begins its first task when the run whose place it took has taken its leave.

Law: children that were started after the point are closed before that task, for it may start some of those ids again.
The log of the new run names the run before it, so an owner that takes over in between waits as well; and what that run
owes is known from its row in `wakes`, which was written with its end.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from perdure_proto.errors import ServiceError
from perdure_server.engine.execution import Execution
from perdure_server.store.port import StoreUnavailableError

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

log = structlog.get_logger()

_RETRY_SECONDS = 1.0


def must_wait(execution: Execution) -> bool:
    """Whether the first task may not be handed out yet."""
    return execution.seeks_after or (execution.after is not None and bool(execution.after.owing))


class Successions:
    """Knows which run waits for which. `stop()` ends all that is looked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, execution: Execution, before: Execution) -> None:
        """The first task waits while `before`, which has closed or does so in this batch, owes anything."""
        execution.after = before
        before.on_leave = partial(self._engine.offer_workflow_task, execution)

    def resume(self, execution: Execution) -> None:
        """The same for a run that was loaded: the run before it is looked for, and waited for as well."""
        if not execution.state.replaced_run_id or 0 in execution.parked:
            return  # what is parked was due once: the leave had been taken
        execution.seeks_after = True
        task = asyncio.create_task(self._find(execution))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Nobody is waited for any more."""
        for task in self._tasks:
            task.cancel()

    async def _find(self, execution: Execution) -> None:
        run_id, before = execution.state.replaced_run_id, None
        while not execution.is_lost:
            try:
                before = await self._engine.residents.find_run(execution.key.shard_id, run_id)
                break
            except (StoreUnavailableError, ServiceError) as error:  # the shard may be given away meanwhile
                log.info("succession_repeated", run_id=execution.run_id, reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
        execution.seeks_after = False
        if before is not None and before.owing:
            self.follow(execution, before)
        self._engine.offer_workflow_task(execution)
