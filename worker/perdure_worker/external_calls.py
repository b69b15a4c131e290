"""Signals and cancel requests that workflow code sends to other executions, its children among them.

Each is a future that is done when the other execution has it. A signal that has left cannot be taken back: cancelling
the wait for it then changes nothing. A cancel request can never be; cancelling the wait for it ends the wait. It must
not know how children are awaited: the answer to a request that cancels one goes to the machine of that child.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perdure._runtime import CancelExternalRequest, SignalExternalRequest
from perdure_proto import events as ev
from perdure_proto.commands import RequestCancelExternalWorkflowExecution, SignalExternalWorkflowExecution
from perdure_proto.failures import ApplicationFailure, Failure
from perdure_worker.child_calls import StartedChild
from perdure_worker.futures import Started
from perdure_worker.replay.machines.external import SignalMachine
from perdure_worker.replay.others import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perdure_worker.run import Run

REASONS: Final[Mapping[str, str]] = {
    "EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND": "it was not found, or is closed",
    "NAMESPACE_NOT_FOUND": "its namespace was not found",
    "SIGNAL_COUNT_LIMIT_EXCEEDED": "it has taken as many signals as a run may",
}


class ExternalCalls:
    """What one run has sent to other executions."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def signal(self, request: SignalExternalRequest) -> Started:
        """A signal leaves with the call."""
        run, target = self._run, request.target
        run.require_commands(f"signal {request.signal_name!r} to workflow {target.workflow_id!r}")
        args, kwargs, encoding = run.converter.encode_args(request.args, request.kwargs, request.arg_types)
        command = SignalExternalWorkflowExecution(
            workflow_id=target.workflow_id,
            signal_name=request.signal_name,
            namespace=target.namespace,
            run_id=target.run_id,
            child_workflow_only=target.child_workflow_only,
            input=args,
            kwargs=kwargs,
            encoding=encoding,
            header=dict(request.headers or {}),
        )
        future = Started(self, run.loop, run.loop.next_creation_hash())
        future.machine = run.execution.others.signal(command, future)
        return future

    def cancel(self, request: CancelExternalRequest) -> Started:
        """A request to stop leaves with the call."""
        run, target = self._run, request.target
        run.require_commands(f"cancelling workflow {target.workflow_id!r}")
        command = RequestCancelExternalWorkflowExecution(
            workflow_id=target.workflow_id,
            namespace=target.namespace,
            run_id=target.run_id,
            child_workflow_only=target.child_workflow_only,
            reason=request.reason,
        )
        future = Started(self, run.loop, run.loop.next_creation_hash())
        future.machine = run.execution.others.request_cancel(command, future)
        return future

    def cancel_started(self, future: Started) -> bool:
        """Workflow code waits no longer."""
        machine = future.machine
        if self._run.gone or not isinstance(machine, SignalMachine):
            return True
        self._run.require_commands("cancelling a signal")
        return self._run.execution.others.cancel_signal(machine)

    def answer(self, event: Answer) -> None:
        """What was sent is there, or could not be delivered."""
        future = self._run.execution.others.answer(event)
        if isinstance(future, StartedChild):
            future.end_cancelled()
        elif isinstance(future, Started) and not future.done():
            match event:
                case ev.ExternalWorkflowExecutionSignaled() | ev.ExternalWorkflowExecutionCancelRequested():
                    future.set_result(None)
                case ev.SignalExternalWorkflowExecutionFailed():
                    self._fail(future, "signal", event.workflow_id, event.cause)
                case ev.RequestCancelExternalWorkflowExecutionFailed():
                    self._fail(future, "cancel", event.workflow_id, event.cause)

    def _fail(self, future: Started, what: str, workflow_id: str, cause: str) -> None:
        reason = REASONS.get(cause, cause or "the service did not say why")
        message = f"cannot {what} workflow {workflow_id!r}: {reason}"
        future.set_exception(self._run.exception_of(Failure(message=message, info=ApplicationFailure(type=cause))))
