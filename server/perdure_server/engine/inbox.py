"""What comes from other executions, as the receiver takes it: each delivery has its effect once and gets an answer.

Law: the key (source run, initiated event id) is the request id in the receiver's log; a receiver that has seen it
answers as before. An answer waits until what it says is durable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from perdure_proto import events as ev
from perdure_proto.errors import Code, ServiceError
from perdure_server.engine.earlier import Told
from perdure_server.engine.execution import Execution
from perdure_server.engine.messages import Messages
from perdure_server.engine.starts import ChildStartRequest, Starts
from perdure_server.history import requests as req
from perdure_server.history.outbox import Delivery, DeliveryKind

if TYPE_CHECKING:
    from perdure_server.engine.engine import Engine

NOT_FOUND = "EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND"
_CHILD_CAUSES: dict[str, str] = {
    Code.WORKFLOW_ALREADY_STARTED: "WORKFLOW_ALREADY_EXISTS",
    Code.NAMESPACE_NOT_FOUND: "NAMESPACE_NOT_FOUND",
}
_MESSAGE_CAUSES: dict[str, str] = {
    Code.WORKFLOW_NOT_FOUND: NOT_FOUND,
    Code.WORKFLOW_CLOSED: NOT_FOUND,
    Code.NAMESPACE_NOT_FOUND: "NAMESPACE_NOT_FOUND",
    Code.RESOURCE_EXHAUSTED: "SIGNAL_COUNT_LIMIT_EXCEEDED",
}
"""Temporal's causes for what cannot be delivered; another code stands for itself."""
_PARENT_CLOSED = "by parent close policy"
_AGAIN = (Code.UNAVAILABLE, Code.WRONG_OWNER)
"""What says nothing about the delivery: it is sent again."""


class Source(Struct, frozen=True):
    """The run that a delivery comes from."""

    namespace: str
    workflow_id: str
    run_id: str
    first_run_id: str
    origins: tuple[tuple[int, str], ...] = ()
    """Of a run that was reset: from which event on its log was written by which run."""

    def origin(self, event_id: int) -> str:
        """The run that wrote an event: what it has begun keeps its name over a reset."""
        run_id = self.run_id
        for since, origin in self.origins:
            run_id = origin if since < event_id else run_id
        return run_id

    def request_id(self, event_id: int) -> str:
        """What the receiver knows a delivery by."""
        return f"{self.origin(event_id)}:{event_id}"


def source_of(execution: Execution) -> Source:
    """A run as those know it whom it tells something."""
    started, origins = execution.state.started, execution.state.origins
    return Source(
        execution.namespace,
        execution.workflow_id,
        execution.run_id,
        started.first_execution_run_id,
        ((0, started.original_execution_run_id), *origins) if origins else (),
    )


class Answer(Struct, frozen=True):
    """What became of a delivery: the run that has it, or why none can."""

    run_id: str = ""
    cause: str = ""


