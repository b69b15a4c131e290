"""Updates from clients: admitted in memory, waited for, and found again by their id along the chain of runs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from perdure_proto import service as svc
from perdure_proto.codec import decode_events
from perdure_proto.errors import Code, ServiceError
from perdure_proto.events import WorkflowExecutionUpdateCompleted
from perdure_proto.tasks import UpdateDelivery
from perdure_server.engine.checks import check_arguments, check_header, check_id
from perdure_server.engine.execution import Execution, UpdateWaiter
from perdure_server.engine.update_waits import await_update, closed_answer, completed_answer, forget
from perdure_server.frontend.port import OutcomeWait
from perdure_server.history import requests as req
from perdure_server.history.state import update_key

if TYPE_CHECKING:
    from perdure_server.config import Limits
    from perdure_server.engine.engine import Engine


def check_update(name: str, request: svc.UpdateWorkflowRequest, limits: Limits) -> None:
    """An update that cannot be delivered is refused before anything else is done."""
    check_id("update name", name, limits)
    check_id("update id", request.update_id, limits)
    check_arguments(request.input, request.kwargs, limits)
    check_header(request.header, limits)


class Updates:
    """Takes updates from clients."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def update(
        self, namespace: str, workflow_id: str, name: str, request: svc.UpdateWorkflowRequest
    ) -> svc.UpdateWorkflowAnswer:
        """Admits an update and waits for the stage asked for, as long as asked for."""
        check_update(name, request, self._engine.limits)
        find = self._engine.residents.find
        asked = None
        while (execution := await find(namespace, workflow_id, request.run_id)) is not asked:
            asked = execution  # who asks the log finds perhaps that the workflow has continued as new meanwhile
            known = await self._known(execution, request.update_id, request.wait_for_stage)
            if known is not None:
                return known
        return await self.outcome_of(await self._admitted(execution, name, request), request.wait)

    async def outcome(
        self, namespace: str, workflow_id: str, update_id: str, wait: OutcomeWait
    ) -> svc.UpdateWorkflowAnswer:
        """The stage that an update reached, waited for. Raises `UPDATE_NOT_FOUND`."""
        execution = await self._engine.residents.find(namespace, workflow_id, wait.run_id)
        known = await self._known(execution, update_id, wait.stage)
        if known is not None:
            return known
        if update_id not in execution.state.updates and update_id not in execution.state.admitted:
            raise ServiceError(Code.UPDATE_NOT_FOUND, f"no update {update_id!r} in run {execution.run_id}")
        if execution.is_lost:
            raise self._engine.refusal(execution)  # nobody would wake who waits for it
        return await self.outcome_of(await_update(execution, update_id, wait.stage), timedelta(seconds=wait.wait_s))

    def admit(self, execution: Execution, name: str, request: svc.UpdateWorkflowRequest) -> UpdateWaiter:
        """Holds an update for the workflow, or joins the one that is there. Raises what refuses it."""
        delivery = UpdateDelivery(
            update_id=request.update_id,
            update_name=name,
            input=request.input,
            kwargs=request.kwargs,
            encoding=request.encoding,
            header=request.header,
        )
        decision = self._engine.transact(execution, req.AdmitUpdate(delivery=delivery, identity=request.identity))
        if decision.refused is not None:
            raise decision.refused
        return await_update(execution, request.update_id, request.wait_for_stage)

    async def outcome_of(self, waiter: UpdateWaiter, wait: timedelta) -> svc.UpdateWorkflowAnswer:
        """What becomes of an update within so long a time. Afterwards nobody waits any more."""
        update_id = waiter.update_id
        try:
            if waiter.stage == "ADMITTED":
                return svc.UpdateWorkflowAnswer(update_id=update_id, run_id=waiter.at.run_id, stage="ADMITTED")
            async with asyncio.timeout(min(wait, self._engine.limits.long_poll_max).total_seconds()):
                return await waiter
        except TimeoutError:
            execution = waiter.at
            accepted = update_id in execution.state.updates
            await execution.landed()
            reached: svc.UpdateStage = "ACCEPTED" if accepted else "ADMITTED"
            return svc.UpdateWorkflowAnswer(update_id=update_id, run_id=execution.run_id, stage=reached)
        finally:
            forget(waiter)

    async def holder(self, execution: Execution, update_id: str) -> Execution | None:
        """The run of the chain, this one or an earlier, whose log has the update."""
        run: Execution | None = execution
        while run is not None and update_id not in run.state.updates:
            earlier = run.state.started.continued_execution_run_id
            carried = update_key(update_id) in run.state.started.carried_request_ids
            run = await self._engine.residents.find_run(run.key.shard_id, earlier) if earlier and carried else None
        return run

    async def _admitted(self, execution: Execution, name: str, request: svc.UpdateWorkflowRequest) -> UpdateWaiter:
        try:
            return self.admit(execution, name, request)
        except ServiceError:
            await self._engine.settled(execution)
            raise

    async def _known(
        self, execution: Execution, update_id: str, stage: svc.UpdateStage
    ) -> svc.UpdateWorkflowAnswer | None:
        """What the log says of an update: its outcome, or that it was accepted where that is enough."""
        run = await self.holder(execution, update_id)
        if run is None:
            return None
        update = run.state.updates[update_id]
        await self._engine.settled(run)
        if update.completed_event_id:
            await run.landed()
            return await self._read_outcome(run, update.completed_event_id)
        if not run.state.is_open:
            return closed_answer(run, update_id)
        if stage == "COMPLETED":
            return None
        return svc.UpdateWorkflowAnswer(update_id=update_id, run_id=run.run_id, stage="ACCEPTED")

    async def _read_outcome(self, execution: Execution, event_id: int) -> svc.UpdateWorkflowAnswer:
        rows = await self._engine.store.history(execution.key.shard_id, execution.run_id, event_id - 1, 1)
        for row in rows:
            for event in decode_events(row.events):
                if event.event_id == event_id and isinstance(event, WorkflowExecutionUpdateCompleted):
                    return completed_answer(execution, event)
        raise ServiceError(Code.INTERNAL, f"event {event_id} of run {execution.run_id} is not in the log")
