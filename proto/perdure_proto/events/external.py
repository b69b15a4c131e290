"""Messages to other executions."""

# msgspec copies an empty default for each instance.
# ruff: noqa: RUF012

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Raw

from perdure_proto.events.event import Event
from perdure_proto.payload import EMPTY_LIST, NULL


class RequestCancelExternalWorkflowExecutionInitiated(Event, frozen=True, kw_only=True):
    """The workflow wants another execution cancelled."""

    type_id: ClassVar[int] = 22
    workflow_task_completed_event_id: int
    namespace: str = ""
    workflow_id: str
    run_id: str = ""
    child_workflow_only: bool = False
    reason: str = ""


class RequestCancelExternalWorkflowExecutionFailed(Event, frozen=True, kw_only=True):
    """The other execution could not be asked."""

    type_id: ClassVar[int] = 23
    cause: str = ""
    workflow_task_completed_event_id: int
    initiated_event_id: int
    namespace: str = ""
    workflow_id: str
    run_id: str = ""


class ExternalWorkflowExecutionCancelRequested(Event, frozen=True, kw_only=True):
    """The other execution has been asked."""

    type_id: ClassVar[int] = 24
    initiated_event_id: int
    namespace: str = ""
    workflow_id: str
    run_id: str = ""


class SignalExternalWorkflowExecutionInitiated(Event, frozen=True, kw_only=True):
    """The workflow wants to signal another execution."""

    type_id: ClassVar[int] = 37
    workflow_task_completed_event_id: int
    namespace: str = ""
    workflow_id: str
    run_id: str = ""
    signal_name: str
    input: Raw = EMPTY_LIST
    kwargs: Raw = NULL
    encoding: str = ""
    child_workflow_only: bool = False
    header: dict[str, Any] = {}


class SignalExternalWorkflowExecutionFailed(Event, frozen=True, kw_only=True):
    """The other execution could not be signalled."""

    type_id: ClassVar[int] = 38
    cause: str = ""
    workflow_task_completed_event_id: int
    initiated_event_id: int
    namespace: str = ""
    workflow_id: str
    run_id: str = ""


class ExternalWorkflowExecutionSignaled(Event, frozen=True, kw_only=True):
    """The other execution has the signal."""

    type_id: ClassVar[int] = 39
    initiated_event_id: int
    namespace: str = ""
    workflow_id: str
    run_id: str = ""
