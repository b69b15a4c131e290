"""Messages to a run: signals, cancel requests, termination. Each is acknowledged when it is durable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure_proto import service as svc
from perdure_server.engine.checks import check_arguments, check_header, check_signal_name
from perdure_server.engine.earlier import Told
from perdure_server.engine.execution import Execution
from perdure_server.history import requests as req

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine


class Messages:
    """Takes messages from clients."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def signal(
        self, namespace: str, workflow_id: str, name: str, request: svc.SignalWorkflowRequest
    ) -> svc.Acknowledged:
        """Records a signal."""
        limits = self._engine.limits
        check_signal_name(name, limits)
        check_arguments(request.input, request.kwargs, limits)
        check_header(request.header, limits)
        told = Told(request.request_id)
        execution = await self.not_held(namespace, workflow_id, request.run_id, told)
        taken_by = self.taken_by(execution, request.run_id, told)
        if taken_by:
            return svc.Acknowledged(run_id=taken_by)
        if execution.is_lost:
            raise self._engine.refusal(execution)
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
        told = Told(request.request_id)
        execution = await self._knowing(namespace, workflow_id, request.run_id, told)
        taken_by = self.taken_by(execution, request.run_id, told)
        if taken_by:
            return svc.Acknowledged(run_id=taken_by)
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

    async def pause(self, namespace: str, workflow_id: str, request: svc.PauseWorkflowRequest) -> svc.Acknowledged:
        """Hands nothing of the run out any more."""
        execution = await self._engine.residents.find(namespace, workflow_id, request.run_id)
        pause = req.PauseExecution(reason=request.reason, identity=request.identity, request_id=request.request_id)
        return await self._deliver(execution, pause)

    async def unpause(self, namespace: str, workflow_id: str, request: svc.UnpauseWorkflowRequest) -> svc.Acknowledged:
        """Lets the run go on."""
        execution = await self._engine.residents.find(namespace, workflow_id, request.run_id)
        go_on = req.UnpauseExecution(reason=request.reason, identity=request.identity, request_id=request.request_id)
        return await self._deliver(execution, go_on)

    async def _deliver(self, execution: Execution, request: req.Request) -> svc.Acknowledged:
        decision = await self._engine.decided(execution, request)
        if decision.refused is not None:
            await self._engine.settled(execution)
            raise decision.refused
        await self._engine.acknowledged(execution)
        return svc.Acknowledged(run_id=execution.run_id)

    async def not_held(self, namespace: str, workflow_id: str, run_id: str, told: Told) -> Execution:
        """The run, once it takes signals.

        Who waited looks again: the task may have continued the workflow as new, and the signal is for the next run.
        """
        while True:
            execution = await self._knowing(namespace, workflow_id, run_id, told)
            if not execution.holds_signals:
                return execution
            await execution.task_end()

    async def _knowing(self, namespace: str, workflow_id: str, run_id: str, told: Told) -> Execution:
        """The run, once it is known what earlier ones took. Who waited looks again: it may have been replaced."""
        earlier = self._engine.earlier
        while True:
            execution = await self._engine.residents.find(namespace, workflow_id, run_id)
            if run_id or earlier.is_known(execution, told):
                return execution
            await earlier.learn(execution, told)

    def taken_by(self, execution: Execution, run_id: str, told: Told) -> str:
        """The earlier run that took the message. One that names its run is for that run alone."""
        return "" if run_id else self._engine.earlier.taken_by(execution, told)
