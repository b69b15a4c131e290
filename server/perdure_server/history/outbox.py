"""What a run owes to other executions: starts of children, messages, the news of its own close.

Law: the intent is an event of the source's log and is owed until its answer is an event too, or, in a closed source, an
acknowledgement. Pure: the same state gives the same deliveries, so a new owner sends again what may have been lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NewType

from msgspec import Struct

from perdure_proto import events as ev
from perdure_server.history.state import ChildState, ExecutionState

DeliveryKind = Literal["start_child", "signal", "cancel", "close_child", "child_closed"]
Initiated = (
    ev.StartChildWorkflowExecutionInitiated
    | ev.SignalExternalWorkflowExecutionInitiated
    | ev.RequestCancelExternalWorkflowExecutionInitiated
)
DeliveryKey = NewType("DeliveryKey", tuple[DeliveryKind, int])


class Delivery(Struct, frozen=True, kw_only=True):
    """One thing to tell another execution. An empty namespace is that of the source."""

    kind: DeliveryKind
    event_id: int
    """Of the Initiated event; in news of a close, of the parent's."""
    namespace: str
    workflow_id: str
    run_id: str = ""
    initiated: Initiated | None = None
    closed: ev.AnyEvent | None = None

    @property
    def key(self) -> DeliveryKey:
        """What tells it from the other deliveries of its run."""
        return DeliveryKey((self.kind, self.event_id))

    @property
    def target(self) -> tuple[str, str]:
        """The lane: deliveries to one workflow id keep their order."""
        return self.namespace, self.workflow_id


def outbox(state: ExecutionState, event_ids: Iterable[int] | None = None) -> Iterator[Delivery]:
    """What is owed to others: by these Initiated events, or all of it, in order of the log."""
    if event_ids is None:
        event_ids = sorted([*state.children, *state.messages])
    for event_id in event_ids:
        if event_id in state.messages:
            yield from _of_message(state, event_id)
        elif event_id in state.children:
            yield from _of_child(state, state.children[event_id])


def farewell(state: ExecutionState) -> Iterator[Delivery]:
    """All that a closed run still owes: messages, what becomes of its children, and the news to its parent.

    What it had begun before the point of a reset is the new run's, and so is its place with the parent.
    """
    assert state.closed is not None, "an open run takes no leave"
    if isinstance(state.closed, ev.WorkflowExecutionTerminated) and state.closed.reset_run_id:
        kept = state.closed.reset_event_id
        yield from outbox(state, sorted(each for each in [*state.children, *state.messages] if each > kept))
        return
    yield from outbox(state)
    started = state.started
    if started.parent_workflow_id and not getattr(state.closed, "new_execution_run_id", ""):
        yield Delivery(
            kind="child_closed",
            event_id=started.parent_initiated_event_id,
            namespace=started.parent_workflow_namespace,
            workflow_id=started.parent_workflow_id,
            run_id=started.parent_run_id,
            closed=state.closed,
        )


def _of_message(state: ExecutionState, event_id: int) -> Iterator[Delivery]:
    message = state.messages[event_id]
    if message.answered:
        return
    event = message.initiated
    yield Delivery(
        kind="signal" if isinstance(event, ev.SignalExternalWorkflowExecutionInitiated) else "cancel",
        event_id=event_id,
        namespace=event.namespace,
        workflow_id=event.workflow_id,
        run_id=event.run_id,
        initiated=event,
    )


def _of_child(state: ExecutionState, child: ChildState) -> Iterator[Delivery]:
    """Law: whoever is closed starts no child that would be closed at once, but closes one whose start is on its way."""
    event = child.initiated
    policy = event.parent_close_policy
    if state.is_open or policy == "abandon":
        kinds: tuple[DeliveryKind, ...] = () if child.answered else ("start_child",)
    else:
        kinds = () if child.closing else ("close_child",)
    for kind in kinds:
        yield Delivery(
            kind=kind,
            event_id=event.event_id,
            namespace=event.namespace,
            workflow_id=event.workflow_id,
            initiated=event,
        )
