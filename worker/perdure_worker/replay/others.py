"""What one run has asked of other executions: its children, and its signals and requests to them and to others.

A part of `execution`, which keeps the commands. A request that a child stop is answered to the child. It must not know
futures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from perdure_proto import commands as cmd
from perdure_proto import events as ev
from perdure_proto.events import AnyEvent
from perdure_proto.options import CancellationType
from perdure_worker.replay.machines import child
from perdure_worker.replay.machines.child import ChildMachine
from perdure_worker.replay.machines.external import CancelMachine, SignalMachine
from perdure_worker.replay.machines.table import IllegalTransitionError

if TYPE_CHECKING:
    from perdure_worker.replay.execution import Execution

OtherMachine: TypeAlias = ChildMachine | SignalMachine | CancelMachine
ChildClosed: TypeAlias = (
    ev.ChildWorkflowExecutionCompleted
    | ev.ChildWorkflowExecutionFailed
    | ev.ChildWorkflowExecutionCanceled
    | ev.ChildWorkflowExecutionTimedOut
    | ev.ChildWorkflowExecutionTerminated
)
Answer: TypeAlias = (
    ev.ExternalWorkflowExecutionSignaled
    | ev.SignalExternalWorkflowExecutionFailed
    | ev.ExternalWorkflowExecutionCancelRequested
    | ev.RequestCancelExternalWorkflowExecutionFailed
)


class Others:
    """Other executions, as one run knows of them. Machines stand under the ids of their Initiated events."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._children: dict[int, ChildMachine] = {}
        self._unanswered: dict[int, SignalMachine | CancelMachine] = {}

    # What workflow code asks for.

    def start_child(self, command: cmd.StartChildWorkflowExecution, waiter: object) -> ChildMachine:
        """A child is to run."""
        machine = ChildMachine(command.workflow_id, command.workflow_type, command.namespace, waiter)
        self._execution.issue(command, machine)
        return machine

    def cancel_child(self, machine: ChildMachine, how: CancellationType, reason: str) -> bool:
        """A child is to stop. True when nobody is to wait for it any longer."""
        if self._execution.closed:
            return True
        action = machine.step(child.CANCELS[how])
        if action == "drop":
            self._execution.drop(machine)
        elif action == "request_cancel":
            command = cmd.RequestCancelExternalWorkflowExecution(
                workflow_id=machine.name, namespace=machine.namespace, child_workflow_only=True, reason=reason
            )
            machine.request = self.request_cancel(command, machine)
        return machine.state in child.SETTLED

    def signal(self, command: cmd.SignalExternalWorkflowExecution, waiter: object) -> SignalMachine:
        """Another execution is to get a signal."""
        machine = SignalMachine(command.workflow_id, waiter)
        self._execution.issue(command, machine)
        return machine

    def cancel_signal(self, machine: SignalMachine) -> bool:
        """A signal is to be forgotten, if it has not left. True when nobody is to wait for it any longer."""
        if self._execution.closed:
            return True
        if machine.step("cancel") == "drop":
            self._execution.drop(machine)
        return machine.state == "dropped"

    def request_cancel(self, command: cmd.RequestCancelExternalWorkflowExecution, waiter: object) -> CancelMachine:
        """Another execution is to be asked to stop."""
        machine = CancelMachine(command.workflow_id, waiter)
        self._execution.issue(command, machine)
        return machine

    # What history says.

    def confirm(self, machine: OtherMachine, event_id: int) -> None:
        """The command of a machine became its Initiated event."""
        machine.step("recorded")
        if isinstance(machine, ChildMachine):
            self._children[event_id] = machine
        else:
            self._unanswered[event_id] = machine

    def begin_child(self, event: ev.ChildWorkflowExecutionStarted) -> object:
        """A child runs: who is to be told of it, or None."""
        machine = self._child(event)
        machine.run_id, machine.started_event_id = event.run_id, event.event_id
        return machine.waiter if machine.step("started") == "begin" else None

    def refuse_child(self, event: ev.StartChildWorkflowExecutionFailed) -> object:
        """A child could not be started: who is to be told of it, or None."""
        return self._end_child(event, "start_failed")

    def close_child(self, event: ChildClosed) -> object:
        """A child closed: who is to be told of it, or None."""
        return self._end_child(event, "closed")

    def _end_child(self, event: ev.StartChildWorkflowExecutionFailed | ChildClosed, how: child.Input) -> object:
        machine = self._child(event)
        del self._children[event.initiated_event_id]
        if machine.request is not None:
            self._execution.withdraw(machine.request)
        return machine.waiter if machine.step(how) == "resolve" else None

    def answer(self, event: Answer) -> object:
        """A signal or a request was delivered, or could not be: who is to be told of it, or None.

        For the request that cancels a child: who waits for that child, when the wait is over by now.
        """
        machine = self._unanswered.pop(event.initiated_event_id, None)
        if machine is None:
            raise IllegalTransitionError(
                f"event {event.event_id} answers what event {event.initiated_event_id} initiated, which is unknown"
            )
        machine.step("answered")
        waiter = machine.waiter
        if not isinstance(waiter, ChildMachine):
            return waiter
        asked = isinstance(event, ev.ExternalWorkflowExecutionCancelRequested)
        return waiter.waiter if waiter.step("cancel_requested" if asked else "cancel_failed") == "resolve" else None

    def _child(self, event: AnyEvent) -> ChildMachine:
        initiated: int = getattr(event, "initiated_event_id", 0)
        machine = self._children.get(initiated)
        if machine is None:
            raise IllegalTransitionError(
                f"event {event.event_id}, {event.event_type}, is of child {initiated}, which is unknown"
            )
        return machine
