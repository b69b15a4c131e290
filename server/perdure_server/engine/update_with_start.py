"""Update-with-start: an update for a workflow that is started if need be.

Law: the start is durable first, and the update is held from the very beginning, so that the first workflow task brings
it. A repeat finds the start by its request id and the update by its own; if the update was lost with the memory of an
owner it is admitted again. A workflow that has the update already answers, whatever the policies say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure_proto.errors import Code, ServiceError
from perdure_proto.service import (
    StartWorkflowAnswer,
    UpdateWithStartAnswer,
    UpdateWithStartRequest,
    UpdateWorkflowRequest,
)
from perdure_server.engine.checks import check_start
from perdure_server.engine.execution import Execution, UpdateWaiter
from perdure_server.engine.update_waits import forget
from perdure_server.engine.updates import check_update

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine
    from perdure_server.engine.starts import Starts
    from perdure_server.engine.updates import Updates

_TRIES_MAX = 2
"""A workflow that was running may close before it takes the update; then the policies are asked once more."""


class UpdatesWithStart:
    """Takes updates with a start."""

    def __init__(self, engine: Engine, starts: Starts, updates: Updates) -> None:
        self._engine = engine
        self._starts = starts
        self._updates = updates

    async def update_with_start(
        self, namespace: str, workflow_id: str, name: str, request: UpdateWithStartRequest
    ) -> UpdateWithStartAnswer:
        """Starts a workflow as the id policies say, and sends an update to it or to the one that is there."""
        check_start(workflow_id, request.start, self._engine.limits)
        check_update(name, request.update, self._engine.limits)
        if request.update.run_id:
            raise ServiceError(Code.INVALID_ARGUMENT, "an update with start names no run_id: the start says which run")
        for number in range(1, _TRIES_MAX + 1):
            attempt = _Attempt(self._updates, name, request.update)
            try:
                return await self._try(namespace, workflow_id, attempt, request)
            except ServiceError as error:
                if error.code != Code.WORKFLOW_CLOSED or attempt.waiter is not None or number == _TRIES_MAX:
                    raise
            finally:
                attempt.forget()
        raise AssertionError("unreachable")

    async def _try(
        self, namespace: str, workflow_id: str, attempt: _Attempt, request: UpdateWithStartRequest
    ) -> UpdateWithStartAnswer:
        start = await self._knows(namespace, workflow_id, request.update.update_id)
        if start is None:
            start = await self._starts.start(namespace, workflow_id, request.start, on_begin=attempt.begin)
        if start.started and attempt.waiter is not None:
            update = await self._updates.outcome_of(attempt.waiter, request.update.wait)
        else:
            attempt.forget()
            aimed = await self._aimed(namespace, workflow_id, start.run_id, request.update)
            update = await self._updates.update(namespace, workflow_id, attempt.name, aimed)
        return UpdateWithStartAnswer(start=start, update=update)

    async def _knows(self, namespace: str, workflow_id: str, update_id: str) -> StartWorkflowAnswer | None:
        """The workflow that is there, if it has the update."""
        try:
            current = await self._engine.residents.find(namespace, workflow_id)
        except ServiceError as error:
            if error.code != Code.WORKFLOW_NOT_FOUND:
                raise
            return None
        if update_id not in current.state.admitted and await self._updates.holder(current, update_id) is None:
            return None
        return StartWorkflowAnswer(workflow_id=workflow_id, run_id=current.run_id, started=False)

    async def _aimed(
        self, namespace: str, workflow_id: str, run_id: str, request: UpdateWorkflowRequest
    ) -> UpdateWorkflowRequest:
        """The update for the chain of that run: for its current run, or for its last one if the chain has ended."""
        find = self._engine.residents.find
        current, run = await find(namespace, workflow_id), await find(namespace, workflow_id, run_id)
        first_run_id = run.state.started.first_execution_run_id
        if current.state.started.first_execution_run_id == first_run_id:
            return request
        while following := getattr(run.state.closed, "new_execution_run_id", ""):
            run = await find(namespace, workflow_id, following)
        return msgspec.structs.replace(request, run_id=run.run_id)


class _Attempt:
    """One start, and the update that waits in the run which it makes. A run that loses its start takes it along."""

    def __init__(self, updates: Updates, name: str, request: UpdateWorkflowRequest) -> None:
        self._updates = updates
        self._request = request
        self.name = name
        self.waiter: UpdateWaiter | None = None

    def begin(self, execution: Execution) -> None:
        """A run begins in memory; its start may still be lost."""
        self.forget()
        self.waiter = self._updates.admit(execution, self.name, self._request)

    def forget(self) -> None:
        """Nobody waits for the update in that run."""
        if self.waiter is not None:
            forget(self.waiter)
            self.waiter = None
