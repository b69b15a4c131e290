"""Messages to a run: signals, cancel requests, termination, updates. Each is acknowledged when it is durable."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from perdure_proto import service as svc
from perdure_proto.codec import decode_events
from perdure_proto.errors import Code, ServiceError
from perdure_proto.events import WorkflowExecutionUpdateCompleted
from perdure_proto.tasks import UpdateDelivery
from perdure_server.engine.checks import check_arguments, check_id
from perdure_server.engine.engine import closed_answer, completed_answer
from perdure_server.engine.execution import Execution
from perdure_server.frontend.port import OutcomeWait
from perdure_server.history import requests as req
from perdure_server.history.state import update_key

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

_REFUSALS_MAX = 2
"""Closing commands refused in a row before new signals are held back, so that a storm cannot keep a run open."""


class UpdateWaiter(asyncio.Future[svc.UpdateWorkflowAnswer]):
    """Who waits for an update, and up to which stage."""

    stage: svc.UpdateStage = "COMPLETED"


class Messages:
    """Takes messages from clients."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def signal(
        self, namespace: str, workflow_id: str, name: str, request: svc.SignalWorkflowRequest
    ) -> svc.Acknowledged:
        """Records a signal."""
        limits = self._engine.limits
        check_id("signal name", name, limits)
        check_arguments(request.input, request.kwargs, limits)
        execution = await self.not_held(namespace, workflow_id, request.run_id)
        if execution.is_lost:
            raise ServiceError(Code.UNAVAILABLE, "the run is being read again: try again")
        signal = req.SignalExecution(
            signal_name=name,
            input=request.input,
            kwargs=request.kwargs,
            encoding=request.encoding,
            identity=request.identity,
            request_id=request.request_id,
            header=request.header,
        )
        return await self._deliver(execution, signal)

    async def cancel(self, namespace: str, workflow_id: str, request: svc.CancelWorkflowRequest) -> svc.Acknowledged:
        """Asks the workflow to stop."""
        execution = await self._engine.residents.find(namespace, workflow_id, request.run_id)
        cancel = req.CancelExecution(reason=request.reason, identity=request.identity, request_id=request.request_id)
        return await self._deliver(execution, cancel)

    async def terminate(
        self, namespace: str, workflow_id: str, request: svc.TerminateWorkflowRequest
    ) -> svc.Acknowledged:
        """Ends the run at once."""
        find = self._engine.residents.find
        execution = await find(namespace, workflow_id, request.run_id)
        await execution.landed()
        execution = await find(namespace, workflow_id, request.run_id)  # it may have continued as new meanwhile
        end = req.TerminateExecution(reason=request.reason, details=request.details, identity=request.identity)
        return await self._deliver(execution, end)

    async def update(
        self, namespace: str, workflow_id: str, name: str, request: svc.UpdateWorkflowRequest
    ) -> svc.UpdateWorkflowAnswer:
        """Admits an update and waits for the stage asked for, as long as asked for."""
        limits = self._engine.limits
        check_id("update name", name, limits)
        check_id("update id", request.update_id, limits)
        check_arguments(request.input, request.kwargs, limits)
        find = self._engine.residents.find
        asked = None
        while (execution := await find(namespace, workflow_id, request.run_id)) is not asked:
            asked = execution  # who asks the log finds perhaps that the workflow has continued as new meanwhile
            known = await self._known(execution, request.update_id, request.wait_for_stage)
            if known is not None:
                return known
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
            await self._engine.settled(execution)
            raise decision.refused
        return await self._wait(execution, request.update_id, request.wait_for_stage, request.wait)

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
        return await self._wait(execution, update_id, wait.stage, timedelta(seconds=wait.wait_s))

    async def _deliver(self, execution: Execution, request: req.Request) -> svc.Acknowledged:
        decision = self._engine.transact(execution, request)
        if decision.refused is not None:
            await self._engine.settled(execution)
            raise decision.refused
        await self._engine.acknowledged(execution)
        return svc.Acknowledged(run_id=execution.run_id)

    async def not_held(self, namespace: str, workflow_id: str, run_id: str) -> Execution:
        """Law: after two refused closings in a row, new signals wait for the end of the task, unacknowledged.

        Who waited looks again: the task may have continued the workflow as new, and the signal is for the next run.
        """
        while True:
            execution = await self._engine.residents.find(namespace, workflow_id, run_id)
            if execution.state.refusals < _REFUSALS_MAX or not execution.state.is_buffering:
                return execution
            if execution.task_ended is None:
                execution.task_ended = asyncio.get_running_loop().create_future()
            await asyncio.shield(execution.task_ended)

    async def _known(
        self, execution: Execution, update_id: str, stage: svc.UpdateStage
    ) -> svc.UpdateWorkflowAnswer | None:
        """What the log says of an update: its outcome, or that it was accepted where that is enough."""
        run: Execution | None = execution
        while run is not None and update_id not in run.state.updates:
            earlier = run.state.started.continued_execution_run_id
            carried = update_key(update_id) in run.state.started.carried_request_ids
            run = await self._engine.residents.find_run(run.key.shard_id, earlier) if earlier and carried else None
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

    async def _wait(
        self, execution: Execution, update_id: str, stage: svc.UpdateStage, wait: timedelta
    ) -> svc.UpdateWorkflowAnswer:
        accepted = update_id in execution.state.updates
        if stage == "ADMITTED":
            return svc.UpdateWorkflowAnswer(update_id=update_id, run_id=execution.run_id, stage="ADMITTED")
        waiter = UpdateWaiter(loop=asyncio.get_running_loop())
        waiter.stage = stage
        execution.update_waiters.setdefault(update_id, []).append(waiter)
        seconds = min(wait, self._engine.limits.long_poll_max).total_seconds()
        try:
            async with asyncio.timeout(seconds):
                return await waiter
        except TimeoutError:
            await execution.landed()
            reached: svc.UpdateStage = "ACCEPTED" if accepted or update_id in execution.state.updates else "ADMITTED"
            return svc.UpdateWorkflowAnswer(update_id=update_id, run_id=execution.run_id, stage=reached)
        finally:
            _forget(execution, update_id, waiter)


def _forget(execution: Execution, update_id: str, waiter: UpdateWaiter) -> None:
    waiters = execution.update_waiters.get(update_id)
    if waiters is not None and waiter in waiters:
        waiters.remove(waiter)
        if not waiters:
            del execution.update_waiters[update_id]
