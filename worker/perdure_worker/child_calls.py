"""Child workflows as workflow code sees them: started by the call, settled by the event that closes them.

A child is a future of its result; whoever waits for its start has a second one, which says whether it runs. It must
not know how cancelling is decided: the machine says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, assert_never
from uuid import UUID

import msgspec

from perdure._children import ChildWorkflowHandle, send_signal
from perdure._messages import Outgoing
from perdure._runtime import ChildWorkflowRequest, Target
from perdure.exceptions import ConversionError, WorkflowAlreadyStartedError
from perdure_proto import events as ev
from perdure_proto.codec import encoder
from perdure_proto.commands import StartChildWorkflowExecution
from perdure_proto.failures import (
    ApplicationFailure,
    CanceledFailure,
    ChildWorkflowFailure,
    Failure,
    RetryState,
    TerminatedFailure,
    TimeoutFailure,
)
from perdure_proto.options import CancellationType
from perdure_worker.futures import Started
from perdure_worker.replay.machines.child import ChildMachine
from perdure_worker.replay.others import ChildClosed

if TYPE_CHECKING:
    from perdure_worker.run import Run

ALREADY_EXISTS: Final = "WORKFLOW_ALREADY_EXISTS"
REASONS: Final[Mapping[str, str]] = {"NAMESPACE_NOT_FOUND": "its namespace was not found"}
"""Why a child cannot be started, for people."""


class StartedChild(ChildWorkflowHandle[Any]):
    """A child that history knows of. `start` is done when it runs; it is there when somebody waits for that."""

    machine: ChildMachine

    def __init__(self, calls: ChildCalls, loop: asyncio.AbstractEventLoop, number: int) -> None:
        super().__init__(loop=loop)
        self._calls = calls
        self._number = number
        self.start: Started | None = None
        self.cancel_asked = False
        self.result_type: Any = None
        self.cancellation_type: CancellationType = "wait_cancellation_completed"

    def __hash__(self) -> int:
        return self._number

    @property
    def id(self) -> str:
        return self.machine.name

    @property
    def first_execution_run_id(self) -> str | None:
        return self.machine.run_id or None

    def cancel(self, msg: object = None) -> bool:
        """Asks it to stop. Where its end is waited for, the future stays open until then."""
        if self.done():
            return False
        self.cancel_asked = True
        if self._calls.cancel(self, "" if msg is None else str(msg)):
            self.end_cancelled(msg)
        return True

    def end_cancelled(self, msg: object = None) -> None:
        """It stopped because it was asked to, or nobody is to wait for it any longer."""
        if not self.done():
            super().cancel(msg)
            if self.start is not None:
                self.start.end_cancelled()

    async def _send_signal(self, call: Outgoing) -> None:
        target = Target(workflow_id=self.id, namespace=self.machine.namespace, child_workflow_only=True)
        await send_signal("signalling a child workflow", target, call)


class ChildCalls:
    """The children that one run has started."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def start_child(self, request: ChildWorkflowRequest) -> StartedChild:
        """A child begins with the call."""
        run = self._run
        run.require_commands(f"child workflow {request.workflow_type}")
        args, kwargs, encoding = run.converter.encode_args(request.args, request.kwargs, request.arg_types)
        command = StartChildWorkflowExecution(
            workflow_id=request.id or self._fresh_id(),
            workflow_type=request.workflow_type,
            namespace=request.namespace or "",
            task_queue=request.task_queue or "",
            input=args,
            kwargs=kwargs,
            encoding=encoding,
            workflow_execution_timeout=request.execution_timeout,
            workflow_run_timeout=request.run_timeout,
            workflow_task_timeout=request.task_timeout,
            parent_close_policy=request.parent_close_policy,
            workflow_id_reuse_policy=request.id_reuse_policy,
            retry_policy=request.retry_policy,
            cron_schedule=request.cron_schedule,
            memo=_plain("memo", request.memo),
            search_attributes=_plain("search_attributes", request.search_attributes),
            priority=request.priority,
            summary=request.static_summary,
            static_details=request.static_details,
            header=dict(request.headers or {}),
        )
        child = StartedChild(self, run.loop, run.loop.next_creation_hash())
        child.result_type = request.result_type
        child.cancellation_type = request.cancellation_type
        child.machine = run.execution.others.start_child(command, child)
        return child

    def _fresh_id(self) -> str:
        """A UUID that a replay makes again."""
        return str(UUID(int=self._run.random().getrandbits(128), version=4))

    def started(self, child: StartedChild) -> Started:
        """What is done when the child runs; cancelling it cancels the child."""
        child.start = Started(_Starts(child), self._run.loop, self._run.loop.next_creation_hash())
        return child.start

    def cancel(self, child: StartedChild, reason: str) -> bool:
        """Workflow code cancels a child: what its cancellation type says happens."""
        run = self._run
        if run.gone:
            return True
        run.require_commands("cancelling a child workflow")
        if not reason and run.cancel_requested:
            reason = run.cancel_reason
        return run.execution.others.cancel_child(child.machine, child.cancellation_type, reason)

    # What history says.

    def begin(self, event: ev.ChildWorkflowExecutionStarted) -> None:
        """A child runs."""
        child = self._run.execution.others.begin_child(event)
        if isinstance(child, StartedChild) and child.start is not None and not child.start.done():
            child.start.set_result(None)

    def refuse(self, event: ev.StartChildWorkflowExecutionFailed) -> None:
        """A child could not be started."""
        child = self._run.execution.others.refuse_child(event)
        if not isinstance(child, StartedChild) or child.done():
            return
        error = self._refusal(event, child.machine)
        if child.start is None:
            child.set_exception(error)
        else:  # nobody has the handle: the error is for who waits for the start alone
            start, child.start = child.start, None
            child.end_cancelled()
            start.set_exception(error)

    def _refusal(self, event: ev.StartChildWorkflowExecutionFailed, machine: ChildMachine) -> Exception:
        if event.cause == ALREADY_EXISTS:
            return WorkflowAlreadyStartedError(machine.name, machine.workflow_type)
        reason = REASONS.get(event.cause, event.cause or "the service did not say why")
        cause = Failure(message=reason, info=ApplicationFailure(type=event.cause, non_retryable=True))
        info = self._info(machine, event.initiated_event_id, "NON_RETRYABLE_FAILURE")
        return self._run.exception_of(Failure(message="Child Workflow could not be started", info=info, cause=cause))

    def close(self, event: ChildClosed) -> None:
        """A child completed, failed, was cancelled or terminated, or timed out."""
        child = self._run.execution.others.close_child(event)
        if not isinstance(child, StartedChild) or child.done():
            return
        match event:
            case ev.ChildWorkflowExecutionCompleted():
                self._settle(child, event)
            case ev.ChildWorkflowExecutionFailed():
                self._fail(child, event, event.failure, event.retry_state)
            case ev.ChildWorkflowExecutionCanceled() if child.cancel_asked:
                child.end_cancelled()
            case ev.ChildWorkflowExecutionCanceled():
                info = CanceledFailure(details=event.details, encoding=event.encoding)
                self._fail(child, event, Failure(message="Cancelled", info=info))
            case ev.ChildWorkflowExecutionTimedOut():
                timeout = TimeoutFailure(timeout_type="START_TO_CLOSE")
                self._fail(child, event, Failure(message="Timed out", info=timeout), event.retry_state)
            case ev.ChildWorkflowExecutionTerminated():
                self._fail(child, event, Failure(message="Terminated", info=TerminatedFailure()))
            case _ as unreachable:
                assert_never(unreachable)

    def _settle(self, child: StartedChild, event: ev.ChildWorkflowExecutionCompleted) -> None:
        try:
            child.set_result(self._run.converter.decode_value(event.result, event.encoding, child.result_type))
        except ConversionError as error:
            named = ConversionError(f"the result of child workflow {child.machine.workflow_type}: {error}")
            child.set_exception(named)

    def _fail(
        self,
        child: StartedChild,
        event: ChildClosed,
        cause: Failure,
        retry_state: RetryState = "NON_RETRYABLE_FAILURE",
    ) -> None:
        info = self._info(child.machine, event.initiated_event_id, retry_state)
        # A run that was retried or continued is another one at its end.
        info = msgspec.structs.replace(info, run_id=event.run_id or info.run_id)
        failure = Failure(message=f"Child Workflow execution {_ENDED[type(event)]}", info=info, cause=cause)
        child.set_exception(self._run.exception_of(failure))

    def _info(self, machine: ChildMachine, initiated_event_id: int, retry_state: RetryState) -> ChildWorkflowFailure:
        return ChildWorkflowFailure(
            namespace=machine.namespace or self._run.options.namespace,
            workflow_id=machine.name,
            run_id=machine.run_id,
            workflow_type=machine.workflow_type,
            initiated_event_id=initiated_event_id,
            started_event_id=machine.started_event_id,
            retry_state=retry_state,
        )


class _Starts:
    """Who cancels when the wait for a start is cancelled: the child itself says what becomes of that wait."""

    def __init__(self, child: StartedChild) -> None:
        self._child = child

    def cancel_started(self, future: Started) -> bool:
        child = self._child
        child.start = None  # the wait is ended by who asks here, if it is
        child.cancel()
        if not child.cancelled():
            child.start = future
        return child.cancelled()


_ENDED: Final[Mapping[type, str]] = {
    ev.ChildWorkflowExecutionFailed: "failed",
    ev.ChildWorkflowExecutionCanceled: "cancelled",
    ev.ChildWorkflowExecutionTimedOut: "timed out",
    ev.ChildWorkflowExecutionTerminated: "terminated",
}


def _plain(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as history will hold them. Raises `ConversionError` for what cannot be written."""
    if not values:
        return {}
    try:
        found: dict[str, Any] = msgspec.json.decode(encoder.encode(values), type=dict)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConversionError(f"{name} of a child workflow: {error}") from error
    return found