class Inbox:
    """Takes deliveries. Raises only what may be over when it is tried again."""

    def __init__(self, engine: Engine, starts: Starts, messages: Messages) -> None:
        self._engine = engine
        self._starts = starts
        self._messages = messages
        self._takers: dict[DeliveryKind, Callable[[Source, Delivery], Awaitable[Answer]]] = {
            "start_child": self._start_child,
            "signal": self._message,
            "cancel": self._message,
            "close_child": self._close_child,
            "child_closed": self._child_closed,
        }

    async def take(self, source: Source, delivery: Delivery) -> Answer:
        """One delivery that has its namespace filled in."""
        return await self._takers[delivery.kind](source, delivery)

    async def take_signals(self, source: Source, deliveries: Sequence[Delivery]) -> list[Answer]:
        """Signals to one workflow id, in order, in one commit."""
        answers = [await self._transact(source, delivery) for delivery in deliveries]
        for target in {id(target): target for _, target in answers if target is not None}.values():
            await self._engine.acknowledged(target)
        return [answer for answer, _ in answers]

    async def _start_child(self, source: Source, delivery: Delivery) -> Answer:
        event = delivery.initiated
        assert isinstance(event, ev.StartChildWorkflowExecutionInitiated)
        request = child_request(event, source)
        try:
            started = await self._starts.start(delivery.namespace, delivery.workflow_id, request)
        except ServiceError as error:
            return Answer(cause=_cause(error, _CHILD_CAUSES))
        return Answer(started.run_id)

    async def _message(self, source: Source, delivery: Delivery) -> Answer:
        answer, target = await self._transact(source, delivery)
        if target is not None:
            await self._engine.acknowledged(target)
        return answer

    async def _transact(self, source: Source, delivery: Delivery) -> tuple[Answer, Execution | None]:
        """The answer, and the run for whose commit it waits."""
        if delivery.target == (source.namespace, source.workflow_id):
            return Answer(cause=NOT_FOUND), None  # Temporal's rule: nobody signals or cancels itself
        assert delivery.initiated is not None
        told = Told(source.request_id(delivery.event_id), since=delivery.initiated.event_time)
        try:
            target = await self._messages.not_held(delivery.namespace, delivery.workflow_id, delivery.run_id, told)
        except ServiceError as error:
            return Answer(cause=_cause(error, _MESSAGE_CAUSES)), None
        taken_by = self._messages.taken_by(target, delivery.run_id, told)
        if taken_by:
            return Answer(taken_by), None
        if getattr(delivery.initiated, "child_workflow_only", False) and not _is_child(target, source):
            return Answer(cause=NOT_FOUND), target
        decision = self._engine.transact(target, _request(source, delivery))
        if decision.refused is not None:
            return Answer(cause=_cause(decision.refused, _MESSAGE_CAUSES)), target
        return Answer(target.run_id), target

    async def _close_child(self, source: Source, delivery: Delivery) -> Answer:
        """Law: only a child of this very run and event is closed; whoever has its workflow id now may be another."""
        target = await self._find(delivery)
        event = delivery.initiated
        assert isinstance(event, ev.StartChildWorkflowExecutionInitiated)
        if target is None:
            return Answer()
        if not _is_child(target, source, delivery.event_id):
            await self._engine.acknowledged(target)  # it may be a start that loses: against the child, perhaps
            return Answer()
        ends = event.parent_close_policy == "terminate"
        cancel = req.CancelExecution(
            reason=_PARENT_CLOSED,
            request_id=f"{source.request_id(delivery.event_id)}:close",
            external_initiated_event_id=delivery.event_id,
            external_workflow_id=source.workflow_id,
            external_run_id=source.run_id,
        )
        closing = req.TerminateExecution(reason=_PARENT_CLOSED) if ends else cancel
        decision = await self._engine.decided(target, closing)
        if decision.refused is not None and decision.refused.code in _AGAIN:
            raise decision.refused
        await self._engine.acknowledged(target)
        return Answer(target.run_id)

    async def _child_closed(self, source: Source, delivery: Delivery) -> Answer:
        parent = await self._find(delivery)
        if parent is not None:
            parent = await self._reset_to(parent)
        if parent is None or source_of(parent).origin(delivery.event_id) != delivery.run_id:
            return Answer()  # a child from after the point of a reset: that id is another event's in the new run
        assert delivery.closed is not None
        news = req.RecordChildClosed(
            initiated_event_id=delivery.event_id,
            run_id=source.run_id,
            first_run_id=source.first_run_id,
            closed=delivery.closed,
        )
        decision = self._engine.transact(parent, news)
        if decision.refused is not None:
            raise decision.refused  # the parent's history is full: it stays owed
        await self._engine.acknowledged(parent)
        return Answer(parent.run_id)

    async def _reset_to(self, parent: Execution) -> Execution | None:
        """Law: children that were started before the point of a reset belong to the new run.

        A run that a reset has ended says itself which one goes on: of two copies of it only one is current.
        """
        run: Execution | None = parent
        while run is not None and not run.state.is_open:
            run_id = getattr(run.state.closed, "reset_run_id", "")
            run_id = run_id or await self._engine.store.reset_run(run.key.shard_id, run.run_id)
            if not run_id:
                return run
            run = await self._engine.residents.find_run(run.key.shard_id, run_id)
        return run

    async def _find(self, delivery: Delivery) -> Execution | None:
        try:
            return await self._engine.residents.find(delivery.namespace, delivery.workflow_id, delivery.run_id)
        except ServiceError as error:
            if error.code in (Code.WORKFLOW_NOT_FOUND, Code.NAMESPACE_NOT_FOUND):
                return None
            raise


def child_request(event: ev.StartChildWorkflowExecutionInitiated, source: Source) -> ChildStartRequest:
    """The start that a child's Initiated event asks for."""
    return ChildStartRequest(
        parent_namespace=source.namespace,
        parent_workflow_id=source.workflow_id,
        parent_run_id=source.run_id,
        parent_initiated_event_id=event.event_id,
        workflow_type=event.workflow_type,
        task_queue=event.task_queue,
        input=event.input,
        kwargs=event.kwargs,
        encoding=event.encoding,
        request_id=source.request_id(event.event_id),
        workflow_execution_timeout=event.workflow_execution_timeout,
        workflow_run_timeout=event.workflow_run_timeout,
        workflow_task_timeout=event.workflow_task_timeout,
        retry_policy=event.retry_policy,
        id_reuse_policy=event.workflow_id_reuse_policy,
        cron_schedule=event.cron_schedule,
        memo=event.memo,
        search_attributes=event.search_attributes,
        header=event.header,
        priority=event.priority,
        static_summary=event.summary,
        static_details=event.static_details,
    )


def _request(source: Source, delivery: Delivery) -> req.Request:
    event = delivery.initiated
    if isinstance(event, ev.SignalExternalWorkflowExecutionInitiated):
        return req.SignalExecution(
            signal_name=event.signal_name,
            input=event.input,
            kwargs=event.kwargs,
            encoding=event.encoding,
            request_id=source.request_id(event.event_id),
            header=event.header,
            external_workflow_id=source.workflow_id,
            external_run_id=source.run_id,
        )
    assert isinstance(event, ev.RequestCancelExternalWorkflowExecutionInitiated)
    return req.CancelExecution(
        reason=event.reason,
        request_id=source.request_id(event.event_id),
        external_initiated_event_id=event.event_id,
        external_workflow_id=source.workflow_id,
        external_run_id=source.run_id,
    )


def _is_child(target: Execution, source: Source, initiated_event_id: int = 0) -> bool:
    started = target.state.started
    if started.parent_run_id != source.origin(started.parent_initiated_event_id):
        return False
    return not initiated_event_id or started.parent_initiated_event_id == initiated_event_id


def _cause(error: ServiceError, causes: dict[str, str]) -> str:
    """Why it can never be done. Raises what may go otherwise the next time."""
    if error.code in _AGAIN:
        raise error
    return causes.get(error.code, error.code)
