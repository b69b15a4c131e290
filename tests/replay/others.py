"""What comes back to a run of `service` from other executions: the life of its children, and answers."""

from __future__ import annotations

from typing import Any

from perdure_proto import events as ev
from perdure_proto.events import AnyEvent
from perdure_proto.failures import ApplicationFailure, Failure
from tests.replay.service import CONVERTER, Service

RUN = "0192f0c0-0000-7000-8000-0000000000c1"
"""The run id of a child's first run."""


def initiated(service: Service, workflow_id: str) -> ev.StartChildWorkflowExecutionInitiated:
    """The event with which that child began."""
    found = [e for e in service.of(ev.StartChildWorkflowExecutionInitiated) if e.workflow_id == workflow_id]
    event: ev.StartChildWorkflowExecutionInitiated = found[-1]
    return event


def about(service: Service, workflow_id: str) -> dict[str, Any]:
    """What every event of a child says."""
    event = initiated(service, workflow_id)
    return {
        "initiated_event_id": event.event_id,
        "workflow_id": workflow_id,
        "workflow_type": event.workflow_type,
        "namespace": event.namespace,
    }


def start(service: Service, workflow_id: str = "c") -> int:
    return service.add(ev.ChildWorkflowExecutionStarted, run_id=RUN, **about(service, workflow_id))


def refuse(service: Service, workflow_id: str = "c", cause: str = "WORKFLOW_ALREADY_EXISTS") -> int:
    return service.add(
        ev.StartChildWorkflowExecutionFailed,
        cause=cause,
        workflow_task_completed_event_id=4,
        **about(service, workflow_id),
    )


def complete(service: Service, workflow_id: str = "c", value: object = None) -> int:
    result, encoding = CONVERTER.encode_value(value)
    fields = about(service, workflow_id)
    return service.add(ev.ChildWorkflowExecutionCompleted, result=result, encoding=encoding, run_id=RUN, **fields)


def fail(service: Service, workflow_id: str = "c", run_id: str = RUN) -> int:
    failure = Failure(message="boom", info=ApplicationFailure(type="ValueError"))
    fields = about(service, workflow_id)
    return service.add(
        ev.ChildWorkflowExecutionFailed, failure=failure, run_id=run_id, retry_state="RETRY_POLICY_NOT_SET", **fields
    )


def cancel(service: Service, workflow_id: str = "c") -> int:
    return service.add(ev.ChildWorkflowExecutionCanceled, run_id=RUN, **about(service, workflow_id))


def time_out(service: Service, workflow_id: str = "c") -> int:
    return service.add(ev.ChildWorkflowExecutionTimedOut, run_id=RUN, **about(service, workflow_id))


def terminate(service: Service, workflow_id: str = "c") -> int:
    return service.add(ev.ChildWorkflowExecutionTerminated, run_id=RUN, **about(service, workflow_id))


def signaled(service: Service) -> int:
    return _answer(service, ev.SignalExternalWorkflowExecutionInitiated, ev.ExternalWorkflowExecutionSignaled)


def signal_failed(service: Service, cause: str = "EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND") -> int:
    return _answer(
        service,
        ev.SignalExternalWorkflowExecutionInitiated,
        ev.SignalExternalWorkflowExecutionFailed,
        cause=cause,
        workflow_task_completed_event_id=4,
    )


def cancel_requested(service: Service) -> int:
    return _answer(
        service, ev.RequestCancelExternalWorkflowExecutionInitiated, ev.ExternalWorkflowExecutionCancelRequested
    )


def cancel_failed(service: Service, cause: str = "EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND") -> int:
    return _answer(
        service,
        ev.RequestCancelExternalWorkflowExecutionInitiated,
        ev.RequestCancelExternalWorkflowExecutionFailed,
        cause=cause,
        workflow_task_completed_event_id=4,
    )


def _answer(service: Service, asked: type[AnyEvent], answer: Any, **fields: Any) -> int:
    """Answers the first of its kind that has no answer."""
    answered = {getattr(event, "initiated_event_id", 0) for event in service.events}
    event = next(e for e in service.of(asked) if e.event_id not in answered)
    return service.add(
        answer, initiated_event_id=event.event_id, workflow_id=event.workflow_id, namespace=event.namespace, **fields
    )
